"""The trace: complete packets however they arrive, their ActionIDs, and hidden secrets."""

from __future__ import annotations

import time

import pytest

from amid.ami.action import encode_action
from amid.ami.session import Login, Session, SessionTimeouts
from amid.ami.trace import Tap, Trace, TraceRecord, hidden

GREETING = b"Asterisk Call Manager/11.0.0\r\n"
SECRET = "s3cr3t-word"


class Looker:
    """A session and its trace."""

    def __init__(self, auth: str = "md5", max_packet: int = 4000) -> None:
        self.seen: list[TraceRecord] = []
        self.trace = Trace(SECRET, self.seen.append)
        self.trace.watched = True
        tap = Tap(self.trace, "lane-1")
        self.session = Session(Login("amid", SECRET, auth), SessionTimeouts(10, 10, 5), max_packet, tap)

    def receive(self, data: bytes, piece: int = 65536) -> None:
        for start in range(0, len(data), piece):
            self.session.receive(data[start : start + piece], 0.0)
            self.session.data_to_send()

    def step_id(self) -> str:
        return self.seen[-1].action_id

    def log_in(self) -> None:
        self.receive(GREETING)
        self.receive(b"Response: Success\r\nActionID: %s\r\nChallenge: 123456\r\n\r\n" % self.step_id().encode())
        self.receive(b"Response: Success\r\nActionID: %s\r\nMessage: Authentication accepted\r\n\r\n" % self.step_id().encode())
        self.seen.clear()


def test_a_traced_login_hides_its_key() -> None:
    looker = Looker()
    looker.receive(GREETING)
    looker.receive(b"Response: Success\r\nActionID: %s\r\nChallenge: 123456\r\n\r\n" % looker.step_id().encode())
    greeting, challenge, answer, login = looker.seen
    assert greeting.data == GREETING and greeting.direction == "received"
    assert challenge.data.startswith(b"Action: Challenge\r\n") and challenge.direction == "sent"
    assert b"Challenge: ***\r\n\r\n" in answer.data and answer.action_id == challenge.action_id
    assert login.data.startswith(b"Action: Login\r\n") and b"Key: ***\r\nEvents: on\r\n\r\n" in login.data


def test_a_plain_login_hides_the_secret() -> None:
    looker = Looker("plain")
    looker.receive(GREETING)
    assert b"Secret: ***\r\n" in looker.seen[-1].data and SECRET.encode() not in looker.seen[-1].data


@pytest.mark.parametrize("piece", [1, 2, 7, 1000])
def test_traced_packets_are_complete_however_they_arrive(piece: int) -> None:
    looker = Looker()
    looker.log_in()
    packets = [
        b"Event: Hangup\r\nChannel: Local/1\xe9\r\n\r\n",
        b"Event: Newchannel\r\nActionID: x\r\n\r\n",
        b"Response: Follows\r\nPrivilege: Command\r\nActionID: old\r\nline\n\nline\n--END COMMAND--\r\n\r\n",
        b"Response: Success\r\nActionID: y\r\n\r\n",
    ]
    looker.receive(b"".join(packets), piece)
    assert [sight.data for sight in looker.seen] == packets
    assert [sight.action_id for sight in looker.seen] == ["", "x", "old", "y"]


def test_a_response_without_action_id_belongs_to_the_last_action() -> None:
    looker = Looker()
    looker.log_in()
    looker.trace.set_own_id("amid-1", "mine")
    looker.session.send(encode_action("Ping", "amid-1", {}))
    looker.session.data_to_send()
    looker.receive(b"Event: Hangup\r\nCause: 16\r\n\r\nResponse: Error\r\nMessage: line too long\r\n\r\n")
    sent, event, error = looker.seen
    assert (sent.direction, sent.own_id) == ("sent", "mine")
    assert event.action_id == "", "an event is not an answer"
    assert (error.action_id, error.own_id) == ("amid-1", "mine")


def test_a_too_large_packet_is_marked_as_truncated() -> None:
    looker = Looker(max_packet=100)
    looker.log_in()
    looker.receive(b"Response: Success\r\nActionID: y\r\nText: " + b"x" * 1000 + b"\r\n\r\n")
    assert looker.seen[-1].data.endswith(b"x [...]\r\n\r\n") and looker.seen[-1].action_id == "y"


def test_nothing_is_traced_without_a_subscriber() -> None:
    looker = Looker()
    looker.trace.watched = False
    looker.receive(GREETING + b"Event: Hangup\r\n\r\n")
    assert looker.seen == []


@pytest.mark.parametrize(
    "shown",
    [
        b"Secret: WORD",
        b"secret:WORD",
        b"MD5Secret: WORD",
        b"RemotePassword: WORD with spaces",
        b"Line-000001-000002: secret=WORD",
        b"Output: passwd = WORD",
        b"ReceivedChallenge: WORD",
    ],
)
def test_text_after_the_name_of_a_secret_is_hidden(shown: bytes) -> None:
    data = hidden(b"Response: Success\r\n" + shown + b"\r\nOther: stays\r\n\r\n")
    assert b"WORD" not in data and b"***\r\nOther: stays\r\n\r\n" in data


NAMED_ELSEWHERE = {
    "UpdateConfig": b"Action: UpdateConfig\r\nVar-000000: secret\r\nValue-000000: WORD\r\nMatch-000000: WORD\r\n\r\n",
    "GetConfigJSON": b'Response: Success\r\nJSON: {"amid":{"read":"all","secret":"WORD"}}\r\n\r\n',
    "DBPut": b"Action: DBPut\r\nFamily: f\r\nKey: password\r\nVal: WORD\r\n\r\n",
    "Getvar": b"Response: Success\r\nVariable: DB_PASSWD\r\nValue: WORD\r\n\r\n",
    "a table of the CLI": b"Output:  password             : WORD\r\n\r\n",
}


@pytest.mark.parametrize("packet", NAMED_ELSEWHERE.values(), ids=NAMED_ELSEWHERE)
def test_a_secret_whose_name_is_in_another_header_or_in_json_is_hidden(packet: bytes) -> None:
    assert b"WORD" not in hidden(packet) and b"***" in hidden(packet)


@pytest.mark.parametrize("text", [b"secret" * 20_000, b"secret " * 20_000, b"a=" * 60_000, b"secret-" * 20_000 + b"\t" * 20_000])
def test_hiding_secrets_takes_linear_time(text: bytes) -> None:
    """A quadratic search takes minutes for these; a linear one, 0.1 s."""
    began = time.process_time()
    hidden(b"Event: UserEvent\r\nX: " + text + b"\r\n\r\n")
    assert time.process_time() - began < 5


def test_a_key_is_hidden_in_a_login_only() -> None:
    assert b"Key: cidname" in hidden(b"Action: DBGet\r\nKey: cidname\r\n\r\n")
    assert b"cidname" not in hidden(b"action:login\r\nkey: cidname\r\n\r\n")


def test_the_servers_own_secret_is_hidden_anywhere() -> None:
    assert hidden(b"Message: no s3cr3t-word\r\n", SECRET.encode()) == b"Message: no ***\r\n"
