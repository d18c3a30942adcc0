"""Pages of events as messages of a stream: in order, each once, with a gap where events are missing."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from amid.bus.protocol.acks import Outcome, check_ack
from amid.bus.protocol.checkpoint import Checkpoint, StreamPosition, parse_position
from amid.bus.protocol.messages import StreamWriter
from amid.bus.protocol.subjects import Subjects
from tests.bus.jetstream import Daemon, Stream, body, page

EMPTY = Checkpoint(0, None)


def writer(instance: str = "a", leave_out: tuple[str, ...] = (), max_body_bytes: int = 1 << 20) -> StreamWriter:
    return StreamWriter("pbx1", Subjects("amid"), instance, leave_out, max_body_bytes)


def at(epoch: int, seq: int, last_sequence: int = 10, local_epoch: int | None = None, instance: str = "a") -> Checkpoint:
    return Checkpoint(last_sequence, StreamPosition(epoch, seq, epoch if local_epoch is None else local_epoch, instance))


def events(group: Any) -> list[dict[str, Any]]:
    return [json.loads(message.body) for message in group.messages]


def numbers(group: Any) -> list[tuple[str, int, int]]:
    return [(event["event"], event["epoch"], event["seq"]) for event in events(group)]


def test_an_event_is_the_map_of_the_contract_with_headers() -> None:
    stream = writer()
    assert stream.start(at(5, 3)) == {"epoch": 5, "seq": 3}
    group = stream.group(page(5, 4, [body(5, 4, "Hangup", Cause="16")]), 0.0)
    (message,) = group.messages
    assert message.subject == "amid.event.pbx1.Hangup"
    assert message.headers == {"Nats-Msg-Id": "pbx1:5:4", "Nats-Expected-Last-Sequence": "10", "Amid-Origin": "5 a"}
    assert json.loads(message.body) == body(5, 4, "Hangup", Cause="16")
    assert (group.last_sequence, group.end, group.last) == (11, StreamPosition(5, 4, 5, "a"), {"Hangup": 4})


def test_each_message_expects_the_one_before_it() -> None:
    stream = writer()
    stream.start(at(5, 0))
    for first in (1, 4):
        group = stream.group(page(5, first + 2, [body(5, first + i) for i in range(3)]), 0.0)
        expected = [int(message.headers["Nats-Expected-Last-Sequence"]) for message in group.messages]
        assert expected == list(range(9 + first, 12 + first))


def test_a_suspended_owner_stores_nothing_behind_its_successor() -> None:
    """Its second message expects exactly the sequence of the successor's only message."""
    stream, old, new = Stream(), writer("a"), writer("b")
    old.start(stream.checkpoint)
    stream.store_all(old.group(page(5, 1, [body(5, 1)]), 0.0))
    unsent = old.group(page(5, 4, [body(5, 2), body(5, 3), body(5, 4)]), 0.0)
    new.start(stream.checkpoint)
    stream.store_all(new.take_over(page(7, 20, []), 0.0))
    stored = len(stream.messages)
    answer = stream.store_all(unsent)
    assert len(stream.messages) == stored
    assert answer is not None and check_ack(answer, unsent.last_sequence).outcome is Outcome.CONFLICT


def test_bytes_that_are_not_utf8_become_surrogates() -> None:
    stream = writer()
    stream.start(at(5, 0))
    group = stream.group(page(5, 1, [body(5, 1, "UserEvent", **{"A": b"Gr\xfc"})]), 0.0)
    assert b'"Gr\\udcfc"' in group.messages[0].body


def test_events_that_the_daemon_has_dropped_become_a_gap() -> None:
    stream = writer()
    stream.start(at(5, 3))
    group = stream.group(page(5, 9, [body(5, 8), body(5, 9)], missed=4), 12.5)
    assert numbers(group) == [("amid:gap", 5, 7), ("Hangup", 5, 8), ("Hangup", 5, 9)]
    gap = events(group)[0]
    assert (gap["after"], gap["until"], gap["missed"], gap["time"]) == (3, 7, 4, 12.5)
    assert gap["fields"] == {"after": 3, "until": 7, "missed": 4}
    assert group.messages[0].subject == "amid.event.pbx1.amid:gap"
    assert (stream.gaps, stream.missed) == (1, 4)


