"""The AMI listener beside what its clients would use otherwise: events to AMI clients through it
beside panoramisk on the server itself, Pings through it beside amid's RPC, and short logins.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from tests.bench.calls import measured
from tests.bench.events import Consumer
from tests.bench.setting import Bar, Section, daemon, generator, median
from tests.daemon import Daemon
from tests.listener.setting import endpoint_of, listener_table

EVENTS = 100_000
"""Events of a storm; a fifth for panoramisk."""
PINGS, LOGINS = 3000, 1000
UNREAD_BYTES = 1024 * 1024 * 1024
"""More than four consumers leave unread of a storm of 45 MB each, so that none is closed."""
USERS = "[amid]\nsecret = x\nread = all\nwrite = all\n"

Measure = Callable[[], float]


def section(rounds: int, events: int = EVENTS) -> Section:
    """The medians of each row, measured in turn."""
    taken: dict[str, list[float]] = {}
    with ExitStack() as stack:
        measures = _measures(stack, events)
        for _ in range(rounds):
            for name, measure in measures.items():
                taken.setdefault(name, []).append(measure())
    figures = {name: median(several) for name, several in taken.items()}
    return Section("AMI listener", ("what", "figure"), list(figures.items()), _bars(figures))


def _measures(stack: ExitStack, events: int) -> dict[str, Measure]:
    port = stack.enter_context(generator())
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="amid-")))
    limits = {"max_unread_bytes_per_client": UNREAD_BYTES, "max_unread_bytes_total": UNREAD_BYTES}
    table = listener_table(directory, USERS, auth_limit=200, **limits)
    made = stack.enter_context(daemon(port, listener=table))
    listener = endpoint_of(made, table, "amid", "x").port
    return {
        "panoramisk on the server, events/s": partial(_events, "panoramisk", port, 1, made, events // 5),
        "panoramisk on the listener, events/s": partial(_events, "panoramisk", listener, 1, made, events // 5),
        "a minimal client on the listener, events/s": partial(_events, "minimal", listener, 1, made, events),
        "a counting client on the listener, events/s": partial(_events, "raw", listener, 1, made, events),
        "4 counting clients on the listener, events/s each": partial(_events, "raw", listener, 4, made, events),
        "Ping by RPC, p50, µs": lambda: measured("dealer", made.rpc, PINGS).p50,
        "Ping on the listener, p50, µs": lambda: measured("raw", listener, PINGS).p50,
        "logins on the listener, logins/s": lambda: measured("logins", listener, LOGINS).rate,
    }


def _events(consumer: str, port: int, clients: int, made: Daemon, count: int) -> float:
    """Events a second of the slowest of the clients."""
    consumers = [Consumer(consumer, port, count) for _ in range(clients)]
    made.action("Storm", {"Count": count}, timeout=60)
    figures = [each.figures() for each in consumers]
    return min(each["events"] / each["seconds"] for each in figures)


def _bars(figures: dict[str, float]) -> list[Bar]:
    direct, _, minimal, one, four, rpc, ping, logins = figures.values()
    return [
        Bar("events to a client on the listener, of panoramisk's on the server", minimal / direct, 1.5, at_most=False),
        Bar("events to each of 4 clients, of those to one", four / one, 0.6, at_most=False),
        Bar("Ping on the listener, p50, of that by RPC", ping / rpc, 1.3),
        Bar("logins a second", logins, 200, at_most=False),
    ]


if __name__ == "__main__":
    print(section(*map(int, sys.argv[1:] or ["1"])).text())
