"""What is known of each Asterisk: requested with every new session, and again every 30 s.

The broker reports the session and whether Asterisk has booted. Asterisk reports the version of its
interface, which is part of the greeting, its actions, and its uptime, which FullyBooted contains.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from functools import partial
from typing import Any

from amid.errors import AmidError
from amid.listener.broker_link import BrokerLink
from amid.manager.commands import Commands
from amid.manager.manager import Manager, Upstream
from amid.process.loop import clock

log = logging.getLogger("amid.listener")

CHECK_S = 0.5
"""Time between two requests for the states of the servers."""
REFRESH_S = 30.0
"""Time after which the list of actions is requested again, because modules add actions."""
TIMEOUT_S = 5.0

_HEADER = re.compile(rb"^(AMIversion|AsteriskVersion): ([^\r\n]*)", re.MULTILINE)
_UPTIME = re.compile(rb"(System uptime|Last reload): (\d+)")
_RELEASE = re.compile(rb"(certified/)?(\d+)\.(\d+)")


class Upstreams:
    """on_change: called after an answer of Asterisk."""

    def __init__(self, manager: Manager, link: BrokerLink, on_change: Callable[[], object]) -> None:
        self._manager = manager
        self._link = link
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._requested: dict[str, tuple[int, float]] = {}
        self._check()

    def _check(self) -> None:
        self._link.call("servers", {}, self._receive_servers)
        self._loop.call_later(CHECK_S, self._check)
        now = clock.monotonic()
        for upstream in self._manager.upstreams.values():
            upstream.ids.drop_expired(now)

    def _receive_servers(self, servers: list[dict[str, Any]] | None, error: AmidError | None) -> None:
        now = clock.monotonic()
        for server in servers or ():
            upstream = self._manager.upstreams.get(server["name"])
            if upstream is None:
                continue
            upstream.booted = server["state"] == "up"
            epoch, requested_at = self._requested.get(server["name"], (0, 0.0))
            stale = now >= requested_at + (REFRESH_S if upstream.is_known else CHECK_S)
            if server["state"] in ("up", "booting") and (server["epoch"] != epoch or stale):
                self._requested[server["name"]] = server["epoch"], now
                self._request(server["name"], upstream)

    def _request(self, server: str, upstream: Upstream) -> None:
        for action, lines, store in (
            ("CoreSettings", [], _store_settings),
            ("ListCommands", [], _store_commands),
            ("Command", [b"Command: core show uptime seconds"], _store_uptime),
        ):
            params = {"action": action, "lines": lines, "raw": True, "server": server, "timeout": TIMEOUT_S}
            self._link.call("action", params, partial(self._receive, action, upstream, store))

    def _receive(
        self,
        action: str,
        upstream: Upstream,
        store: Callable[[Upstream, list[bytes]], None],
        result: dict[str, Any] | None,
        error: AmidError | None,
    ) -> None:
        if result is None:
            is_fatal = action == "CoreSettings" and error is not None and error.kind == "action_failed"
            level = logging.WARNING if is_fatal and not upstream.is_known else logging.DEBUG
            log.log(level, "the listener's own %s failed: %s", action, error)
            return
        store(upstream, result["packets"])
        self._on_change()


def _store_settings(upstream: Upstream, packets: list[bytes]) -> None:
    found = dict(_HEADER.findall(b"".join(packets)))
    upstream.version = found.get(b"AMIversion", b"").decode("ascii", "replace")
    release = _RELEASE.match(found.get(b"AsteriskVersion", b""))
    if release:
        upstream.is_certified = bool(release[1])
        upstream.release = int(release[2]), int(release[3])


def _store_commands(upstream: Upstream, packets: list[bytes]) -> None:
    upstream.commands = Commands(packets) or upstream.commands


def _store_uptime(upstream: Upstream, packets: list[bytes]) -> None:
    """`core show uptime seconds` omits the last reload if there was none (main/cli.c)."""
    found = {name: int(seconds) for name, seconds in _UPTIME.findall(b"".join(packets))}
    now = clock.monotonic()
    upstream.booted_at = now - found.get(b"System uptime", 0)
    upstream.reloaded_at = now - found.get(b"Last reload", found.get(b"System uptime", 0))