def test_a_gap_at_the_end_of_a_page_is_stored() -> None:
    stream = writer()
    stream.start(at(5, 3))
    group = stream.group(page(5, 7, [], missed=4), 0.0)
    assert numbers(group) == [("amid:gap", 5, 7)]
    assert group.end == StreamPosition(5, 7, 5, "a")


def test_the_end_of_an_epoch_becomes_one_gap_of_unknown_size() -> None:
    stream = writer()
    stream.start(at(5, 3))
    assert numbers(stream.group(page(6, 0, [], missed=None), 0.0)) == [("amid:gap", 6, 0)]
    group = stream.group(page(6, 1, [body(6, 1)]), 0.0)
    assert numbers(group) == [("Hangup", 6, 1)]


def test_a_new_epoch_whose_first_events_were_dropped_has_one_gap() -> None:
    stream = writer()
    stream.start(at(5, 3))
    group = stream.group(page(6, 9, [body(6, 9)], missed=None), 0.0)
    assert numbers(group) == [("amid:gap", 6, 8), ("Hangup", 6, 9)]
    assert events(group)[0]["missed"] is None


def test_a_smaller_epoch_of_the_daemon_becomes_a_greater_one() -> None:
    """Its clock was set back, and the file that keeps its epochs growing was lost."""
    stream = writer()
    stream.start(at(9, 3))
    group = stream.group(page(4, 1, [body(4, 1)], missed=None), 0.0)
    assert numbers(group) == [("amid:gap", 10, 0), ("Hangup", 10, 1)]
    assert group.messages[1].headers["Amid-Origin"] == "4 a"
    again = writer()
    assert again.start(Checkpoint(12, parse_position(group.messages[1].headers, group.messages[1].body))) == {"epoch": 4, "seq": 1}
    assert numbers(again.group(page(4, 2, [body(4, 2)]), 0.0)) == [("Hangup", 10, 2)]


def test_another_instance_continues_in_a_greater_epoch() -> None:
    stream = writer("b")
    assert stream.start(at(9, 3, last_sequence=40)) is None
    group = stream.take_over(page(4, 17, []), 0.0)
    assert numbers(group) == [("amid:gap", 10, 17)]
    assert group.messages[0].headers["Nats-Expected-Last-Sequence"] == "40"
    assert events(group)[0]["after"] == 3
    assert events(group)[0]["missed"] is None
    assert numbers(stream.group(page(4, 18, [body(4, 18)]), 0.0)) == [("Hangup", 10, 18)]


def test_a_new_stream_begins_with_the_events_that_the_daemon_holds() -> None:
    stream = writer()
    assert stream.start(EMPTY) == {"epoch": 0, "seq": 0}
    assert stream.group(page(0, 0, []), 0.0).messages == []
    assert stream.group(page(5, 0, [], missed=None), 0.0).messages == []
    assert numbers(stream.group(page(5, 2, [body(5, 1), body(5, 2)]), 0.0)) == [("Hangup", 5, 1), ("Hangup", 5, 2)]


def test_a_new_stream_has_a_gap_for_earlier_events_of_the_epoch() -> None:
    stream = writer()
    stream.start(EMPTY)
    group = stream.group(page(5, 9, [body(5, 9)], missed=None), 0.0)
    assert numbers(group) == [("amid:gap", 5, 8), ("Hangup", 5, 9)]
    assert events(group)[0]["missed"] == 8


def test_events_in_leave_out_are_not_a_gap() -> None:
    stream = writer(leave_out=("VarSet",))
    stream.start(at(5, 0))
    group = stream.group(page(5, 4, [body(5, 1, "VarSet"), body(5, 2), body(5, 3, "varset"), body(5, 4, "VarSet")]), 0.0)
    assert numbers(group) == [("Hangup", 5, 2)]
    assert group.end.seq == 4
    assert numbers(stream.group(page(5, 5, [body(5, 5)]), 0.0)) == [("Hangup", 5, 5)]


