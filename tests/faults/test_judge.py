"""The judge finds every kind of violation in artificial records, and none where there is none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgpack
import pytest

from tests.faults.judge import Judge
from tests.faults.records import Away, Call, Cut, Deaf, Missed, Record, RecordedCall, Seen, Stray, Tick, Witnessed, pack, unpacked


def call(**other: Any) -> Call:
    """A call at 100 s with a timeout of 2 s that was answered at once."""
    plain = Call("client-1", "UserEvent", 100.0, 2.0, 100.01, 0.0, "ok", True, False, True, "t1", "")
    return plain._replace(**other)


def ping(**other: Any) -> Call:
    return call(action="Ping", token="", **other)


def timed_out(over: float, **other: Any) -> Call:
    return ping(kind="timeout", fine=False, ended=102.0 + over, **other)


def seen(seq: int, token: str = "", epoch: int = 7, subscriber: str = "stream", at: float = 100.0) -> Seen:
    return Seen(subscriber, at, epoch, seq, seq - 1, "UserEvent", token)


def tick(seq: int, epoch: int = 7, subscriber: str = "stream") -> Tick:
    return Tick(subscriber, 100.0, epoch, seq, {"UserEvent": seq})


def missed(after: int, count: int | None, epoch: int = 7) -> Missed:
    return Missed("client", 100.0, epoch, after, count)


def witnessed(number: int, token: str, session: int = 1) -> Witnessed:
    return Witnessed(100.0, session, number, token)


def client(*items: Seen | Missed) -> list[Record]:
    return [item._replace(subscriber="client") for item in items]


def pull(*items: Seen | Missed) -> list[Record]:
    """The same of one that pulls by name."""
    return [item._replace(subscriber="pull") for item in items]


def judged(records: Iterable[Record]) -> list[str]:
    judge = Judge()
    for record in records:
        judge.take(record)
    return judge.end()


W1, W2, W3 = (witnessed(number, f"t{number}") for number in (1, 2, 3))
LIE = {"kind": "timeout", "sent": False, "fine": False, "ended": 102.0}
UNSURE = {"kind": "connection_lost", "sent": True, "fine": False}
BY_CLIENT = {"kind": "timeout", "own": True, "fine": False, "ended": 103.0}

GOOD: dict[str, list[Record]] = {
    "nothing": [],
    "success, and carried out": [W1, call()],
    "success, and the witness speaks later": [call(), W1],
    "carried out where that was not known": [call(**UNSURE), W1],
    "not carried out where that was not known": [call(**UNSURE)],
    "not sent, and not carried out": [call(**LIE)],
    "as late as is promised": [timed_out(0.049)],
    "later by as much as the load was held up": [timed_out(0.149, late=0.1)],
    "no broker": [Away(101.0, None), ping(**BY_CLIENT)],
    "no broker a moment ago": [Away(98.0, 99.5), ping(kind="unreachable", sent=False, own=True, fine=False)],
    "success while the witness was cut off": [Cut(99.0, None), call(), Cut(99.0, 101.0)],
    "each event once": [seen(5), seen(6), tick(6), seen(7)],
    "a new epoch": [seen(5), seen(1, epoch=8), seen(2, epoch=8)],
    "a new epoch that was joined late": [seen(5), seen(4, epoch=8)],
    "some names": [seen(5, subscriber="names"), tick(5, subscriber="names"), seen(6, subscriber="names")],
    "a gap of the right size": client(seen(5), missed(5, 3), seen(9)),
    "a new epoch that was told": client(seen(5), missed(5, None), seen(1, epoch=8)),
    "a new epoch that was joined late, as was told": client(seen(5), missed(5, None), missed(0, 3, epoch=8), seen(4, epoch=8)),
    "the numbers of other names in between": [
        *[seen(seq, subscriber="names")._replace(prev=prev) for seq, prev in ((5, 2), (9, 5))],
        tick(20, subscriber="names")._replace(last={"UserEvent": 9, "Hangup": 20}),
    ],
    "by pull, the numbers of other names in between": pull(
        seen(5), seen(9)._replace(prev=5), missed(12, 8), seen(30)._replace(prev=20)
    ),
    "by pull, a new epoch": pull(seen(5), missed(8, None), seen(4, epoch=8)._replace(prev=0)),
    "by pull, the first of a name": pull(seen(5), seen(6)._replace(name="Hangup", prev=2)),
    "the order of the witness": [W1, W2, W3, seen(5, "t2"), seen(6, "t3")],
    "what the witness saw while the subscriber had none": [W1, W2, W3, seen(5, "t1"), seen(1, "t3", epoch=8)],
    "what the subscriber saw while the witness was cut off": [W1, Cut(99.0, 101.0), seen(5, "t1"), seen(6, "t2")],
    "the witness's next session": [W1, witnessed(3, "t3", session=2), seen(5, "t1"), seen(6, "t3")],
}

BAD: dict[str, tuple[str, list[Record]]] = {
    "late": ("51 ms after its timeout", [timed_out(0.051)]),
    "later than the load was held up": ("160 ms after its timeout", [timed_out(0.16, late=0.1)]),
    "too early": ("too early", [timed_out(-0.5)]),
    "no answer, and a broker": ("gave no answer", [ping(**BY_CLIENT)]),
    "unreachable, and a broker": ("gave no answer", [ping(kind="unreachable", own=True, sent=False, fine=False)]),
    "a broker that is back for long": ("gave no answer", [Away(90.0, 98.0), ping(**BY_CLIENT)]),
    "no broker, and the client too late": ("after its timeout", [Away(101.0, None), ping(**{**BY_CLIENT, "ended": 103.1})]),
    "a bug": ("no call may end so", [ping(kind="internal_error", fine=False)]),
    "the answer of another": ("not its own answer", [ping(wrong="ActionID is another's")]),
    "a second answer": ("duplicate", [Stray("wire-1", 100.0, "{}")]),
    "not sent, and carried out before": ("sent is false", [W1, call(**LIE)]),
    "not sent, and carried out after": ("sent is false", [call(**LIE), W1]),
    "not sent, and carried out, a cut besides": ("sent is false", [Cut(99.0, 101.0), call(**LIE), W1]),
    "success, and never carried out": ("never carried it out", [call()]),
    "success, and a cut at another time": ("never carried it out", [Cut(10.0, 99.0), call()]),
    "carried out twice": ("carried out twice", [W1, call(), witnessed(2, "t1")]),
    "carried out twice by an honest doubt": ("carried out twice", [W1, call(**UNSURE), witnessed(2, "t1")]),
    "a hole": ("event 7 came behind 5", [seen(5), seen(7)]),
    "an event twice": ("event 5 came behind 5", [seen(5), seen(5)]),
    "out of order": ("event 4 came behind 5", [seen(5), seen(4)]),
    "an epoch again": ("epoch 7 came behind epoch 8", [seen(1, epoch=8), seen(6)]),
    "lost at the end of a quiet stream": ("the tick says 6", [seen(5), tick(6)]),
    "a hole behind a tick": ("event 7 came behind 5", [tick(5), seen(7)]),
    "a hole among some names": (
        "UserEvent 7 with prev 6 came behind 5",
        [seen(5, subscriber="names"), seen(7, subscriber="names")],
    ),
    "one of some names twice": (
        "UserEvent 5 with prev 4 came behind 5",
        [seen(5, subscriber="names"), seen(5, subscriber="names")],
    ),
    "the last of some names": ("the tick says UserEvent 6", [seen(5, subscriber="names"), tick(6, subscriber="names")]),
    "an old epoch of some names": ("came behind epoch 8", [seen(1, epoch=8, subscriber="names"), tick(5, subscriber="names")]),
    "a hole that was not told": ("no gap was told", client(seen(5), seen(7))),
    "a gap too small": ("no gap was told", client(seen(5), missed(5, 2), seen(9))),
    "a gap too large": ("no gap was told", client(seen(5), missed(5, 4), seen(9))),
    "a gap elsewhere": ("a gap behind 4", client(seen(5), missed(4, 3), seen(8))),
    "an empty gap": ("a gap of 0", client(seen(5), missed(5, 0), seen(6))),
    "an event twice, from the client": ("no gap was told", client(seen(5), seen(5))),
    "an epoch that was not told": ("its end was not told", client(seen(5), seen(1, epoch=8))),
    "a late begin that was not told": ("at its begin was not told", client(seen(5), missed(5, None), seen(4, epoch=8))),
    "an epoch that goes on behind its end": ("which had ended", client(seen(5), missed(5, None), seen(6))),
    "the end of an old epoch": ("the end of epoch 7", client(seen(1, epoch=8), missed(5, None))),
    "the wrong prev": ("UserEvent 6 with prev 4 came behind 5", [seen(5), seen(6)._replace(prev=4)]),
    "a prev that never came": (
        "Hangup 6 with prev 5 came behind none",
        [tick(4), seen(5), seen(6)._replace(name="Hangup", prev=5)],
    ),
    "some names: lost behind the first tick": (
        "UserEvent 9 with prev 7",
        [tick(5, subscriber="names")._replace(last={}), seen(9, subscriber="names")._replace(prev=7)],
    ),
    "the wrong prev, from the client": ("UserEvent 6 with prev 4", client(seen(5), seen(6)._replace(prev=4))),
    "by pull, a hole": ("UserEvent 9 with prev 7", pull(seen(5), seen(9)._replace(prev=7))),
    "by pull, an event twice": ("no gap was told", pull(seen(5), seen(5))),
    "by pull, a gap too small": ("UserEvent 30 with prev 22", pull(seen(5), missed(12, 8), seen(30)._replace(prev=22))),
    "by pull, a gap that had come": ("no gap was told", pull(seen(5), missed(4, 8))),
    "by pull, a hole at the begin of an epoch": ("with prev 3", pull(seen(5), missed(8, None), seen(4, epoch=8))),
    "by pull, an epoch that was not told": ("its end was not told", pull(seen(5), seen(1, epoch=8))),
    "another order than the witness's": ("had t1 behind t2", [W1, W2, seen(5, "t2"), seen(6, "t1")]),
    "one of the witness's is left out": ("had t3 behind t1", [W1, W2, W3, seen(5, "t1"), seen(6, "t3")]),
    "the witness speaks last": ("had t3 behind t1", [seen(5, "t1"), seen(6, "t3"), W1, W2, W3]),
    "an event that was never sent": ("the witness never saw", [seen(5, "forged")]),
    "a call that is recorded otherwise": (
        "not the call of its events",
        [RecordedCall(100.0, "1.1", {"began": 1.0}, {"began": 2.0})],
    ),
    "deaf at the end": ("never had the last event", [Deaf("names", 100.0)]),
}


@pytest.mark.parametrize("name", GOOD)
def test_valid_records_have_no_violations(name: str) -> None:
    assert judged(GOOD[name]) == []


@pytest.mark.parametrize("name", BAD)
def test_each_violation_is_found_once(name: str) -> None:
    text, records = BAD[name]
    (found,) = judged(records)
    assert text in found


def test_every_record_survives_the_pipe() -> None:
    records = [record for records in GOOD.values() for record in records] + [r for _, records in BAD.values() for r in records]
    unpacker = msgpack.Unpacker()
    unpacker.feed(b"".join(map(pack, records)))
    assert [unpacked(value) for value in unpacker] == records


def test_records_are_judged_and_forgotten_in_time() -> None:
    judge = Judge()
    for number in range(100_000):
        at = float(number)
        judge.take(Witnessed(at, 1, number, f"t{number}"))
        judge.take(call(token=f"t{number}", began=at, ended=at + 0.01))
        judge.take(seen(number + 1, f"t{number}", at=at))
    assert not judge.violations
    assert judge.remembered() < 1000


def test_a_soak_reports_a_violation_before_its_end() -> None:
    judge = Judge()
    judge.take(call())
    judge.take(ping(began=200.0, ended=200.01))
    (found,) = judge.violations
    assert "never carried it out" in found
