"""The live state: the CPU of the process `state` and of the reader for each event, and the load of
1,000 and of 10,000 channels.

A pause is how long the process does not answer: the longest of many requests with a cursor of
another epoch, which it answers at once. The broker is on their way.
"""

from __future__ import annotations

import gc
import sys
import time
from typing import Any, NamedTuple

import msgpack
import zmq

from amid.__main__ import GC_THRESHOLD
from amid.state.packets import split_events
from amid.state.server_state import ServerState
from tests.bench.setting import Bar, Section, cpu, daemon, generator, median, resident
from tests.bench.traffic import packets
from tests.daemon import Daemon, eventually

EVENTS = 100_000
RATE = 10_000
"""Events a second."""
READ_EVENTS = 20
"""Events of one read, some 8 kB."""
SIZES = (1000, 10_000)
"""Channels."""
RECONCILIATIONS = 3


class Cost(NamedTuple):
    """Microseconds of CPU for each event."""

    state: float
    reader: float


class Figure(NamedTuple):
    """Seconds until the first answer, milliseconds of a later one, MB of the process, and the
    longest pause in milliseconds while it loaded, answered and reconciled."""

    ready: float
    answer: float
    memory: float
    pause: float


def sections(rounds: int) -> list[Section]:
    return [_cost(rounds), _size(rounds)]


def _cost(rounds: int) -> Section:
    pure = median([_fold() for _ in range(rounds)])
    with generator() as port:
        unused = [_storm(port, follow=False) for _ in range(rounds)]
        used = [_storm(port, follow=True) for _ in range(rounds)]
    state, with_state = (median(values) for values in zip(*used, strict=True))
    without = median([one.reader for one in unused])
    rows: list[tuple[str, float, str | float]] = [
        ("the fold alone, with its parser", pure, ""),
        (f"the daemon, {RATE:,} events/s", state, with_state),
        ("the daemon, without a request for the state", 0, without),
    ]
    bars = [
        Bar("CPU of the fold for an event, µs", pure, 2.5),
        Bar("CPU of the reader with the state, of that without", with_state / without, 1.1),
    ]
    return Section("Live state: CPU for each event", ("what", "state, µs", "reader, µs"), rows, bars)


def _fold() -> float:
    """Microseconds of CPU for each event, with the changes that are published."""
    events = packets(EVENTS)
    reads = [b"".join(events[at : at + READ_EVENTS]) for at in range(0, EVENTS, READ_EVENTS)]
    state = ServerState("pbx1", 16 * 1024 * 1024)
    state.begin_epoch(1)
    state.ready = True
    gc.set_threshold(GC_THRESHOLD)  # as in the process
    began = time.process_time()
    for number, data in enumerate(reads, 1):
        state.feed_events(number * READ_EVENTS, split_events(data), 1000.0)
        state.change_log.take_unpublished()
    return (time.process_time() - began) / EVENTS * 1e6


def _storm(port: int, follow: bool) -> Cost:
    with daemon(port) as made:
        if follow:
            _ask(made)
        pids = [made.pid(name) for name in ("state", "reader pbx1")]
        before = [cpu(pid) for pid in pids]
        seq = made.server("pbx1")["seq"]
        made.action("Storm", {"Count": EVENTS, "Rate": RATE})
        eventually(lambda: made.server("pbx1")["seq"] >= seq + EVENTS, "all events were read", 60)
        if follow:
            eventually(lambda: _ask(made)["seq"] >= seq + EVENTS, "the state has all events", 60)
        return Cost(*((cpu(pid) - start) / EVENTS * 1e6 for pid, start in zip(pids, before, strict=True)))


def _size(rounds: int) -> Section:
    figures: dict[int, Figure] = {}
    for size in SIZES:
        with generator(channels=size) as port:
            several = [_load(port, size) for _ in range(rounds)]
        figures[size] = Figure(*(median(values) for values in zip(*several, strict=True)))
    columns = ("channels", "until ready, s", "state(), ms", "MB", "longest pause, ms")
    bars = [
        Bar("state() with 1,000 channels, ms", figures[SIZES[0]].answer, 20),
        Bar("the longest pause with 10,000 channels, ms", figures[SIZES[1]].pause, 100),
    ]
    return Section("Live state: many channels", columns, [(f"{size:,}", *one) for size, one in figures.items()], bars)


def _load(port: int, size: int) -> Figure:
    with daemon(port, state={"reconcile": 1.0}) as made, zmq.Context() as context:
        began = time.monotonic()
        with context.socket(zmq.DEALER) as caller:
            caller.connect(made.rpc)
            _send(caller, "state", {"timeout": 60})
            pause = _longest_pause(made, caller)
            assert len(_receive(caller)["channels"]) == size
            ready = time.monotonic() - began
            answers = [_answer_ms(caller) for _ in range(10)]
        settled = _report(made)["settled_at"]
        for _ in range(RECONCILIATIONS):
            with context.socket(zmq.DEALER) as caller:
                caller.connect(made.rpc)
                _send(caller, "events", {"kinds": ["queues"], "timeout": 1.5})
                pause = max(pause, _longest_pause(made, caller))
        assert _report(made)["settled_at"] > settled and not _report(made)["corrections"]
        return Figure(ready, median(answers), resident(made.pid("state")), pause)


def _answer_ms(caller: zmq.Socket[bytes]) -> float:
    """Milliseconds until the whole state has arrived, which is not decoded."""
    asked = time.monotonic()
    _send(caller, "state", {"timeout": 60})
    caller.recv_multipart()
    return (time.monotonic() - asked) * 1e3


def _longest_pause(made: Daemon, until: zmq.Socket[bytes]) -> float:
    """The longest request in milliseconds before `until` has its answer."""
    longest = 0.0
    while not until.poll(0):
        asked = time.monotonic()
        made.result("events", {"kinds": ["queues"], "after": {"epoch": 1, "seq": 0}, "timeout": 30})
        longest = max(longest, (time.monotonic() - asked) * 1e3)
    return longest


def _report(made: Daemon) -> dict[str, float]:
    def report() -> dict[str, float]:
        found: dict[str, float] = made.result("status")["services"]["state"]["pbx1"]
        return found

    return eventually(report, "it reports once a second")


def _ask(made: Daemon) -> dict[str, Any]:
    """The whole state, in MessagePack."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as caller:
        caller.connect(made.rpc)
        _send(caller, "state", {"timeout": 60})
        return _receive(caller)


def _send(caller: zmq.Socket[bytes], method: str, params: dict[str, object]) -> None:
    caller.send_multipart([b"", msgpack.packb({"id": 1, "method": method, "params": params})])


def _receive(caller: zmq.Socket[bytes]) -> dict[str, Any]:
    reply = msgpack.unpackb(caller.recv_multipart()[1])
    assert "result" in reply, reply["error"]
    result: dict[str, Any] = reply["result"]
    return result


if __name__ == "__main__":
    for one in sections(int(sys.argv[1]) if len(sys.argv) > 1 else 1):
        print(one.text())
