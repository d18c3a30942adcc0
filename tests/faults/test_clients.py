"""A subscriber that is stopped during very many events, beside fast ones, on a real Asterisk."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from tests.asterisk.raw import Raw, request
from tests.asterisk.server import Asterisk
from tests.conformance.listeners import Listener
from tests.conformance.pbx import SERVER, of
from tests.conftest import StartDaemon
from tests.daemon import eventually
from tests.faults import bad_clients
from tests.faults.faults import row
from tests.faults.on_clients import Bad, memory
from tests.processes.process import stop

EVENTS = 200_000
BURST = 400
"""Events that come at once; then those who keep up have them all before more come. Fewer than the messages that are kept for one
that lags (500 on `stream-`, of one event each at worst)."""
KEPT = 9900
"""Events at least that are kept for it: of the 10,000 messages some are ticks."""
COST = 100e6
"""Bytes that a reader may need for one subscriber that does not read, with the 16 MiB of events that it holds."""


@row(
    "clients",
    "a subscriber is SIGSTOPped through 200,000 events",
    "It receives the buffered messages, at least 10,000, and one gap of exactly the others; fast subscribers lose none.",
)
def test_a_stopped_subscriber_loses_events_and_affects_no_other(asterisk: Asterisk, daemon_for: StartDaemon) -> None:
    daemon = daemon_for({SERVER: of(asterisk).table}, log_level="info")
    reader = daemon.pid(f"reader {SERVER}")
    with ExitStack() as stack:
        stopped = stack.enter_context(subscriber(daemon.server(SERVER)["events"]))
        beside = [
            stack.enter_context(Listener(daemon, "events", f"event.{SERVER}.UserEvent.")),
            stack.enter_context(Listener(daemon, "stream", f"stream.{SERVER}.")),
        ]
        raw = stack.enter_context(Raw(asterisk))
        numbers: list[int] = stopped.said()
        before = peak = memory(reader)
        stop(stopped.process.pid)
        for _ in range(EVENTS // BURST):
            burst(raw, beside, "Burst", BURST, numbers)
            peak = max(peak, memory(reader))
        os.kill(stopped.process.pid, signal.SIGCONT)

        def said() -> Any:
            burst(raw, beside, bad_clients.LAST, 1, numbers)  # again, since while it still lags this is lost as well
            return stopped.line()

        last, seen, gaps = eventually(said, "the stopped one is up to date")
    print(f"reader: {before / 1e6:.0f} MB before, {peak / 1e6:.0f} MB at the peak, {memory(reader) / 1e6:.0f} MB after")
    print(f"the stopped one had {seen} of {len(numbers) - 1}; its gaps, behind which number and up to which: {gaps}")
    ((after, prev),) = gaps
    lost = [number for number in numbers if after < number <= prev]
    assert lost[-1] == prev and seen + len(lost) == numbers.index(last)
    assert seen > KEPT
    assert peak < before + COST


@contextmanager
def subscriber(endpoint: str) -> Iterator[Bad]:
    client = Bad("subscriber", endpoint)
    try:
        yield client
    finally:
        client.kill()


def burst(raw: Raw, beside: list[Listener], name: str, count: int, numbers: list[int]) -> None:
    """So many UserEvents at once, of which those beside have every one, in order. numbers: of the ones before, and then of all."""
    raw.exchange(request("UserEvent", UserEvent=name) * count)
    for listener in beside:
        listener.until(lambda listener: len(listener.named("UserEvent")) >= count, f"{count} events")
        events = listener.named("UserEvent")
        seqs = [event["seq"] for event in events]
        assert [event["prev"] for event in events] == [numbers[-1], *seqs[:-1]], "a subscriber that reads loses nothing"
        listener.clear()
    numbers += seqs
