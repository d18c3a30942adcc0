"""The judge finds errors that amid does not have: each is inserted here and must be found within a
few seeds."""

from __future__ import annotations

from typing import Any

import pytest

from amid.ami.boot import BootCheck
from amid.ami.event_batch import BLANK
from amid.ami.exchange import Answer, Call, Exchange, TooLarge
from amid.ami.lane import Lane
from amid.ami.packet import Packet
from amid.broker.broker import Broker
from amid.events.replay_buffer import Page, ReplayBuffer
from amid.events.sequence import Sequencer
from amid.reader.answers import Answers
from amid.reader.event_stream import EventConnection
from amid.rpc.messages import Returned
from amid.rpc.open_call import OpenCall
from tests.simulation.world import run_seed

SEEDS = range(1, 41)
SECONDS = 30.0

NUMBER, READ, FINISH = Sequencer.number, ReplayBuffer.read, Answers.finish


def first_exchange(lane: Lane, packet: Packet) -> Exchange | None:
    """Answers are joined by order."""
    return next(iter(lane._exchanges.values())) if packet.action_id in lane._exchanges else None


def attribute_to_the_oldest(lane: Lane, packet: Packet, now: float) -> None:
    """An Error without ActionID is given to the oldest of several calls, without a proof."""
    oldest = next(iter(lane._exchanges.values()), None)
    if oldest is not None and not oldest.abandoned and not packet.action_id and packet.response == "Error":
        lane._finish(oldest, Answer.of_error(packet))


def send_again(answers: Answers, call: Call, answer: Answer | TooLarge | None, reason: str = "") -> None:
    """Open actions of a lost session are sent again."""
    if answer is not None:
        FINISH(answers, call, answer)
        return
    reader: Any = answers._deliver.__self__  # type: ignore[attr-defined]
    answers.forget(call.call_id)
    reader._link.send(Returned(call.call_id))


def skip_number(numbers: Sequencer, names: list[str]) -> tuple[int, list[int]]:
    """Every fiftieth number is left out."""
    numbers.seq += numbers.seq % 50 == 49
    return NUMBER(numbers, names)


def forget_deadlines(broker: Broker) -> None:
    """The alarm for deadlines comes half a second late."""
    deadline = broker._calls.next_deadline()
    broker._alarm.set(None if deadline is None else deadline + 0.5)


def answer_next(answers: Answers, burst: Any) -> None:
    """The event that completes a call is given to any waiting call."""
    for packet in burst.packets():
        awaited = next(iter(answers._awaited.values()), None) if packet.action_id else None
        if awaited is not None and packet.event.lower() == awaited.name:
            awaited.event = packet
            answers._complete_both(awaited)


def lose_events(connection: EventConnection, data: bytes, now: float) -> None:
    """The last event of a large read is dropped."""
    items = connection.session.receive(data, now)
    if connection.up and connection.boot is None:
        connection.boot = BootCheck(connection.session, connection._stream.sees_boot, now)
        connection._stream.connected(connection)
    connection._stream.take(items[:-1] if len(items) > 5 else items, connection)


def skip_held(buffer: ReplayBuffer, after: Any, limit: int, names: frozenset[str] = frozenset()) -> Page:
    """An answer to `events` leaves out its second event."""
    page = READ(buffer, after, limit, names)
    events = page.events
    packets = b"".join(events.packets).split(BLANK)[:-1]
    for column in (events.seqs, events.prevs, events.names, events.times, packets):
        del column[1:2]
    events.packets = [packet + BLANK for packet in packets]
    return page


def forget_gap(buffer: ReplayBuffer, after: Any, limit: int, names: frozenset[str] = frozenset()) -> Page:
    """Expired events, and possible losses at the end of an epoch, are not reported."""
    return READ(buffer, after, limit, names)._replace(missed=0)


MUTANTS: dict[str, tuple[type, str, Any, str]] = {
    "an answer to another call": (Lane, "_exchange_of", first_exchange, "items of|the answer of|but the PBX said"),
    "wrong attribution of an Error": (Lane, "_feed_unattributed", attribute_to_the_oldest, "items of|but the PBX said"),
    "an action is sent twice": (Answers, "finish", send_again, "was sent twice|sent false, but was received"),
    "sent is false after writing": (OpenCall, "sent", False, "sent false"),
    "sent is true before writing": (OpenCall, "sent", True, "with sent True"),
    "a number of an event is skipped": (Sequencer, "number", skip_number, "has number|events of"),
    "an alarm is lost": (Broker, "_set_alarm", forget_deadlines, "its timeout is"),
    "an event of another call": (Answers, "events", answer_next, "another ActionID|the answer of"),
    "an event is lost in silence": (EventConnection, "feed", lose_events, "events of"),
    "an event is left out of an answer": (ReplayBuffer, "read", skip_held, "follows|events of"),
    "a gap is not told": (ReplayBuffer, "read", forget_gap, "follows|was not told"),
}
"""What is wrong, where, and how it shows."""


@pytest.mark.parametrize("name", MUTANTS)
def test_the_judge_finds_each_fault(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place, attribute, mutant, shows = MUTANTS[name]
    monkeypatch.setattr(place, attribute, mutant)
    for seed in SEEDS:
        failures = "\n".join(run_seed(seed, SECONDS).failures)
        if failures:
            assert any(sign in failures for sign in shows.split("|")), failures
            print(f"{name}: seed {seed}: {failures}")
            return
    pytest.fail(f"{name}: not found by {len(SEEDS)} seeds")
