"""Quick actions on real Asterisks: their duration in a storm of calls, and several of them on one
lane.

Each round of the storm runs every action, and a Ping, which shows the machine's own delay. `pytest
-s` prints the table behind `catalogue.QUICK`.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from statistics import median

import pytest

from amid.ami.catalogue import QUICK, is_quick
from amid.ami.exchange import Answer
from amid.ami.lane import MAX_PIPELINED, Lane, Outcome
from amid.ami.packet import ProtocolError
from amid.ami.session import Login, Session, SessionTimeouts, new_action_id
from tests.ami.lane_call import lane_call
from tests.asterisk.raw import Raw, call, eventually, request
from tests.asterisk.server import Asterisk

ROUNDS = 330
CALLS = 12
"""Calls that go on the whole time, so that the lists have something to show: two channels each."""
BOUND_MS = 5.0
Fields = dict[str, str | int]

EXAMPLES: dict[str, list[Fields]] = {
    "dbdel": [{"Family": "quick", "Key": "one"}],
    "dbget": [{"Family": "quick", "Key": "two"}],
    "dbput": [{"Family": "quick", "Key": "one", "Val": "1"}],
    "extensionstate": [{"Context": "hints", "Exten": "lamp"}],
    "getvar": [{"Variable": "QUICK"}, {"Variable": "QUICK", "Channel": "<channel>"}],
    "hangup": [{"Channel": "Local/none@calls-00000000;1"}],
    "originate": [{"Channel": "Local/short@calls", "Context": "calls", "Exten": "short", "Priority": 1, "Async": "true"}],
    "presencestate": [{"Provider": "CustomPresence:lamp"}],
    "queueadd": [{"Queue": "support", "Interface": "Local/member3@calls"}],
    "queuepause": [{"Interface": "Local/member3@calls", "Paused": "true"}],
    "queuepenalty": [{"Interface": "Local/member3@calls", "Penalty": 2}],
    "queueremove": [{"Queue": "support", "Interface": "Local/member3@calls"}],
    "queuestatus": [{"Queue": "support"}],
    "queuesummary": [{"Queue": "support"}],
    "setvar": [{"Variable": "QUICK", "Value": "1"}, {"Variable": "QUICK", "Value": "1", "Channel": "<channel>"}],
    "status": [{"Channel": "<channel>"}, {"Channel": "<channel>", "Variables": "QUICK,EPOCH"}],
    "userevent": [{"UserEvent": "Quick", "Number": 1}],
}  # fmt: skip
"""The fields of actions that need some."""


class Stopwatch:
    """A session with events off that measures actions without parsing their answers."""

    def __init__(self, server: Asterisk) -> None:
        self._socket = socket.create_connection((server.host, server.port), 10.0)
        self.took_ms(request("Login", "l", Username=server.username, Secret=server.secret, Events="off"))

    def took_ms(self, action: bytes) -> float:
        """Milliseconds from sending it to the answer of the Ping right behind it."""
        began = time.perf_counter()
        self._socket.sendall(action + request("Ping", "fence"))
        answer = b""
        while b"ActionID: fence\r\nPing: Pong" not in answer[-200:]:
            chunk = self._socket.recv(1 << 20)
            assert chunk, "Asterisk closed the session"
            answer += chunk
        return (time.perf_counter() - began) * 1000

    def close(self) -> None:
        self._socket.close()


class Storm:
    """Calls and UserEvents by the dozen, on a session with events on."""

    def __init__(self, server: Asterisk) -> None:
        self._socket = socket.create_connection((server.host, server.port), 10.0)
        self._socket.sendall(request("Login", "l", Username=server.username, Secret=server.secret, Events="on"))
        self._socket.settimeout(None)  # or MSG_DONTWAIT waits
        self.bytes = 0

    def blow(self) -> None:
        calls = request("Originate", "s", Channel="Local/storm@calls", Context="calls", Exten="storm", Priority=1, Async="true") * 2
        self._socket.sendall(calls + request("UserEvent", "s", UserEvent="Storm", Text="x" * 200) * 4)
        with suppress(BlockingIOError):
            while data := self._socket.recv(1 << 20, socket.MSG_DONTWAIT):
                self.bytes += len(data)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def channel(asterisk: Asterisk) -> Iterator[str]:
    """A channel of one of the calls that go on."""
    with Raw(asterisk) as raw:
        raw.ask("DBPut", Family="quick", Key="two", Val="2")
        names = [call(raw, "answer") for _ in range(CALLS)]
        yield names[0]
        raw.ask("Hangup", Channel="/^Local/")
        raw.ask("QueueRemove", Queue="support", Interface="Local/member3@calls")
        raw.ask("DBDelTree", Family="quick")
        eventually(lambda: len(raw.ask("CoreShowChannels")) == 2)


def packets(action: str, channel: str) -> Iterator[tuple[str, bytes]]:
    """(what it is, the bytes) of each form of `action` that is measured."""
    for fields in EXAMPLES.get(action, [{}]):
        whole = {name: channel if value == "<channel>" else value for name, value in fields.items()}
        assert is_quick(action, whole), f"the example of {action} is not quick"
        yield f"{action} {' '.join(fields)}", request(action, "quick", **whole)


def measured(asterisk: Asterisk, channel: str) -> dict[str, list[float]]:
    """Milliseconds of each run of each action, in a storm."""
    actions = [pair for action in sorted(QUICK) for pair in packets(action, channel)]
    took: dict[str, list[float]] = {what: [] for what, _ in actions}
    with closing(Stopwatch(asterisk)) as stopwatch, closing(Storm(asterisk)) as storm:
        for turn in range(ROUNDS):
            storm.blow()
            first = turn * 7 % len(actions)  # another action each time right behind the calls
            for what, packet in actions[first:] + actions[:first]:
                took[what].append(stopwatch.took_ms(packet))
    assert storm.bytes > ROUNDS * 1000, "that was no storm"
    return took


def p99(runs: list[float]) -> float:
    return sorted(runs)[int(len(runs) * 0.99)]


def typical_p99(runs: list[float]) -> float:
    """The median of three parts' p99, so that one hiccup of the machine does not decide."""
    third = len(runs) // 3
    return median(p99(runs[start : start + third]) for start in (0, third, 2 * third))