def test_an_event_that_is_too_large_becomes_a_gap() -> None:
    stream = writer(max_body_bytes=400)
    stream.start(at(5, 0))
    group = stream.group(page(5, 3, [body(5, 1), body(5, 2, A="x" * 500), body(5, 3)]), 0.0)
    assert numbers(group) == [("Hangup", 5, 1), ("amid:gap", 5, 2), ("Hangup", 5, 3)]
    assert events(group)[1]["missed"] == 1


def test_a_last_message_of_another_program_starts_a_new_epoch() -> None:
    for headers, text in (({}, b"{}"), ({}, b"\xff"), ({"Amid-Origin": "x"}, b'{"epoch": 5, "seq": 1}')):
        stream = writer()
        assert stream.start(Checkpoint(3, parse_position(headers, text))) is None
        assert numbers(stream.take_over(page(5, 8, []), 0.0)) == [("amid:gap", 5, 8)]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("events"), st.integers(1, 12)),
        st.tuples(st.just("publish"), st.frozensets(st.integers(0, 5), max_size=3)),  # indices of lost messages
        st.tuples(st.just("lost ack"), st.just(0)),  # all are stored, but the acknowledgement is lost
        st.tuples(st.just("reconnect"), st.just(0)),
        st.tuples(st.just("restart"), st.just(0)),  # of the bus
        st.tuples(st.just("take over"), st.just(0)),  # by the other instance, before this one sends its last group
        st.tuples(st.just("power cut"), st.integers(1, 6)),
    ),
    max_size=40,
)


class Instance:
    """A daemon with its bus, which publishes a page at a time and reads the checkpoint again after
    any unexpected answer."""

    def __init__(self, name: str, first_epoch: int, stream: Stream) -> None:
        self.name = name
        self.daemon = Daemon(held=8, first_epoch=first_epoch)
        self.stream = stream
        self.restart()

    def restart(self) -> None:
        self.writer = writer(self.name)
        self.started = False

    def publish(self, lost: frozenset[int] = frozenset(), acknowledged: bool = True) -> bool:
        """Publish one page. Return whether nothing is left to publish."""
        if not self.started:
            self.after = self.writer.start(self.stream.checkpoint)
            self.started = True
        found = self.daemon.pull(self.after)
        group = self.writer.take_over(found, 0.0) if self.after is None else self.writer.group(found, 0.0)
        idle = self.after == {"epoch": found.epoch, "seq": found.seq}
        self.after = {"epoch": found.epoch, "seq": found.seq}
        answer = self.stream.store_all(group, lost)
        stored = not group.messages or (answer is not None and check_ack(answer, group.last_sequence).outcome is Outcome.STORED)
        if not stored or not acknowledged:
            self.started = False
        return idle and stored


@settings(max_examples=300)
@given(STEPS)
def test_after_any_faults_the_stream_is_in_order_without_duplicates_or_has_a_gap(steps: list[tuple[str, Any]]) -> None:
    stream = Stream()
    active, standby = Instance("a", 100, stream), Instance("b", 50, stream)
    happened = 0
    for step, value in steps:
        match step:
            case "events":
                for _ in range(value):
                    happened += 1
                    active.daemon.add(str(happened))
                    standby.daemon.add(str(happened))
            case "publish":
                active.publish(lost=value)
            case "lost ack":
                active.publish(acknowledged=False)
            case "reconnect":
                active.daemon.reconnect()
            case "restart":
                active.restart()
            case "take over":
                standby.restart()
                standby.publish()
                active.publish()  # it was suspended, and continues
                active, standby = standby, active
            case "power cut":
                stream.lose_tail(value)
                active.started = standby.started = False  # the connections end with the server
    for _ in range(200):
        if active.publish() and active.publish():
            break
    check_stream(stream, happened)


def check_stream(stream: Stream, happened: int) -> None:
    """No event is stored twice or out of order, and none is missing except at a gap."""
    before, names = (0, 0), 0
    open_gap = True  # for the events before the stream began
    for one in stream.messages:
        event = one.event
        position = (event["epoch"], event["seq"])
        assert position > before
        if event["event"] == "amid:gap":
            open_gap = True
        else:
            name = int(event["event"])
            assert name > names
            assert open_gap or name == names + 1
            assert open_gap or position == (before[0], before[1] + 1)
            names, open_gap = name, False
        before = position
    assert open_gap or names == happened
