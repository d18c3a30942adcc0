"""What a subscriber makes of event messages, without a socket."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from amid import wire
from amid.client import Event, Gap
from amid.client.feed import QUIET, Feed, event, left
from amid.errors import AmidError
from tests.client.standin import body

LISTED = [
    {"name": "pbx1", "state": "up", "events": "e1", "stream": "s1"},
    {"name": "pbx2", "state": "rejected", "events": "e2", "stream": "s2"},
]


def feed(*names: str, gaps: bool = True, server: str | None = None) -> Feed:
    return Feed(LISTED, server, names, gaps, now=0.0)


def message(*bodies: dict[str, Any]) -> list[bytes]:
    return [b"topic", wire.pack(list(bodies))]


def tick(seq: int, epoch: int = 1, **counts: int) -> dict[str, Any]:
    return {**body(seq, wire.TICK, 0, epoch), "counts": counts}


def taken(feed: Feed, *bodies: dict[str, Any]) -> list[Event | Gap]:
    """What comes of a message when the daemon holds nothing of what is missing."""
    feed.take(message(*bodies), now=0.0)
    while feed.ask:
        feed.refused(AmidError("gone", "no longer held"))
    return list(iter(feed.next, None))


def test_without_names_it_takes_the_stream_of_every_server() -> None:
    assert feed().endpoints == ["s1", "s2"]
    assert feed().topics == [b"stream.pbx1.", b"stream.pbx2.", b"tick.pbx1.", b"tick.pbx2."]


def test_with_names_it_takes_those_events_and_asks_for_ticks_last() -> None:
    assert feed("B", "A", server="pbx2").endpoints == ["e2"]
    assert feed("B", "A", server="pbx2").topics == [b"event.pbx2.A.", b"event.pbx2.B.", b"tick.pbx2."]


def test_events_that_are_not_offered_over_tcp_are_an_error() -> None:
    with pytest.raises(AmidError, match="pbx1 are not offered over TCP: its table needs stream_listen"):
        Feed([{"name": "pbx1", "state": "up", "events": "tcp://10.0.0.1:5561", "stream": ""}], None, (), True, 0.0)


def test_a_server_that_is_not_there_is_an_error() -> None:
    with pytest.raises(AmidError, match="pbx1, pbx2") as caught:
        feed(server="pbx3")
    assert caught.value.kind == "unknown_server"


def test_it_is_settled_when_every_server_that_is_up_has_ticked() -> None:
    waiting = feed()
    assert not waiting.settled
    assert taken(waiting, tick(0)) == []
    assert waiting.settled


def test_events_come_in_order_and_once() -> None:
    items = taken(feed(), body(1, Channel="a"), body(2, Channel="b"), body(2, Channel="b"))
    assert [item["Channel"] for item in items if isinstance(item, Event)] == ["a", "b"]
    assert len(items) == 2


def test_a_gap_stands_where_events_are_missing() -> None:
    subject = feed()
    kinds = [type(item) for item in taken(subject, body(1), body(5))]
    assert kinds == [Event, Gap, Event]
    assert (subject.missed, subject.gaps) == (3, 1)


def test_a_tick_shows_what_is_missing_at_the_end() -> None:
    gap = Gap("pbx1", 1, 1, 3, 2, "lost")
    assert taken(feed(), body(1), tick(3, Hangup=3))[1:] == [gap]


def test_a_new_epoch_is_a_gap_of_unknown_size() -> None:
    subject = feed()
    items = taken(subject, body(9), body(3, epoch=2))
    assert [getattr(item, "missed", "event") for item in items] == ["event", None, 2, "event"]
    assert (subject.missed, subject.gaps) == (2, 2)


def test_without_gaps_each_is_a_warning_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    subject = feed(gaps=False)
    with caplog.at_level(logging.WARNING, "amid.client"):
        assert len(taken(subject, body(1), body(5))) == 2
    assert caplog.messages == ["pbx1: 3 events missing after number 1: lost"]
    assert subject.missed == 3


def test_a_quiet_server_is_reported_once_until_it_ticks_again(caplog: pytest.LogCaptureFixture) -> None:
    subject = feed(server="pbx1")
    with caplog.at_level(logging.WARNING, "amid.client"):
        subject.watch(QUIET)
        assert caplog.messages == []
        subject.watch(QUIET + 1)
        subject.watch(QUIET + 2)
        assert len(caplog.messages) == 1
        subject.take(message(tick(0)), now=10.0)
        subject.watch(10.0 + QUIET + 1)
    assert len(caplog.messages) == 2
    assert caplog.messages[0].startswith("pbx1: no tick")


def test_an_event_is_read_like_a_map_of_its_headers() -> None:
    got = event(body(3, Channel="a", Odd=b"\xff", Variable=["x", "y"]))
    assert (got["Channel"], got["Odd"], got["Variable"]) == ("a", b"\xff", ["x", "y"])
    assert "Channel" in got and "Cause" not in got
    assert (got.get("Cause"), got.get("Cause", "16")) == ("", "16")
    with pytest.raises(KeyError):
        got["Cause"]


def test_a_look_ends_with_the_timeout_and_never_lasts_long() -> None:
    assert [left(None, 100.0), left(0.5, 0.25), left(10.0, 0.25), left(10.0, 11.0), left(0, 0.0)] == [1.0, 0.25, 1.0, 0.0, 0.0]


def test_names_compare_without_case() -> None:
    """ZeroMQ's topics do not, so `hangup` heard nothing, for ever."""
    subject = feed("hangup", server="pbx1")
    assert taken(subject, tick(2, Newchannel=2)) == [] and subject.new_topics() == []
    subject.take(message(tick(4, Newchannel=2, Hangup=2)), now=0.0)
    assert subject.new_topics() == [b"event.pbx1.Hangup."] and subject.new_topics() == []
    assert subject.ask is not None and subject.ask.after == 2, "what came before the subscription is fetched"
    subject.fetched([body(3, nth=1), body(4, nth=2)], more=False)
    items = [*iter(subject.next, None), *taken(subject, body(5, nth=3))]
    assert [item.seq for item in items if isinstance(item, Event)] == [3, 4, 5] and subject.missed == 0


def test_a_subscription_that_is_not_in_effect_in_time_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    subject = feed(server="pbx1")
    subject.settle()
    assert caplog.messages == ["no tick of pbx1 within 2 s; events before the first one may be missing without a gap"]
    subject.take(message(tick(0)), now=0.0)
    subject.settle()
    assert len(caplog.messages) == 1


def test_an_epoch_that_is_smaller_is_a_new_one() -> None:
    """The clock was set back and the daemon had lost its state: every event was taken for an old one, without a gap."""
    subject = feed()
    items = taken(subject, body(9, epoch=5), body(1, epoch=3), body(2, epoch=3))
    assert [getattr(item, "reason", "event") for item in items] == ["event", "the event session was replaced", "event", "event"]
