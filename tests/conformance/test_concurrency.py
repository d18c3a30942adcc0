"""Many concurrent callers: each gets its own answer, slow actions delay no other caller, and every
call is answered in time with a correct `sent`."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.asterisk.raw import Raw
from tests.conformance.callers import Action, Answered, Dealer, at_once
from tests.conformance.conftest import Phone
from tests.conformance.pbx import SERVER, Pbx
from tests.daemon import Daemon, eventually

pytestmark = pytest.mark.alone

CALLERS = 200
ROUNDS = 3
SLOW = Action(
    "Originate", {"Channel": "Local/noanswer@calls/n", "Application": "Wait", "Data": 1, "Timeout": 30_000}, {"timeout": 40}
)
"""A synchronous Originate: Asterisk does nothing else on its session for 30 s."""


# --- Each its own ---


def question(number: int) -> Action:
    """An action whose answer identifies its caller."""
    own = {"ActionID": f"own-{number}"}
    return (
        Action("Ping", own),
        Action("Getvar", {"Variable": f"CALLER{number}", **own}),
        Action("DBGet", {"Family": "callers", "Key": str(number), **own}),
        Action("Command", {"Command": f"database show callers {number}", **own}),
        Action("Command", {"Command": f"nonsense {number}", **own}),
        Action("Getvar", {"Channel": f"none/{number}", "Variable": "X", **own}),
        Action("UserEvent", {"UserEvent": "Caller", "Number": number, **own}, {"until": "UserEvent"}),
        Action("QueueStatus", {"Queue": f"queue-{number}", **own}),
        Action(f"Nonsense{number}", own),
        Action("DBGetTree", {"Family": "callers", "Key": str(number), **own}),
    )[number % 10]


def check(number: int, answer: Answered) -> None:
    """Check that it is the answer to `question(number)`."""
    packet = answer.error["data"]["response"] if answer.kind == "action_failed" else answer.result["response"]
    assert packet["ActionID"] == f"own-{number}"
    found: dict[int, Any] = {
        0: lambda: packet["Ping"] == "Pong",
        1: lambda: packet["Variable"] == f"CALLER{number}" and packet["Value"] == f"value {number}",
        2: lambda: [item["Val"] for item in answer.result["events"]] == [f"value {number}"],
        3: lambda: f"/callers/{number}" in answer.result["output"][0] and f"value {number}" in answer.result["output"][0],
        4: lambda: packet["Output"].startswith(f"No such command 'nonsense {number}'"),
        5: lambda: packet["Message"] == "No such channel",
        6: lambda: answer.result["until"]["Number"] == str(number),
        7: lambda: answer.result["events"] == [] and answer.result["complete"]["Event"] == "QueueStatusComplete",
        8: lambda: packet["Message"].startswith(f"Invalid/unknown command: Nonsense{number}."),
        9: lambda: [item["Key"] for item in answer.result["events"]] == [f"/callers/{number}"],
    }
    assert found[number % 10](), answer.reply


@pytest.fixture(scope="module")
def values(daemon: Daemon) -> Iterator[None]:
    """A global variable and a database entry for each caller."""
    with Dealer(daemon) as dealer:
        puts = [Action("DBPut", {"Family": "callers", "Key": n, "Val": f"value {n}"}) for n in range(CALLERS)]
        sets = [Action("Setvar", {"Variable": f"CALLER{n}", "Value": f"value {n}"}) for n in range(CALLERS)]
        assert {answer.kind for answer in dealer.carry_out(puts + sets).values()} == {"ok"}
    yield
    daemon.action("DBDelTree", {"Family": "callers"})


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_200_concurrent_callers_get_their_own_answers(daemon: Daemon, values: None, seed: int) -> None:
    order = random.Random(seed).sample(range(CALLERS), CALLERS)
    answers = at_once(daemon, [question(number) for number in order])
    for number, answer in zip(order, answers, strict=True):
        check(number, answer)
    print(f"\n{CALLERS} callers; the last was answered after {max(answer.seconds for answer in answers):.3f} s")


def test_one_caller_with_many_requests(daemon: Daemon, values: None) -> None:
    order = [number for seed in range(5) for number in random.Random(seed).sample(range(CALLERS), CALLERS)]
    with Dealer(daemon) as dealer:
        answers = dealer.carry_out(question(number) for number in order)
    for place, number in enumerate(order):
        check(number, answers[place])


def test_disconnecting_callers_do_not_affect_others(daemon: Daemon, values: None) -> None:
    for round_ in range(5):
        with Dealer(daemon) as gone:
            for number in range(CALLERS):
                gone.send(number, question(number))
        answers = at_once(daemon, [question(number) for number in range(round_, 50)])
        for number, answer in enumerate(answers, round_):
            check(number, answer)


def test_late_answers_reach_no_other_caller(daemon: Daemon, values: None) -> None:
    """Timeouts so short that many expire in the middle of an answer."""
    late = counter(daemon)
    with Dealer(daemon) as dealer:
        for number in range(1000):
            asked = question(number % CALLERS)
            dealer.send(number, asked._replace(more={**asked.more, "timeout": 0.0005 + number % 40 / 1000}))
        answers = dealer.all()
    kinds = {answer.kind for answer in answers.values()}
    assert kinds <= {"ok", "action_failed", "timeout"}
    for number, answer in answers.items():
        if answer.kind != "timeout":
            check(number % CALLERS, answer)
    for number, answer in enumerate(at_once(daemon, [question(number) for number in range(CALLERS)])):
        check(number, answer)
    timeouts = [answer for answer in answers.values() if answer.kind == "timeout"]
    sent = sum(answer.sent for answer in timeouts)
    worst = max(answer.seconds - 0.0005 - number % 40 / 1000 for number, answer in answers.items())
    print(
        f"\n{len(timeouts)} of 1000 timed out, {sent} of them sent; {counter(daemon) - late} late; worst {worst * 1000:.0f} ms over"
    )
    assert worst < 0.5


def counter(daemon: Daemon) -> int:
    """The late packets and replies, at the reader and at the broker."""
    status = daemon.result("status")
    late: int = status["servers"][0]["counters"]["late_packets"] + status["counters"]["late_answers"]
    return late


# --- Slow actions ---


def lanes(daemon: Daemon) -> dict[str, int]:
    view: dict[str, int] = daemon.server(SERVER)["lanes"]
    return view


def test_pings_do_not_wait_for_a_slow_originate(daemon: Daemon, phone: Phone) -> None:
    with Dealer(daemon) as dealer:
        dealer.send("slow", SLOW)
        eventually(phone.channels, "it rings")
        for number in range(50):
            dealer.send(number, Action("Ping", {"ActionID": f"ping-{number}"}))
        pings = [dealer.reply(number) for number in range(50)]
        assert [ping.result["response"]["ActionID"] for ping in pings] == [f"ping-{number}" for number in range(50)]
        worst = max(ping.seconds for ping in pings)
        print(f"\n50 Pings beside it: {worst * 1000:.0f} ms at most")
        assert worst < 1 and "slow" not in dealer.replies
        daemon.action("Hangup", {"Channel": "/^Local/"})
        assert dealer.reply("slow").error["data"]["response"]["Message"] == "Originate failed"


def hang_up_beside_amid(pbx: Pbx) -> None:
    """End every call over a separate session, because no lane of amid is free."""
    with Raw(pbx) as raw:
        raw.ask("Hangup", Channel="/^Local/")


def take_all_lanes(daemon: Daemon, dealer: Dealer, slow: Action) -> int:
    """Returns how many there are."""
    limit = lanes(daemon)["limit"]
    # A test before may have opened the spare lane, which logs off after 60 s without an action.
    eventually(lambda: lanes(daemon)["free"] + lanes(daemon)["busy"] <= limit, "the spare lane is closed", 90)
    for number in range(limit):
        dealer.send(number, slow)
    eventually(lambda: lanes(daemon) == {"free": 0, "busy": limit, "limit": limit}, "all lanes are taken")
    return limit


def test_a_call_waits_unsent_when_all_lanes_are_busy(daemon: Daemon, pbx: Pbx, phone: Phone, mark: str) -> None:
    def put(key: str, timeout: float) -> Action:
        return Action("DBPut", {"Family": mark, "Key": key, "Val": "1"}, {"timeout": timeout})

    with Dealer(daemon) as dealer:
        limit = take_all_lanes(daemon, dealer, SLOW)
        dealer.send("unsent", put("unsent", 0.3))
        dealer.send("patient", put("patient", 30))
        unsent = dealer.reply("unsent")
        assert (unsent.kind, unsent.sent) == ("timeout", False) and 0.3 <= unsent.seconds < 0.8
        assert set(dealer.replies) == {"unsent"} and daemon.server(SERVER)["queued"] == 1
        hang_up_beside_amid(pbx)
        assert dealer.reply("patient").kind == "ok"
        assert {dealer.reply(number).kind for number in range(limit)} == {"action_failed"}
    (entry,) = daemon.action("DBGetTree", {"Family": mark})["events"]
    assert entry["Key"] == f"/{mark}/patient"
    daemon.action("DBDelTree", {"Family": mark})


def test_a_call_that_timed_out_in_flight_was_sent_and_its_lane_recovers(daemon: Daemon, pbx: Pbx, phone: Phone) -> None:
    late = counter(daemon)
    with Dealer(daemon) as dealer:
        limit = take_all_lanes(daemon, dealer, SLOW._replace(more={"timeout": 1.5}))
        answers = dealer.all()
    assert {(answer.kind, answer.sent) for answer in answers.values()} == {("timeout", True)}
    assert all(1.5 <= answer.seconds < 2 for answer in answers.values())
    assert lanes(daemon)["free"] == 0, "a lane is not free before Asterisk is done with its action"
    hang_up_beside_amid(pbx)
    eventually(lambda: counter(daemon) == late + limit, "the late answers are counted")
    eventually(lambda: lanes(daemon)["free"] == limit, "the lanes are free again")
    for answer in at_once(daemon, [Action("Ping")] * 20):
        assert answer.result["response"]["Ping"] == "Pong"
