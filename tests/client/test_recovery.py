"""Lost events fetched once more: each comes once and in order, or its gap is exact, whatever was lost and whatever is held."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amid import wire
from amid.client import Event, Gap
from amid.client.feed import Feed
from amid.client.recovery import PAUSE_S, TRIES, Ask, Recovery
from amid.errors import AmidError
from amid.events.ring import Gone, Ring
from amid.events.sequence import Numberer
from tests.client.standin import body

PACKET = b"Event: X\r\n\r\n"
Body = dict[str, Any]


class Daemon:
    """A server's publisher: numbers, a ring that holds no more than `kept` bytes, and pages of at most `limit` events."""

    def __init__(self, kept: int, limit: int = 1000) -> None:
        self.numbers = Numberer(1)
        self.ring = Ring(kept)
        self.limit = limit
        self.bodies: dict[tuple[int, int], Body] = {}

    def publish(self, names: str) -> list[Body]:
        """The events of one read; "|" begins an epoch, "." is a tick."""
        out = []
        for name in names:
            if name == "|":
                self.numbers.new_epoch(0)
            out.append(self._tick() if name in "|." else self._event(name))
        return out

    def _tick(self) -> Body:
        return {**body(self.numbers.seq, wire.TICK, 0, self.numbers.epoch), "counts": dict(self.numbers.counts)}

    def _event(self, name: str) -> Body:
        seq, (nth,) = self.numbers.number([name])
        epoch = self.numbers.epoch
        self.ring.add(epoch, seq, [nth], 0.0, PACKET)
        self.bodies[epoch, seq] = body(seq, name, nth, epoch)
        return self.bodies[epoch, seq]

    def serve(self, feed: Feed) -> None:
        """Answer whatever the feed asks for."""
        for _ in range(1000):
            if not (ask := feed.ask):
                return
            last = self.numbers.seq if ask.epoch == self.numbers.epoch else None
            try:
                held, more = self.ring.after(ask.epoch, ask.after, min(self.limit, ask.limit), last)
            except Gone as gone:
                feed.refused(AmidError("gone", str(gone), oldest=gone.oldest))
            else:
                feed.fetched([self.bodies[ask.epoch, one.seq] for one in held], more)
        raise AssertionError(f"it asks for ever: {ask}")


def subscriber(*names: str) -> Feed:
    return Feed([{"name": "pbx1", "state": "up", "events": "e", "stream": "s"}], None, names, True, 0.0)


def got(daemon: Daemon, feed: Feed, *bodies: Body) -> list[Event | Gap]:
    feed.take([b"", wire.pack(bodies)], 0.0)
    daemon.serve(feed)
    return list(iter(feed.next, None))


def told(items: list[Event | Gap]) -> list[Any]:
    """Events as (epoch, seq), gaps as (epoch, after, until, missed)."""
    return [(i.epoch, i.seq) if isinstance(i, Event) else (i.epoch, i.after, i.until, i.missed) for i in items]


def test_what_is_held_comes_and_what_is_not_is_an_exact_gap() -> None:
    daemon, feed = Daemon(3 * 300), subscriber()
    sent = daemon.publish("." + "A" * 9)
    assert told(got(daemon, feed, sent[0], sent[1], sent[9])) == [(1, 1), (1, 1, 6, 5), (1, 7), (1, 8), (1, 9)]
    assert (feed.missed, feed.gaps, feed.replayed) == (5, 1, 2)


def test_pages_are_fetched_until_the_range_is_whole() -> None:
    daemon, feed = Daemon(1 << 20, limit=2), subscriber()
    sent = daemon.publish("." + "A" * 8)
    assert told(got(daemon, feed, sent[0], sent[8])) == [(1, seq) for seq in range(1, 9)]
    assert (feed.missed, feed.gaps, feed.replayed) == (0, 0, 7)


def test_an_old_epoch_is_fetched_to_its_end_and_the_new_one_from_its_beginning() -> None:
    daemon, feed = Daemon(1 << 20), subscriber()
    sent = daemon.publish(".AAA|AA")
    items = told(got(daemon, feed, sent[0], sent[1], sent[-1]))
    assert items == [(1, 1), (1, 2), (1, 3), (1, 3, None, None), (2, 1), (2, 2)], "what fell between the two, nobody knows"


