"""Invalid input on the rpc socket gets an error, and ten other callers are not affected."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amid.broker.local_callers import MAX_MESSAGE_BYTES
from amid.errors import CODES
from tests.daemon import BOUND_S, Daemon, eventually
from tests.processes.caller import Caller
from tests.processes.pbx import simulated, table

CALLERS = 10


class Bystander(threading.Thread):
    """Calls Ping all the time and checks every answer."""

    def __init__(self, daemon: Daemon, number: int, stop: threading.Event) -> None:
        super().__init__()
        self._daemon, self._number, self._end = daemon, number, stop
        self.pings = 0
        self.wrong: list[Any] = []

    def run(self) -> None:
        with Caller(self._daemon) as caller:
            while not self._end.wait(0.02):
                own = f"{self._number}-{self.pings}"
                fields = {"ActionID": own}
                reply = caller.reply(caller.action("Ping", fields))
                response = reply.get("result", {}).get("response", {})
                if (response.get("Ping"), response.get("ActionID")) != ("Pong", own):
                    self.wrong.append(reply)
                self.pings += 1


@pytest.fixture(scope="module")
def roomy_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with simulated() as pbx:
        daemon = Daemon(tmp_path_factory.mktemp("amid"), {"pbx1": table(pbx)}, log_level="warning")
        try:
            yield daemon.start()
        finally:
            daemon.close()


@pytest.fixture(scope="module")
def bystanders(roomy_daemon: Daemon) -> Iterator[list[Bystander]]:
    """At the end, all Pings of the bystanders must have been answered correctly by the original
    broker."""
    broker, stop = roomy_daemon.pid("broker"), threading.Event()
    threads = [Bystander(roomy_daemon, number, stop) for number in range(CALLERS)]
    for thread in threads:
        thread.start()
    yield threads
    stop.set()
    for thread in threads:
        thread.join(BOUND_S)
    assert [thread.wrong for thread in threads] == [[]] * CALLERS
    assert all(thread.pings > 10 for thread in threads)
    assert roomy_daemon.pid("broker") == broker


@pytest.fixture
def stranger(roomy_daemon: Daemon, bystanders: list[Bystander]) -> Iterator[Caller]:
    with Caller(roomy_daemon) as caller:
        yield caller


def request(**members: Any) -> bytes:
    return json.dumps(members).encode()


def packed(**members: Any) -> bytes:
    data: bytes = msgpack.packb(members)
    return data


def action(**params: Any) -> bytes:
    return request(id=7, method="action", params={"action": "Ping", **params})


def events(**params: Any) -> bytes:
    return request(id=7, method="events", params=params)


FRAMES: dict[str, tuple[list[bytes], str, str]] = {
    "no delimiter": ([request(id=1, method="ping")], "invalid_request", "no empty delimiter frame"),
    "no delimiter, two frames": ([b"x", b"y"], "invalid_request", "no empty delimiter frame"),
    "two payload frames": ([b"", b"{}", b"{}"], "invalid_request", "there were 2"),
    "no payload frame": ([b""], "invalid_request", "there were 0"),
    "only empty frames": ([b"", b"", b""], "invalid_request", "there were 2"),
    "an empty message": ([b"", b""], "parse_error", "not JSON"),
}


@pytest.mark.parametrize(("frames", "kind", "said"), FRAMES.values(), ids=FRAMES)
def test_a_request_with_unusual_frames_is_answered(stranger: Caller, frames: list[bytes], kind: str, said: str) -> None:
    stranger.raw(*frames)
    reply = stranger.next()
    assert reply["id"] is None
    assert (reply["error"]["data"]["kind"], reply["error"]["code"]) == (kind, CODES[kind])
    assert said in reply["error"]["message"]


def deep(levels: int) -> bytes:
    return b'{"id": 1, "method": "ping", "params": ' + b"[" * levels + b"]" * levels + b"}"


PAYLOADS: dict[str, tuple[bytes, str]] = {
    "words": (b"hello", "parse_error"),
    "half a map": (b'{"id": 1', "parse_error"),
    "an HTTP request": (b"GET / HTTP/1.1\r\n\r\n", "parse_error"),
    "an AMI packet": (b"Action: Ping\r\n\r\n", "parse_error"),
    "half a MessagePack map": (b"\x82\xa2id", "parse_error"),
    "MessagePack that never was": (b"\xc1", "parse_error"),
    "a MessagePack map of 2^32 entries": (b"\xdf\xff\xff\xff\xff", "parse_error"),
    "a MessagePack array as a key": (b"\x81\x91\x01\x01", "parse_error"),
    "nested 33 deep": (deep(33), "parse_error"),
    "nested 100,000 deep": (deep(100_000), "parse_error"),
    "MessagePack nested 100,000 deep": (b"\x91" * 100_000, "parse_error"),
    "not UTF-8": (b'{"id": "\xff"}', "parse_error"),
    "NaN": (b'{"id": 1, "method": "action", "params": {"timeout": NaN}}', "parse_error"),
    "a number of 5,000 digits": (b'{"id": ' + b"9" * 5000 + b"}", "parse_error"),
    "a batch": (b'[{"id": 1, "method": "ping"}]', "invalid_request"),
    "an empty batch": (b"[]", "invalid_request"),
    "a MessagePack nil": (b"\xc0", "invalid_request"),
    "an empty map": (b"{}", "invalid_request"),
    "an id that is a map": (request(id={}, method="ping"), "invalid_request"),
    "an id that is true": (request(id=True, method="ping"), "invalid_request"),
    "over max_request_bytes": (b" " * (1024 * 1024 + 1), "invalid_request"),
    "16 MB of zeros": (b"\x00" * 16_000_000, "invalid_request"),
    "16 MB of noise": (os.urandom(2_000_000) * 8, "invalid_request"),
    "an unknown method": (request(id=7, method="pong"), "unknown_method"),
    "a method in MessagePack that is not UTF-8": (b"\x81\xa6method\xa1\xff", "unknown_method"),
    "an action that is a number": (action(action=7), "invalid_params"),
    "an action with CR LF": (action(action="Ping\r\nAction: Logoff"), "invalid_params"),
    "an action that is empty": (action(action=""), "invalid_params"),
    "a header with LF": (action(fields={"A\nB": "x"}), "invalid_params"),
    "a value with CR LF": (action(fields={"A": "x\r\n\r\nAction: Logoff"}), "invalid_params"),
    "a value with NUL": (action(fields={"A": "x\0"}), "invalid_params"),
    "a value that is a map": (action(fields={"A": {"B": 1}}), "invalid_params"),
    "a value that is null": (action(fields={"A": None}), "invalid_params"),
    "a line of 1,023 bytes": (action(fields={"A": "x" * 1020}), "invalid_params"),
    "129 headers": (action(fields={"A": ["x"] * 127}), "invalid_params"),
    "a second Action": (action(fields={"action": "Logoff"}), "invalid_params"),
    "two ActionIDs": (action(fields={"ActionID": ["a", "b"]}), "invalid_params"),
    "a timeout of text": (action(timeout="5"), "invalid_params"),
    "a timeout of 10^300": (action(timeout=10**300), "invalid_params"),
    "a param that is not known": (action(colour="red"), "invalid_params"),
    "a param whose name is not UTF-8": (b'{"id": 7, "method": "ping", "params": {"\\udcff": 1}}', "invalid_params"),
    "fields that are a list": (action(fields=["A"]), "invalid_params"),
    "params that are a list": (request(id=7, method="action", params=["Ping"]), "invalid_params"),
    "a server that is not there": (action(server="pbx9"), "unknown_server"),
    "a server's name of 100,000 characters": (action(server="x" * 100_000), "unknown_server"),
    "events of an epoch over 2^63": (events(after={"epoch": 2**70, "seq": 0}), "invalid_params"),
    "events behind half a cursor": (events(after={"epoch": 1}), "invalid_params"),
    "events of a name with a line end": (events(names=["A\r\nB"]), "invalid_params"),
    "events for more than an hour": (events(timeout=3600.5), "invalid_params"),
    "events of a server that is not there": (events(server="pbx9"), "unknown_server"),
    "a method that there was": (request(id=7, method="replay", params={"epoch": 1, "after": 0}), "unknown_method"),
    "restart of an unknown server": (request(id=7, method="restart", params={"server": "x"}), "unknown_server"),
}


@pytest.mark.parametrize(("payload", "kind"), PAYLOADS.values(), ids=PAYLOADS)
def test_an_invalid_request_gets_an_error(stranger: Caller, payload: bytes, kind: str) -> None:
    stranger.raw(b"", payload)
    reply = stranger.next()
    assert reply["error"]["data"]["kind"] == kind, reply
    assert reply["error"]["code"] == CODES[kind]
    assert reply["error"]["data"]["sent"] is False
    assert reply["error"]["message"]
    assert stranger.result(stranger.send("ping")) == {}, "and no second answer came before this one"


@pytest.mark.parametrize("given_id", ["seven", "", 0, -1, 2**53 + 1, 2**70, 0.5, "\udcff", "é", None], ids=repr)
def test_an_id_is_returned_unchanged(stranger: Caller, given_id: Any) -> None:
    stranger.raw(b"", request(id=given_id, method="ping"))
    assert stranger.next() == {"jsonrpc": "2.0", "id": given_id, "result": {}}


def test_the_reply_has_the_codec_of_the_request(stranger: Caller) -> None:
    for body, first in ((request(id=1, method="ping"), b"{"), (packed(id=1, method="ping"), b"\x83")):
        stranger.raw(b"", body)
        assert stranger.socket.recv_multipart()[-1][:1] == first


def test_a_request_without_an_id_is_answered(stranger: Caller) -> None:
    stranger.raw(b"", request(method="ping"))
    assert stranger.next() == {"jsonrpc": "2.0", "id": None, "result": {}}


def test_a_message_over_16_mib_closes_only_its_senders_connection(stranger: Caller, roomy_daemon: Daemon) -> None:
    stranger.raw(b"", bytes(16 * 1024 * 1024 + 1))
    with Caller(roomy_daemon) as other:
        assert other.result(other.send("ping")) == {}


def test_requests_on_the_readers_socket_do_no_harm(stranger: Caller, roomy_daemon: Daemon) -> None:
    broker = roomy_daemon.pid("broker")
    with roomy_daemon.socket(zmq.DEALER) as lost:
        lost.connect(f"ipc://{roomy_daemon.run_dir}/readers")
        lost.send_multipart([b"", request(id=1, method="ping")])
        eventually(lambda: roomy_daemon.result("status")["counters"].get("unreadable_messages"), "it was told apart")
    assert roomy_daemon.pid("broker") == broker


calm = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(frames=st.lists(st.binary(max_size=60), min_size=1, max_size=4))
@calm
def test_any_frames_get_one_answer(stranger: Caller, frames: list[bytes]) -> None:
    stranger.raw(*frames)
    stranger.raw(b"", b'{"id": "end", "method": "ping"}')
    assert "error" in stranger.next()
    assert stranger.next()["id"] == "end"


scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=9) | st.binary(max_size=9)
values = scalars | st.lists(scalars, max_size=3) | st.dictionaries(st.text(max_size=3), scalars, max_size=2)


@given(
    fields=st.dictionaries(scalars | st.sampled_from(["ActionID", "action", "actionid"]), values, max_size=4),
    extra=st.dictionaries(st.sampled_from(["until", "timeout", "server", "jsonrpc"]), values, max_size=1),
)
@calm
def test_any_fields_are_accepted_or_refused(stranger: Caller, fields: dict[Any, Any], extra: dict[str, Any]) -> None:
    extra = {} if isinstance(extra.get("until"), str) else extra  # it may well wait for that
    body = {"id": 7, "method": "action", "params": {"action": "Ping", "fields": fields, **extra}}
    stranger.raw(b"", msgpack.packb(body, unicode_errors="surrogatepass"))
    reply = stranger.next()
    kinds = ("invalid_params", "parse_error", "unknown_server", "timeout")
    assert "result" in reply or reply["error"]["data"]["kind"] in kinds, reply


def test_closing_a_connection_for_a_too_large_message_is_logged_and_counted(daemon: Daemon) -> None:
    with daemon.socket(zmq.REQ) as caller:
        caller.connect(daemon.rpc)
        caller.send(b" " * (MAX_MESSAGE_BYTES + 1))
        said = f"closed a connection of uid:{os.getuid()}: it sent a message of over {MAX_MESSAGE_BYTES:,} bytes"
        eventually(lambda: said in daemon.log.read_text(), "it is logged")
        assert daemon.result("status")["counters"]["closed_connections"] == 1
