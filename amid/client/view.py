"""A client's copy of the live state of a server, without a socket or a clock.

The whole state is requested first, then its changes, which are merged into it. After a loss of
changes, or the end of an epoch, the whole state is requested again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from amid.client import protocol
from amid.client.event import PAUSE_S, TEMPORARY_ERRORS
from amid.client.protocol import log
from amid.errors import AmidError
from amid.wire import STATE_KINDS

NESTED = ("members", "callers", "participants")
"""Lists inside queues and conferences in a `state`. Changes do not report them there, so they would
go out of date: a view has their things only as kinds of their own."""


class View:
    """things: plural of a kind -> id -> map of members, as of event `seq` of `epoch`. exact,
    detail: as in the last whole state."""

    def __init__(self, server: str | None, kinds: list[str] | None) -> None:
        self.server = server
        self.kinds = [STATE_KINDS.get(kind, kind) for kind in kinds] if kinds is not None else list(STATE_KINDS.values())
        self.things: dict[str, dict[str, dict[str, Any]]] = {kind: {} for kind in self.kinds}
        self.exact = False
        self.detail = ""
        self._after: dict[str, int] | None = None
        self._failed = False

    @property
    def epoch(self) -> int:
        return self._after["epoch"] if self._after else 0

    @property
    def seq(self) -> int:
        return self._after["seq"] if self._after else 0

    def request(self, wait_s: float) -> protocol.Call:
        """The next request: for the whole state, or for the changes within `wait_s` seconds."""
        if self._after is None:
            return protocol.state(self.server, self.kinds, None, protocol.STATE_TIMEOUT)
        return protocol.changes(self.server, self._after, self.kinds, None, wait_s)

    def take(self, answer: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The changes in an answer to `request`; each is merged into `things` before it is given. A
        whole state is given as one change with the kind `reset`."""
        self._failed = False
        if self._after is not None and answer["missed"] != 0:
            self._after = None
            return
        begins = self._after is None
        self._after = {name: answer[name] for name in ("epoch", "seq", "rev")}
        if begins:
            self._load(answer)
            yield {name: answer[name] for name in ("server", "epoch", "seq", "rev")} | {"kind": "reset", "id": ""}
            return
        for change in answer["events"]:
            self._merge(change)
            yield change

    def _load(self, state: dict[str, Any]) -> None:
        self.exact, self.detail = state["exact"], state["detail"]
        self.things = {kind: {one["id"]: _own_members(one) for one in state[kind]} for kind in self.kinds}

    def _merge(self, change: dict[str, Any]) -> None:
        things = self.things[STATE_KINDS[change["kind"]]]
        if change.get("gone"):
            things.pop(change["id"], None)
        else:
            things.setdefault(change["id"], {"id": change["id"]}).update(change["set"])

    def refused(self, error: AmidError) -> float:
        """Seconds after which to retry. Raises `error` if a retry is useless."""
        if error.kind not in TEMPORARY_ERRORS:
            raise error
        if not self._failed:
            log.warning("no state of %s, retrying: %s", self.server or "the server", error.message)
        self._failed = True
        return PAUSE_S


def _own_members(thing: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in thing.items() if name not in NESTED}