def test_what_was_lost_of_one_name_comes_though_another_name_was_seen_since() -> None:
    daemon, feed = Daemon(1 << 20), subscriber("A", "B")
    sent = daemon.publish(".BAABA")
    assert told(got(daemon, feed, sent[0], sent[2], sent[5])) == [(1, 2), (1, 1), (1, 3), (1, 4), (1, 5)]
    assert (feed.missed, feed.replayed) == (0, 3)


def test_of_some_names_the_lost_come_in_order() -> None:
    daemon, feed = Daemon(1 << 20), subscriber("A", "B")
    sent = daemon.publish(".ABCAB.")
    assert told(got(daemon, feed, sent[0], sent[6])) == [(1, 1), (1, 2), (1, 4), (1, 5)]
    assert (feed.missed, feed.replayed) == (0, 4)


@settings(deadline=None, max_examples=300)
@given(
    names=st.text("AB.|", max_size=40),
    wanted=st.sampled_from([(), ("A",), ("A", "B")]),
    lost=st.sets(st.integers(0, 41)),
    kept=st.integers(0, 20 * 300),
    limit=st.integers(1, 5),
    portion=st.integers(1, 8),
)
def test_each_comes_once_and_in_order_or_its_gap_is_exact(
    names: str, wanted: tuple[str, ...], lost: set[int], kept: int, limit: int, portion: int
) -> None:
    daemon, feed = Daemon(kept, limit), subscriber(*wanted)
    text = "." + names + "."
    items: list[Event | Gap] = []
    for at in range(0, len(text), portion):
        sent = daemon.publish(text[at : at + portion])
        through = [b for n, b in enumerate(sent, at) if n not in lost - {0, len(text) - 1} and _subscribed(b, wanted)]
        items += got(daemon, feed, *through)
    for epoch in {item.epoch for item in items}:  # of an epoch wholly lost nobody can know but by the end of the one before it
        _check(daemon, epoch, wanted, [i for i in items if i.epoch == epoch])


def _subscribed(body: Body, wanted: tuple[str, ...]) -> bool:
    return body["event"] == wire.TICK or not wanted or body["event"] in wanted


def _check(daemon: Daemon, epoch: int, wanted: tuple[str, ...], items: list[Event | Gap]) -> None:
    """For each stream, all events or one name's: what came and what lies in gaps is all that was published, each once."""
    published = [b for (e, _), b in sorted(daemon.bodies.items()) if e == epoch]
    for name in wanted or (None,):
        ours = [b["seq"] for b in published if name in (None, b["event"])]
        accounted: list[int] = []
        ends_open = False
        for item in items:
            if isinstance(item, Event):
                accounted += [item.seq] if name in (None, item.event) else []
            elif item.until is None:
                ends_open = True
            elif item.event == name:
                between = [seq for seq in ours if item.after < seq <= item.until]
                assert len(between) == item.missed
                accounted += between
        assert accounted == (ours[: len(accounted)] if ends_open else ours)


def test_an_error_that_may_pass_is_tried_again_and_then_given_up() -> None:
    recovery = Recovery()
    recovery.begin([Gap("pbx1", 1, 5, 9, 4, "lost")])
    for kind in ["not_connected", "busy"] * (TRIES // 4) + ["timeout"]:
        assert recovery.ask == Ask("pbx1", 1, 5)
        recovery.refused(AmidError(kind, "not now"))
        assert recovery.pause == (0 if kind == "timeout" else PAUSE_S)
    assert recovery.ask is None


@pytest.mark.parametrize("page", [([], True), ([body(3)], True), ([body(20)], False)], ids=["empty", "old", "beyond"])
def test_a_page_without_what_was_asked_for_ends_the_asking(page: tuple[list[Body], bool]) -> None:
    recovery = Recovery()
    recovery.begin([Gap("pbx1", 1, 5, 9, 4, "lost")])
    assert recovery.page(*page) == []
    assert recovery.ask is None
