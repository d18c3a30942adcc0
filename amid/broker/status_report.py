"""The results of `servers` and `status`, from the readers' last
reports and the supervisor's status file."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from heapq import nlargest
from operator import itemgetter
from pathlib import Path
from typing import Any

from amid import __version__, wire
from amid.process.loop import clock
from amid.process.run_dir import STATUS_FILE
from amid.process.settings import BrokerSettings
from amid.rpc.calls import Calls
from amid.rpc.messages import Lanes
from amid.rpc.server_queue import READER_TTL_S, ServerQueue

log = logging.getLogger("amid.broker")

MAX_CALLERS = 50
"""Principals listed in `status`: those with the most open calls."""


def servers(settings: BrokerSettings, calls: Calls, local: bool) -> list[dict[str, Any]]:
    """The result of `servers`. local: whether the caller is on ipc, which decides the endpoints."""
    now = clock.monotonic()
    return [_server(settings, queue, local, now) for queue in calls.servers.values()]


def status(settings: BrokerSettings, calls: Calls, counters: Mapping[str, int], local: bool) -> dict[str, Any]:
    """The result of `status`."""
    views = servers(settings, calls, local)
    for view in views:
        view["counters"] = calls.servers[view["name"]].status.counters
    processes, uptime = _processes(Path(settings.run_dir, STATUS_FILE))
    counted = {**counters, "late_answers": calls.late, "abandoned_calls": calls.abandoned, "open_calls": len(calls)}
    busiest = nlargest(MAX_CALLERS, calls.open_by_principal().items(), key=itemgetter(1))
    callers = [{"name": name, "open_calls": count} for name, count in busiest]
    view = {"version": __version__, "uptime": uptime, "servers": views, "processes": processes}
    return {**view, "services": calls.services.reports, "callers": callers, "counters": counted}


def _server(settings: BrokerSettings, queue: ServerQueue, local: bool, now: float) -> dict[str, Any]:
    status = queue.status
    alive = now < queue.last_message_at + READER_TTL_S
    events, stream = _endpoints(settings, queue.name, local)
    return {
        "name": queue.name,
        "state": status.state if alive else "lost",
        "detail": status.detail if alive else "its reader does not report",
        "asterisk": status.asterisk,
        "epoch": status.epoch,
        "seq": status.seq,
        "events": events,
        "stream": stream,
        "lanes": _lanes(queue, status.lanes),
        "queued": len(queue.waiting),
        "since": status.since,
    }


def _lanes(queue: ServerQueue, reported: Lanes) -> dict[str, int]:
    """The lanes as last reported, minus those of calls that the reader was assigned since."""
    lanes = reported.free + reported.busy
    free = min(max(queue.idle_lanes, 0), lanes)
    return {"free": free, "busy": lanes - free, "limit": reported.limit}


def _endpoints(settings: BrokerSettings, server: str, local: bool) -> tuple[str, str]:
    """The two event sockets: in run_dir for a local caller, else
    the first configured TCP endpoint."""
    if local:
        run_dir = settings.run_dir
        return wire.ipc(run_dir, wire.events_socket(server)), wire.ipc(run_dir, wire.stream_socket(server))
    limits = settings.servers[server]
    return next(iter(limits.events_listen), ""), next(iter(limits.stream_listen), "")


def _processes(file: Path) -> tuple[list[dict[str, Any]], float]:
    """The processes and the supervisor's uptime.

    They are in a file, which is readable without the broker too.
    """
    try:
        known = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        log.warning("cannot read the supervisor's status file %s: %s", file, error)
        return [], 0.0
    now = clock.monotonic()
    for process in known["processes"]:
        started = process.pop("started")
        process["uptime"] = round(now - started, 3) if process["pid"] else 0.0
    return known["processes"], round(now - known["started"], 3)