def test_quick_actions_are_quick_in_a_storm(asterisk: Asterisk, channel: str) -> None:
    took = measured(asterisk, channel)
    print(f"\nAsterisk {asterisk.version}: ms in {ROUNDS} runs{'p50':>30}{'p99':>8}{'max':>8}")
    for what, runs in took.items():
        print(f"{what:50}{median(runs):8.2f}{p99(runs):8.2f}{max(runs):8.2f}")
    bound = max(BOUND_MS, 3 * typical_p99(took["ping "]))
    slow = {what: typical_p99(runs) for what, runs in took.items() if typical_p99(runs) > bound}
    assert not slow


class Connection:
    """A lane on a socket."""

    def __init__(self, server: Asterisk) -> None:
        self._socket = socket.create_connection((server.host, server.port), 10.0)
        self.lane = Lane(Session(Login(server.username, server.secret, events="off"), SessionTimeouts(), 1 << 20))
        while not self.lane.idle:
            self.exchange()
        self._idle_since = time.monotonic()

    def start(self, number: int, action: str, packet: bytes = b"", **fields: str) -> None:
        """Start a call; all of them at one time, so that a pause of the machine does not separate them."""
        action_id, now = new_action_id(), self._idle_since
        what = lane_call(
            number, action, action_id, now + 10.0, 1 << 20, quick=is_quick(action, fields), fields=fields, packet=packet
        )
        self.lane.start(what, now)

    def exchange(self) -> list[Outcome]:
        """Send what the lane has to say, and take what comes."""
        self._socket.sendall(self.lane.session.data_to_send())
        return self.lane.feed(self._socket.recv(65536), time.monotonic())

    def outcomes(self) -> dict[int, Answer]:
        """The outcome of each call that is under way, once the lane is idle."""
        answers = {}
        while not self.lane.idle:
            answers.update({call.call_id: outcome for call, outcome in self.exchange() if isinstance(outcome, Answer)})
        return answers

    def close(self) -> None:
        self._socket.close()


def test_a_lane_full_of_quick_actions(asterisk: Asterisk, session: Raw) -> None:
    """Each action has its own answer; a list among them is complete."""
    for number in range(MAX_PIPELINED):
        session.answer("Setvar", Variable=f"DEPTH{number}", Value=f"is {number}")
    with closing(Connection(asterisk)) as connection:
        for number in range(MAX_PIPELINED - 1):
            connection.start(number, "Getvar", Variable=f"DEPTH{number}")
        connection.start(MAX_PIPELINED, "QueueStatus", Queue="support")
        answers = connection.outcomes()
    queue = answers.pop(MAX_PIPELINED)
    assert [event.event for event in queue.events] == ["QueueParams", "QueueMember", "QueueMember"] and queue.complete
    values = [answer.response.get("Value") for answer in answers.values() if answer.response]
    assert values == [f"is {number}" for number in range(MAX_PIPELINED - 1)]


def test_a_refusal_without_action_id_on_a_full_lane(asterisk: Asterisk, session: Raw) -> None:
    session.answer("Setvar", Variable="DEPTH", Value="is set")
    with closing(Connection(asterisk)) as connection:
        for number in range(MAX_PIPELINED):
            refused = b"X: " + b"x" * 2000 + b"\r\n\r\n" if number == 5 else b""
            connection.start(number, "Getvar", refused, Variable="DEPTH")
        answers = connection.outcomes()
    assert [number for number, answer in answers.items() if answer.failed] == [5] and len(answers) == MAX_PIPELINED
    refusal = answers[5].response
    assert refusal is not None and "line too long" in refusal.get("Message") and not refusal.action_id
    assert connection.lane.unknown == 0


def test_two_refusals_without_action_id_end_the_session(asterisk: Asterisk) -> None:
    with closing(Connection(asterisk)) as connection:
        for number in range(3):
            connection.start(number, "Ping", b"" if number == 1 else b"X: " + b"x" * 2000 + b"\r\n\r\n")
        with pytest.raises(ProtocolError, match="belongs to one of 2 actions"):
            connection.outcomes()
        assert sorted(call.call_id for call, outcome in connection.lane.lost() if outcome is None) == [0, 2]
