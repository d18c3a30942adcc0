"""Numbers on events: what the publisher counts and what a subscriber can know to have missed."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from amid.events.sequence import MAX_NAMES, Gap, Gaps, Numberer

S = "pbx1"
calm = settings(deadline=None)
"""No time limit on an example: the machine may be busy, and none of this is about time."""


@dataclass(frozen=True)
class Sent:
    """A published event, or a tick when `name` is None."""

    name: str | None
    seq: int
    nth: int
    counts: dict[str, int]
    epoch: int = 1


def published(names: list[str | None], epoch: int = 1) -> list[Sent]:
    numberer = Numberer(epoch)
    out = []
    for name in names:
        seq, (nth,) = numberer.number([name]) if name else (numberer.seq, [0])
        out.append(Sent(name, seq, nth, dict(numberer.counts), epoch))
    return out


def receive(gaps: Gaps, sent: Sent) -> list[Gap]:
    """The gaps before it; a new event must be fresh."""
    if sent.name is None:
        before = gaps.before_tick(S, sent.epoch, sent.seq, sent.counts)
        assert gaps.tick(S, sent.epoch, sent.seq, sent.counts) == before, "before_tick tells the same"
        return before
    before = gaps.before_event(S, sent.epoch, sent.seq, sent.nth, sent.name)
    assert gaps.event(S, sent.epoch, sent.seq, sent.nth, sent.name) == (True, before), "before_event tells the same"
    return before


def received(stream: list[Sent], names: frozenset[str] | None, lost: set[int]) -> list[list[Gap]]:
    """What a subscriber hears with each message of `stream` but those at the places `lost`."""
    gaps = Gaps(names)
    wanted = [m for i, m in enumerate(stream) if i not in lost and (m.name is None or names is None or m.name in names)]
    return [receive(gaps, message) for message in wanted]


def lost(epoch: int, after: int, until: int, missed: int, event: str | None = None) -> Gap:
    return Gap(S, epoch, after, until, missed, "lost", event)


def ended(epoch: int, after: int) -> Gap:
    return Gap(S, epoch, after, None, None, "the event session was replaced")


def test_numberer() -> None:
    numberer = Numberer(5)
    assert numberer.number("ABA") == (1, [1, 1, 2])
    assert numberer.number([]) == (4, [])
    assert numberer.number("AB") == (4, [3, 2])
    assert (numberer.epoch, numberer.seq, numberer.counts) == (5, 5, {"A": 3, "B": 2})


@pytest.mark.parametrize(("proposed", "epoch"), [(9, 9), (6, 6), (5, 6), (0, 6)])
def test_epochs_only_grow(proposed: int, epoch: int) -> None:
    numberer = Numberer(5)
    numberer.number("A")
    numberer.new_epoch(proposed)
    assert (numberer.epoch, numberer.seq, numberer.counts) == (epoch, 0, {})
    assert numberer.number("A") == (1, [1])


ALL = None
TICK = None
CASES: dict[str, tuple[list[str | None], frozenset[str] | None, set[int], list[Gap]]] = {
    "nothing lost": (["A", "B", TICK, "A", TICK], ALL, set(), []),
    "one in the middle": (["A", "B", "A"], ALL, {1}, [lost(1, 1, 2, 1)]),
    "several": (["A", "B", "B", "A"], ALL, {1, 2}, [lost(1, 1, 3, 2)]),
    "at the end of a quiet stream": (["A", "B", "B", TICK, TICK], ALL, {1, 2}, [lost(1, 1, 3, 2)]),
    "said once": (["A", "B", TICK, TICK, "A"], ALL, {1}, [lost(1, 1, 2, 1)]),
    "a lost tick is no loss": (["A", TICK, "A", TICK], ALL, {1}, []),
    "joins late": (["A", "B", "A", "A"], ALL, {0, 1}, []),
    "joins late by a tick": (["A", "B", TICK, "A", TICK], ALL, {0, 1}, []),
    "joins by a tick, then loses": (["A", TICK, "A", "A"], ALL, {0, 2}, [lost(1, 1, 2, 1)]),
    "a tick before anything": ([TICK, "A", "A"], ALL, {1}, [lost(1, 0, 1, 1)]),
    "some: holes in seq are none": (["A", "B", "B", "A", TICK], frozenset("A"), set(), []),
    "some: one in the middle": (["A", "B", "A", "A"], frozenset("A"), {2}, [lost(1, 1, 3, 1, "A")]),
    "some: shown by a tick": (["A", "A", "B", TICK], frozenset("A"), {1}, [lost(1, 1, 3, 1, "A")]),
    "some: a name not heard of before": (["A", TICK, "B", TICK], frozenset("AB"), {2}, [lost(1, 1, 2, 1, "B")]),
    "some: a late joiner": (["A", "A", "A", TICK, "A"], frozenset("A"), {0, 1}, []),
    "some: a late joiner to a name it has not seen": (["B", "B", "A", "B", TICK], frozenset("AB"), {0, 1}, []),
    "some: two names at a tick": (
        ["A", "B", TICK, "A", "B", TICK], frozenset("AB"), {3, 4}, [lost(1, 2, 4, 1, "A"), lost(1, 2, 4, 1, "B")],
    ),
    "some: behind the last of that name": (["A", "B", "A", "B"], frozenset("AB"), {1}, []),
    "some: looked for where it was lost": (
        [TICK, "B", "A", "B", "A", "B"], frozenset("AB"), {3}, [lost(1, 1, 4, 1, "B")],
    ),
    "some: lost before another that came": (["B", TICK, "B", "A", TICK], frozenset("AB"), {2}, [lost(1, 1, 3, 1, "B")]),
}  # fmt: skip


@pytest.mark.parametrize(("names", "wanted", "missing", "expected"), CASES.values(), ids=CASES)
def test_gaps(names: list[str | None], wanted: frozenset[str] | None, missing: set[int], expected: list[Gap]) -> None:
    heard = received(published(names), wanted, missing)
    assert [gap for gaps in heard for gap in gaps] == expected


@pytest.mark.parametrize("names", [ALL, frozenset("AB")], ids=["all", "some"])
def test_a_new_epoch_is_a_gap_of_unknown_size(names: frozenset[str] | None) -> None:
    gaps = Gaps(names)
    for message in published(["A", "B"]):
        assert receive(gaps, message) == []
    first, second, third, fourth = published(["A", "B", "B", "B"], epoch=9)
    assert receive(gaps, first) == [ended(1, 2)]
    assert receive(gaps, third) == [lost(9, 1, 2, 1) if names is None else lost(9, 0, 2, 1, "B")]
    assert receive(gaps, fourth) == []
    assert not gaps.event(S, 9, second.seq, second.nth, "B")[0]


@pytest.mark.parametrize("names", [ALL, frozenset("A")], ids=["all", "some"])
def test_a_smaller_epoch_is_a_new_one(names: frozenset[str] | None) -> None:
    """When the daemon has lost what its epochs grow from and its clock was set back."""
    by_event, by_tick = Gaps(names), Gaps(names)
    for gaps in (by_event, by_tick):
        receive(gaps, published(["A"], epoch=9)[0])
    first, second = published(["A", "A"], epoch=3)
    assert receive(by_event, first) == [ended(9, 1)] and receive(by_event, second) == []
    assert by_tick.tick(S, 3, 0, {}) == [ended(9, 1)] and receive(by_tick, first) == []


def test_invented_names_are_not_all_counted() -> None:
    """200,000 of them cost 43 MB, and each tick had them all."""
    numberer = Numberer(1)
    for number in range(MAX_NAMES + 1000):
        numberer.number([f"Invented{number}"])
    assert len(numberer.counts) == MAX_NAMES
    assert numberer.number(["Hangup", "x" * 1000, "Invented0"])[1] == [0, 0, 2]
    numberer.count("Hangup")
    assert numberer.number(["Hangup", "Hangup"])[1] == [1, 2], "a subscriber asked for it"
    for number in range(MAX_NAMES + 1000):
        numberer.count(f"Asked{number}")
        numberer.count("x" * 81)
    numberer.new_epoch(2)
    assert numberer.number(["Hangup"])[1] == [1]
    assert len(numberer.counts) == MAX_NAMES, "those that were asked for, and no others yet"
    for number in range(MAX_NAMES + 1000):
        numberer.number([f"Invented{number}"])
    assert len(numberer.counts) == 2 * MAX_NAMES


def test_of_a_name_that_is_not_counted_loss_is_possible_at_each_event() -> None:
    everything, some = Gaps(), Gaps(frozenset("A"))
    for gaps in (everything, some):
        assert gaps.tick(S, 1, 3, {"B": 3}) == []
    assert everything.event(S, 1, 4, 0, "A") == (True, [])
    assert everything.event(S, 1, 6, 0, "A") == (True, [lost(1, 4, 5, 1)])
    unknown = Gap(S, 1, 3, 3, None, "events of this name are not counted", "A")
    assert some.event(S, 1, 4, 0, "A") == (True, [unknown])


def test_a_subscriber_remembers_no_names_but_its_own() -> None:
    everything, some = Gaps(), Gaps(frozenset("A"))
    for number in range(1, 1001):
        for gaps in (everything, some):
            gaps.tick(S, 1, number, {f"X{n}": 1 for n in range(number)})
        everything.event(S, 1, number, 1, f"X{number}")
    assert all(not seen.nths and not seen.seqs for gaps in (everything, some) for seen in gaps._seen.values())


def test_the_beginning_of_a_new_epoch_is_a_gap_whose_size_is_known() -> None:
    everything, some = Gaps(), Gaps(frozenset("AB"))
    for gaps in (everything, some):
        receive(gaps, published(["A"])[0])
    late = published(["A", "B", "B", "B"], epoch=9)[3]
    assert receive(everything, late) == [ended(1, 1), lost(9, 0, 3, 3)]
    assert receive(some, late) == [ended(1, 1), lost(9, 0, 3, 2, "B")]


def test_a_new_epoch_shown_by_a_tick() -> None:
    everything, some = Gaps(), Gaps(frozenset("AB"))
    for gaps in (everything, some):
        receive(gaps, published(["A"])[0])
    assert everything.tick(S, 9, 3, {"A": 2, "C": 1}) == [ended(1, 1), lost(9, 0, 3, 3)]
    assert some.tick(S, 9, 3, {"A": 2, "C": 1}) == [ended(1, 1), lost(9, 0, 3, 2, "A")]
    assert everything.event(S, 9, 4, 3, "A") == (True, [])


def test_of_one_name_an_earlier_event_is_new_when_one_of_another_has_come() -> None:
    """So that a lost one can be fetched; and what was fetched is not fresh again."""
    gaps = Gaps(frozenset("AB"))
    _, first, second, third, fourth = published([TICK, "A", "B", "A", "B"])
    receive(gaps, published([TICK])[0])
    for message, missing in ((first, []), (third, []), (fourth, [lost(1, 0, 3, 1, "B")])):
        assert gaps.before_event(S, 1, message.seq, message.nth, message.name or "") == missing
        if not missing:
            receive(gaps, message)
    assert receive(gaps, second) == []
    assert gaps.event(S, 1, second.seq, second.nth, "B") == (False, [])
    assert receive(gaps, fourth) == []


@pytest.mark.parametrize("seq", [2, 1], ids=["again", "older"])
def test_what_was_seen_already_is_not_fresh(seq: int) -> None:
    gaps = Gaps()
    for message in published(["A", "A"]):
        receive(gaps, message)
    assert gaps.event(S, 1, seq, 1, "A") == (False, [])
    assert gaps.tick(S, 1, 1, {"A": 1}) == []
    assert gaps.event(S, 1, 3, 3, "A") == (True, [])


def test_servers_do_not_mix() -> None:
    gaps = Gaps()
    for n in (1, 2, 3):
        assert gaps.event("one", 1, n, n, "A") == (True, [])
        assert gaps.event("two", 7, 10 + n, n, "A") == (True, [])
    assert gaps.tick("one", 1, 3, {"A": 3}) == [] and gaps.tick("two", 7, 14, {"A": 4}) == [Gap("two", 7, 13, 14, 1, "lost")]


@calm
@given(
    st.lists(st.sampled_from(["A", "B", "C", None]), max_size=30),
    st.sampled_from([ALL, frozenset("A"), frozenset("AB"), frozenset("X")]),
    st.sets(st.integers(0, 31)),
)
@example(["B", "A", "B", "B"], frozenset("AB"), {1, 4})
def test_what_came_and_what_was_missed_is_what_was_published(
    names: list[str | None], wanted: frozenset[str] | None, missing: set[int]
) -> None:
    """For one who has been there since the first tick, up to the last tick, whatever was lost between."""
    stream = published([TICK, *names, TICK])
    missing -= {0, len(stream) - 1}
    heard = received(stream, wanted, missing)
    ours = [m for m in stream if m.name and (wanted is None or m.name in wanted)]
    came = [m for m in ours if stream.index(m) not in missing]
    found = [gap for gaps in heard for gap in gaps]
    assert len(came) + sum(gap.missed or 0 for gap in found) == len(ours)
    gone = [m for m in ours if m not in came]
    for gap in found:
        assert gap.until is not None
        between = [m for m in gone if gap.after < m.seq <= gap.until and gap.event in (None, m.name)]
        assert len(between) == gap.missed, "what was missed lies behind `after` and not behind `until`"


@calm
@given(
    st.lists(st.sampled_from(["A", "B", "C", None]), max_size=30),
    st.sampled_from([ALL, frozenset("A"), frozenset("AB")]),
    st.integers(0, 30),
)
def test_a_late_joiner_that_loses_nothing_has_no_gap(names: list[str | None], wanted: frozenset[str] | None, joins: int) -> None:
    assert not any(received(published(names), wanted, set(range(joins))))
