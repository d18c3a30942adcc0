"""The method `events`: immediate and empty replies, and replaced processes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
import zmq

from amid import wire
from amid.reader.publisher import Publisher, own_event
from amid.reader.pulls import Pulls
from amid.rpc.messages import PullEvents
from amid.simulator import SimulatedPbx
from tests.conftest import StartDaemon
from tests.daemon import Daemon, eventually
from tests.processes.caller import Caller
from tests.processes.conftest import Lend
from tests.processes.on_loop import Loop
from tests.processes.pbx import table

PROMISE_S = 0.05
NOISE_S = 0.5
"""What a busy machine may add."""


@pytest.fixture
def daemon(lend: Lend) -> Daemon:
    return lend()


@pytest.fixture
def cursor(daemon: Daemon) -> dict[str, int]:
    return now(daemon)


@pytest.fixture
def other(daemon: Daemon) -> Iterator[Caller]:
    with Caller(daemon) as other:
        yield other


def now(daemon: Daemon) -> dict[str, int]:
    """The cursor behind the last event."""
    page = daemon.result("events", {"timeout": 0})
    assert page["events"] == [] and page["missed"] == 0
    return {"epoch": page["epoch"], "seq": page["seq"]}


def mark(daemon: Daemon, name: str) -> None:
    daemon.action("UserEvent", {"UserEvent": name})


def names(page: dict[str, Any]) -> list[str]:
    return [event["fields"].get("UserEvent", event["event"]) for event in page["events"]]


def test_available_events_are_returned_at_once(daemon: Daemon, cursor: dict[str, int]) -> None:
    for name in ("one", "two", "three"):
        mark(daemon, name)
    eventually(lambda: daemon.server("pbx1")["seq"] >= cursor["seq"] + 3, "all were read")
    page = daemon.result("events", {"after": cursor, "limit": 2, "timeout": 25})
    assert names(page) == ["one", "two"] and page["more"] is True
    page = daemon.result("events", {"after": {"epoch": page["epoch"], "seq": page["seq"]}, "timeout": 25})
    assert names(page) == ["three"] and (page["missed"], page["more"], page["seq"]) == (0, False, cursor["seq"] + 3)


def test_an_event_ends_the_wait(daemon: Daemon, caller: Caller, cursor: dict[str, int]) -> None:
    asked = caller.send("events", {"after": cursor, "timeout": 25})
    mark(daemon, "now")
    page = caller.reply(asked, 5)["result"]
    assert names(page) == ["now"] and page["missed"] == 0


def test_an_event_of_another_name_does_not_end_the_wait(daemon: Daemon, caller: Caller, cursor: dict[str, int]) -> None:
    asked = caller.send("events", {"after": cursor, "names": ["amid:nothing", "HANGUP"], "timeout": 25})
    mark(daemon, "not this")
    daemon.action("Originate", {"Channel": "Local/answer@calls", "Application": "Hangup", "Async": True})
    page = caller.reply(asked, 10)["result"]
    assert {event["event"] for event in page["events"]} == {"Hangup"} and page["missed"] == 0


@pytest.mark.parametrize("timeout", [0, 0.3])
def test_without_an_event_the_page_is_empty_after_the_timeout(caller: Caller, cursor: dict[str, int], timeout: float) -> None:
    began = time.monotonic()
    page = caller.result(caller.send("events", {"after": cursor, "names": ["Nothing"], "timeout": timeout}))
    took = time.monotonic() - began
    assert page["events"] == [] and (page["epoch"], page["missed"], page["more"]) == (cursor["epoch"], 0, False)
    assert timeout <= took < timeout + PROMISE_S + NOISE_S


def test_the_cursor_moves_past_events_of_other_names(daemon: Daemon, cursor: dict[str, int]) -> None:
    mark(daemon, "not this")
    page = daemon.result("events", {"after": cursor, "names": ["Nothing"], "timeout": 0})
    assert page["events"] == [] and page["seq"] == cursor["seq"] + 1


def test_a_waiting_pull_uses_no_lane(daemon: Daemon, caller: Caller, cursor: dict[str, int]) -> None:
    asked = [caller.send("events", {"after": cursor, "names": ["Nothing"], "timeout": 25}) for _ in range(100)]
    assert daemon.action("Ping")["response"]["Ping"] == "Pong"
    lanes = daemon.server("pbx1")["lanes"]
    assert lanes["busy"] == 0 and asked


def test_a_waiting_pull_survives_a_replaced_reader(daemon: Daemon, caller: Caller, cursor: dict[str, int]) -> None:
    asked = caller.send("events", {"after": cursor, "timeout": 25})
    daemon.kill("reader pbx1")
    page = caller.reply(asked, 20)["result"]
    assert page["missed"] is None and names(page)[0] == "amid:connected"
    assert page["epoch"] != cursor["epoch"] and page["events"][0]["seq"] == 1


def test_a_waiting_pull_is_answered_when_the_reader_hangs(daemon: Daemon, caller: Caller, cursor: dict[str, int]) -> None:
    """The broker answers instead, in time, and no event is lost."""
    daemon.signal("reader pbx1", signal.SIGSTOP)
    began = time.monotonic()
    page = caller.result(caller.send("events", {"after": cursor, "timeout": 0.5}))
    assert time.monotonic() - began < 0.5 + PROMISE_S + NOISE_S
    assert (page["events"], page["epoch"], page["seq"], page["missed"]) == ([], cursor["epoch"], cursor["seq"], 0)
    daemon.signal("reader pbx1", signal.SIGCONT)


def test_a_cursor_remains_valid_after_a_replaced_broker(daemon: Daemon, cursor: dict[str, int]) -> None:
    """The reader holds the events."""
    mark(daemon, "before")
    daemon.kill("broker")
    eventually(lambda: daemon.wait_up("pbx1"), "the new broker has its reader")
    mark(daemon, "after")
    page = daemon.result("events", {"after": cursor, "timeout": 5})
    assert names(page) == ["before", "after"] and page["missed"] == 0


def test_a_waiting_pull_ends_with_the_daemon(daemon: Daemon, caller: Caller, cursor: dict[str, int]) -> None:
    asked = caller.send("events", {"after": cursor, "names": ["Nothing"], "timeout": 25})
    eventually(lambda: daemon.result("status")["counters"]["open_calls"] >= 1, "it waits")
    began = time.monotonic()
    daemon.stop()
    assert time.monotonic() - began < 5
    page = caller.reply(asked, 5)["result"]
    assert page["events"] == [] and page["seq"] == cursor["seq"]


def test_a_pull_ends_with_its_connection(daemon: Daemon, cursor: dict[str, int]) -> None:
    def open_calls() -> int:
        return int(daemon.result("status")["counters"]["open_calls"])

    with Caller(daemon) as leaving:
        for _ in range(50):
            leaving.send("events", {"after": cursor, "names": ["Nothing"], "timeout": 60})
        eventually(lambda: open_calls() == 50, "all wait")
    eventually(lambda: open_calls() == 0, "none is left")


def test_a_pull_can_be_cancelled(caller: Caller, cursor: dict[str, int]) -> None:
    asked = caller.send("events", {"after": cursor, "names": ["Nothing"], "timeout": 60})
    assert caller.result(caller.send("cancel", {"id": asked})) == {"cancelled": 1, "sent": False}
    assert caller.reply(asked)["error"]["data"]["kind"] == "cancelled"


def test_pulls_are_limited_for_each_caller(daemon_for: StartDaemon, pbx: SimulatedPbx) -> None:
    daemon = daemon_for({"pbx1": table(pbx)}, rpc={"max_calls_per_caller": 20})
    after = now(daemon)
    with Caller(daemon) as caller:
        asked = [caller.send("events", {"after": after, "names": ["Nothing"], "timeout": 60}) for _ in range(21)]
        refused = caller.reply(asked[-1])["error"]
    assert refused["data"]["kind"] == "busy" and "max_calls_per_caller" in refused["message"]


def test_a_cursor_that_is_ahead_is_an_error(daemon: Daemon, cursor: dict[str, int]) -> None:
    error = daemon.request("events", {"after": {**cursor, "seq": cursor["seq"] + 1}})["error"]
    assert error["data"]["kind"] == "invalid_params" and "none after" in error["message"]


def test_one_event_answers_many_pulls(daemon: Daemon, cursor: dict[str, int]) -> None:
    with Caller(daemon) as caller:
        asked = [caller.send("events", {"after": cursor, "timeout": 25}) for _ in range(500)]
        mark(daemon, "for all")
        assert all(names(caller.reply(one, 10)["result"]) == ["for all"] for one in asked)


def pulls_of(loop: Loop, publisher: Publisher) -> tuple[Pulls, list[dict[str, Any]]]:
    """The pulls of this publisher, and their answers. One that is passed on is `passed_on` from its cursor."""
    answers: list[dict[str, Any]] = []

    def pass_on(call_id: int, cursor: tuple[int, int]) -> None:
        answers.append({"passed_on": tuple(cursor)})

    def answer(call_id: int, result: bytes | None, error: object) -> None:
        answers.append(wire.unpack(result or b""))

    async def start() -> Pulls:
        return Pulls(publisher, answer, pass_on, lambda: False)

    return loop.run(start()), answers


def test_expired_events_of_a_new_epoch_are_counted_separately(loop: Loop, publisher: Publisher) -> None:
    """A page has one count: it reported the end of an epoch but not the missing first events of the
    next."""
    pulls, answers = pulls_of(loop, publisher)
    publisher.publish(own_event("UserEvent"), 0.0)
    publisher.numbers.new_epoch(2)
    publisher.buffer._max_bytes = 2000
    for _ in range(50):
        publisher.publish(own_event("UserEvent"), 0.0)
    cursor, pages = (1, 0), []
    for _ in range(2):
        pulls.add(PullEvents(1, 2**40, 2**40, *cursor, [], 1000))
        loop.eventually(lambda: answers, "it is answered")
        pages.append(page := answers.pop())
        cursor = page["epoch"], page["seq"]
    ended, begun = pages
    assert (ended["epoch"], ended["seq"], ended["missed"], ended["events"], ended["more"]) == (2, 0, None, [], True)
    assert begun["missed"] == begun["events"][0]["seq"] - 1 > 0 and begun["seq"] == 50


def test_a_request_for_events_that_are_no_longer_held_is_passed_on(loop: Loop, publisher: Publisher) -> None:
    pulls, answers = pulls_of(loop, publisher)
    publisher.publish(own_event("First"), 0.0)
    publisher.numbers.new_epoch(2)
    publisher.buffer._max_bytes = 2000
    publisher.publish(own_event("First"), 0.0)
    requests = [((1, 1), []), ((1, 0), []), ((2, 0), []), ((2, 1), ["Nothing"]), ((9, 7), [])]

    def ask() -> list[Any]:
        found = []
        for cursor, names in requests:
            pulls.add(PullEvents(1, 2**40, 0, *cursor, names, 1000, recorded=True))
            loop.eventually(lambda: answers, "it is answered")
            answer = answers.pop()
            found.append(answer.get("passed_on") or len(answer["events"]))
        return found

    assert ask() == [0, 1, 1, 0, (9, 7)], "everything is held, except the epoch of an earlier process"
    for _ in range(50):
        publisher.publish(own_event("UserEvent"), 0.0)
    assert ask() == [(1, 1), (1, 0), (2, 0), 0, (9, 7)], "none with the requested name is missing"
    assert not pulls._open


@pytest.mark.parametrize("names", [[], ["Nothing"]], ids=["all", "names"])
def test_a_pull_at_its_timeout_returns_available_events(loop: Loop, publisher: Publisher, names: list[str]) -> None:
    """The broker answered in the reader's place, empty and with the same cursor. A program that asked with timeout 0 got no further
    when a page took longer than that, and the gateway told its streams of a gap that there was not."""
    pulls, answers = pulls_of(loop, publisher)
    for _ in range(20_000):
        publisher.publish(own_event("UserEvent", Padding="x"), 0.0)
    seq, now = 0, time.monotonic()
    while seq < 20_000:
        pulls.add(PullEvents(1, 2**40, now - 1, 1, seq, names, 10_000))
        loop.eventually(lambda: answers, "it is answered")
        page = answers.pop()
        assert seq < page["seq"] <= seq + 5000 and page["more"] is (page["seq"] < 20_000)
        assert [event["seq"] for event in page["events"]] == ([] if names else list(range(seq + 1, page["seq"] + 1)))
        seq = page["seq"]


def test_large_pages_do_not_delay_the_pull_of_a_program_that_was_not_away(loop: Loop, publisher: Publisher) -> None:
    """One caller with 2,400 of them delayed the events of all others by 24 s."""
    pulls, answers = pulls_of(loop, publisher)
    for _ in range(20_000):
        publisher.publish(own_event("UserEvent"), 0.0)
    for call_id, seq in enumerate((0, 0, 0, 0, 19_999)):
        pulls.add(PullEvents(call_id, 2**40, 2**40, 1, seq, [], 10_000))
    loop.eventually(lambda: not pulls._open, "all are answered")
    assert len(answers) == 5 and answers[0]["events"][-1]["seq"] == 20_000


def test_an_overdue_pull_is_dropped(loop: Loop, publisher: Publisher) -> None:
    """The broker has answered it. Pages that were encoded for nobody delayed all others by seconds."""
    pulls, answers = pulls_of(loop, publisher)
    publisher.publish(own_event("UserEvent"), 0.0)
    pulls.add(PullEvents(1, time.monotonic(), 0, 1, 0, [], 1000))
    pulls.add(PullEvents(2, 2**40, 0, 1, 1, [], 1000))
    loop.eventually(lambda: not pulls._open, "both are done")
    assert [page["events"] for page in answers] == [[]]


def test_pulls_of_a_broker_that_has_ended_are_dropped(own_daemon: Daemon) -> None:
    """The pulls of its successor waited behind them for seconds."""
    cursor = now(own_daemon)
    with Caller(own_daemon) as caller:
        caller.result(caller.action("SimFault", {"Kind": "burst", "Count": 20_000}, timeout=30))
        eventually(lambda: now(own_daemon)["seq"] >= cursor["seq"] + 20_000, "the events came")
        reader = own_daemon.signal("reader pbx1", signal.SIGSTOP)
        for _ in range(800):
            caller.send("events", {"after": cursor, "limit": 10_000, "timeout": 60})
        eventually(lambda: own_daemon.result("status")["counters"]["open_calls"] == 800, "the broker has them")
        own_daemon.kill("broker")
    os.kill(reader, signal.SIGCONT)
    eventually(lambda: own_daemon.wait_up("pbx1"), "the new broker has its reader")
    own_daemon.result("events", {"after": cursor, "limit": 1, "timeout": 60})
    assert own_daemon.result("status")["counters"]["late_answers"] < 100


def test_a_large_page_does_not_delay_calls(daemon: Daemon, caller: Caller, other: Caller, cursor: dict[str, int]) -> None:
    caller.result(caller.action("SimFault", {"Kind": "burst", "Count": 20_000}, timeout=30))
    for _ in range(20):
        caller.send("events", {"after": cursor, "limit": 10_000, "timeout": 5})
    began = time.monotonic()
    other.result(other.action("Ping"))
    assert time.monotonic() - began < 1.0


def test_many_large_pages_do_not_collect_in_the_reader(own_daemon: Daemon, pbx: SimulatedPbx) -> None:
    """They waited for the broker without a limit: the reader had 0.9 GB."""
    cursor = now(own_daemon)
    with Caller(own_daemon) as caller, own_daemon.socket(zmq.DEALER) as reading:
        caller.result(caller.action("SimFault", {"Kind": "burst", "Count": 20_000}, timeout=30))
        eventually(lambda: now(own_daemon)["seq"] >= cursor["seq"] + 20_000, "the events came")
        reading.connect(own_daemon.rpc)
        for _ in range(800):
            request = {"id": 1, "method": "events", "params": {"after": cursor, "limit": 10_000, "timeout": 120}}
            reading.send_multipart([b"", wire.pack(request)])
        for _ in range(800):
            assert reading.poll(120_000), "every request is answered"
            reading.recv_multipart()
    assert own_daemon.peak_bytes("reader pbx1") < 250e6


def test_raw_returns_the_packets_of_an_answer(daemon: Daemon) -> None:
    result = daemon.action("QueueStatus", raw=True)
    first, *_, last = result["packets"]
    assert first.startswith("Response: Success\r\n") and last.startswith("Event: QueueStatusComplete\r\n")
    assert all(packet.endswith("\r\n\r\n") and packet.count("\r\n\r\n") == 1 for packet in result["packets"])
    assert set(result) == {"server", "action_id", "packets", "elapsed"}


def test_raw_returns_the_packets_of_an_error(daemon: Daemon) -> None:
    data = daemon.failure("Hangup", {"Channel": "nobody"}, raw=True)["data"]
    (packet,) = data["packets"]
    assert packet.startswith("Response: Error\r\n") and "response" not in data


def test_events_in_quick_succession_resume_every_request(loop: Loop, publisher: Publisher) -> None:
    """The first event resumes a request for all events, which has not answered when the second one
    resumes a request for its name."""
    pulls, answers = pulls_of(loop, publisher)
    publisher.publish(own_event("UserEvent"), 0.0)
    for call_id, wanted in enumerate(([], ["Second"]), 1):
        pulls.add(PullEvents(call_id, 2**40, 2**40, publisher.numbers.epoch, 1, wanted, 1000))
    loop.eventually(lambda: len(pulls._waiting) == 2, "both wait")
    for name in ("First", "Second"):
        publisher.publish(own_event(name), 0.0)
    loop.eventually(lambda: len(answers) == 2, "both are answered")
    assert [[event["event"] for event in page["events"]] for page in answers] == [["First", "Second"], ["Second"]]
    assert not pulls._waiting_for and not pulls._open


def test_a_request_that_is_sent_again_is_answered_once(loop: Loop, publisher: Publisher) -> None:
    """The broker sends its open requests again when the link to the reader was lost."""
    pulls, answers = pulls_of(loop, publisher)
    publisher.publish(own_event("First"), 0.0)
    for call_id in (1, 1, 2):
        pulls.add(PullEvents(call_id, 2**40, 2**40, publisher.numbers.epoch, 0, [], 1000))
    loop.eventually(lambda: not pulls._open, "both are answered")
    assert len(answers) == 2


def test_a_forgotten_request_is_not_answered(loop: Loop, publisher: Publisher) -> None:
    """Neither one that waits nor one that an event has just resumed."""
    pulls, answers = pulls_of(loop, publisher)
    publisher.publish(own_event("UserEvent"), 0.0)
    for call_id in (1, 2, 3):
        pulls.add(PullEvents(call_id, 2**40, 2**40, publisher.numbers.epoch, 1, ["First"], 1000))
    loop.eventually(lambda: len(pulls._waiting) == 3, "all wait")
    pulls.forget(1)
    publisher.publish(own_event("First"), 0.0)
    pulls.forget(2)
    loop.eventually(lambda: not pulls._open, "the third one is answered")
    assert len(answers) == 1
    loop.eventually(lambda: not pulls._waiting_for, "nothing is left")
