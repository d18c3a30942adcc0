"""Fuzzes requests from untrusted clients through the broker's own code: a `Broker` whose messages
are captured.

For any frames the broker sends one reply or gives the reader one call; an error has a documented
kind, never `internal_error`; and the action for Asterisk contains, line by line, the fields of the
request and nothing more. The first byte of an input chooses the subject (`SUBJECTS`): the rest are
the bytes of a request, or frames, or a recipe for a value, which bypasses the decoders. See
`campaign` for running it.
"""

from __future__ import annotations

import asyncio
import math
import struct
import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, cast

import msgpack

from amid import wire
from amid.ami.packet import Packet
from amid.ami.parser import Parser
from amid.broker.broker import Broker
from amid.broker.origin import Identity, Origin, parse_message
from amid.config.tables import Caller, Config, Server, State
from amid.errors import CODES, AmidError
from amid.process.child import Child
from amid.process.settings import BrokerSettings, broker_settings
from amid.rpc import messages
from amid.rpc.messages import Capacity, Hello, Lanes, PullEvents, Request, RunAction, Status
from amid.rpc.requests import request_id
from tests.ami.items import one_by_one
from tests.fuzz import campaign
from tests.rpc.test_requests_fast import judge

GREETING = b"Asterisk Call Manager/11.0.0\r\n"
KINDS = set(CODES) - {"internal_error"}
PATIENT_S = 2.0
"""Seconds of the processor for one request of a few kilobytes: a thousand times what it takes, on a slow machine too."""

TOKENS = [
    b'{"id": 1, "method": "action", "params": {"action": "Ping"}}', b'"fields": {', b'"ActionID": ', b'"until": ', b'"server": ',
    b'"timeout": ', b'"after": {', b'"epoch": ', b'"seq": ', b'"names": [', b'"limit": ', b"\\udcff", b"\\ud800", b"NaN", b"1e999",
    b"\\r\\n", b"\\u0000", b"\xa6method", b"\xa6params", b"\xa6action", b"\xa6fields", b"\xa7timeout",
    b"\xa6server", b"\xa5until", b"\xa5epoch", b"\xa6events", b"\xa7restart", b"\xa7actions", b"\xa6status", b"\xa8ActionID",
    b"\xd6\xff\0\0\0\0", b"\xc7\x0c\xff",
    b"\xd4\x01\0", b"\xcb\x7f\xf8\0\0\0\0\0\0", b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff", b"\xc4\x01\xff",
    b"\xa1\xff", b"\xa2\r\n", b"\xef\xbb\xbf",
]  # fmt: skip


def one(data: bytes) -> None:
    SUBJECTS[data[0] % len(SUBJECTS) if data else 0](data[1:])


class NoSupervisor(Child[BrokerSettings]):
    """A child without a supervisor: it sends nothing."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def send(self, request: str) -> None:
        self.sent.append(request)


class Told:
    """Replaces the link to a reader and keeps the messages sent to it."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def send(self, message: Any) -> None:
        received = messages.decode_to_reader(messages.encode(message))
        if isinstance(received, RunAction | PullEvents):
            self.requests.append(received)


class Asked(Broker):
    """`ask` gives what the broker sends because of the frames of one message: to its callers, and to its reader."""

    def __init__(self, run_dir: str) -> None:
        servers = {"pbx1": Server(host="h", username="u", secret="s", deny=["Logoff", "Core*"], queue=10)}
        off = State(enabled=False)  # no service answers, so `state` and changes of it are refused
        config = Config(run_dir=run_dir, servers=servers, callers={"local": Caller(admin=True)}, state=off)
        super().__init__(NoSupervisor(), broker_settings(config))
        self._answers: list[list[bytes]] = []
        self._callers.send = self._catch  # type: ignore[method-assign]
        self._identity = Identity("local", "uid:0", local=True)
        self._reader = Told()

    def ask(self, frames: list[bytes]) -> tuple[list[list[bytes]], list[Request]]:
        self._reader_reports()
        self._answers.clear()
        self._reader.requests.clear()
        socket = cast(Any, self)
        self._handle_request(*parse_message(socket, frames, self._identity, sets_id=False))
        mine = list(self._answers)
        requests = list(self._reader.requests)
        self._do(self._calls.fail_all())
        return mine, requests

    def _catch(self, origin: Origin, body: bytes) -> bool:
        self._answers.append([*origin.envelope, body])
        return True

    def _reader_reports(self) -> None:
        """The reader has a free lane, and has taken whatever it was handed."""
        queue = self._calls.servers["pbx1"]
        capacity = Capacity(1, 0, queue.sent_idle, queue.sent_behind)
        status = Status(capacity, True, "up", "", 0.0, 1, 0, "", Lanes(1, 0, 1, []), {})
        self._do(self._calls.reader_reported(self._reader, Hello("pbx1", 1), status, time.monotonic()))


@cache
def broker() -> Asked:
    return asyncio.new_event_loop().run_until_complete(_new_broker())


async def _new_broker() -> Asked:
    """Its loop does not run further: all effects of a request happen before `ask` returns."""
    return Asked(str(campaign.scratch()))


# ── what holds ──


def request(payload: bytes) -> None:
    """One request is answered once, in its own codec and under its own id, or handed to the reader once."""
    judge(payload)
    answers, calls = timed([b"", payload])
    assert len(answers) + len(calls) == 1, f"{len(answers)} answers and {len(calls)} calls"
    for answer in answers:
        judge_answer(answer, payload)
    for call in calls:
        judge_call(call, payload)


def frames(data: bytes) -> None:
    """Frames of any number, cut at each 0xc1, which neither codec uses."""
    given = data.split(b"\xc1")
    answers, calls = timed(given)
    assert len(answers) + len(calls) == 1


def timed(given: list[bytes]) -> tuple[list[list[bytes]], list[Request]]:
    began = time.process_time()
    result = broker().ask(given)
    took = time.process_time() - began
    assert took < PATIENT_S, f"the broker was busy for {took:.1f} s"
    return result


def judge_answer(answer: list[bytes], payload: bytes) -> None:
    assert answer[:-1] == [b""]
    reply = wire.unpack_json(answer[-1]) if wire.is_json(payload) else wire.unpack(answer[-1])
    assert reply["jsonrpc"] == "2.0" and ("result" in reply) != ("error" in reply)
    assert repr(reply["id"]) == repr(id_of(payload)), "another's id"
    if "error" in reply:
        data = reply["error"]["data"]
        assert data["kind"] in KINDS and data["sent"] is False and reply["error"]["message"], reply


def id_of(payload: bytes) -> Any:
    try:
        return request_id(wire.decode_request(payload))
    except AmidError:
        return None


def judge_call(call: Request, payload: bytes) -> None:
    value = wire.decode_request(payload)
    if value["method"] == "action":
        assert isinstance(call, RunAction)
        judge_action(call, value["params"])
    else:
        assert isinstance(call, PullEvents) == (value["method"] == "events")
        assert value["method"] in ("actions", "events")
        if isinstance(call, PullEvents):
            judge_pull(call, value.get("params") or {})


def judge_pull(call: PullEvents, params: dict[str, Any]) -> None:
    """It asks for what the request says."""
    after = params.get("after")
    assert (call.epoch, call.seq) == ((after["epoch"], after["seq"]) if after else (None, 0))
    assert call.limit == params.get("limit", 1000) and len(call.names) == len(params.get("names") or [])


def judge_action(call: RunAction, params: dict[str, Any]) -> None:
    """The packet parses back to what the request says, and `until` is an event's name."""
    assert not set(b"\r\n\0") & set(call.until or b"")
    greeting_and_packets = one_by_one(Parser().feed(GREETING + call.packet))
    assert [type(item) for item in greeting_and_packets[1:]] == [Packet], "not one packet"
    action, action_id, *lines = call.packet.removesuffix(b"\r\n\r\n").split(b"\r\n")
    assert action == b"Action: " + on_the_wire(params["action"]) and action_id == b"ActionID: " + call.action_id.encode()
    name = action.removeprefix(b"Action: ").strip().lower()
    assert name != b"logoff" and not name.startswith(b"core"), "a denied action"
    assert lines == list(wanted_lines(params.get("fields", {})))
    assert not any(byte in line for line in (action, *lines) for byte in b"\r\n\0")
    assert not any(line.split(b":")[0].strip().lower() in (b"action", b"actionid") for line in lines)


def wanted_lines(fields: dict[Any, Any]) -> Iterator[bytes]:
    for name, value in fields.items():
        if on_the_wire(name).strip().lower() != b"actionid":
            for item in value if isinstance(value, list | tuple) else [value]:
                assert not isinstance(item, float) or math.isfinite(item), "no number"
                yield on_the_wire(name) + b": " + on_the_wire(item)


def on_the_wire(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    return (str(value).lower() if isinstance(value, bool) else str(value)).encode("utf-8", "surrogateescape")


# ── values from a recipe ──


def recipe(data: bytes) -> None:
    """A request whose members are right and whose values are anything that MessagePack has."""
    left = iter(data)
    own_id = cook(left) if next(left, 0) > 200 else text(b"7")
    request(_map([(text(b"method"), text(b"action")), (text(b"id"), own_id), (text(b"params"), params(left))]))


def params(left: Iterator[int]) -> bytes:
    """An action with a map of fields, and sometimes with the other params or with something else in their place."""
    chosen = next(left, 0)
    fields = _map([(key(left, 1), cook(left, 2)) for _ in range(next(left, 0) % 6)])
    members = [(text(b"action"), text(b"Ping")), (text(b"fields"), cook(left) if chosen > 230 else fields)]
    others = [name for bit, name in enumerate(OTHERS) if chosen & 3 == 0 and chosen >> 2 >> bit & 1]
    return _map([*members, *((text(name), cook(left)) for name in others)])


def cook(left: Iterator[int], depth: int = 0) -> bytes:
    """A MessagePack value: each byte of the recipe chooses one of its forms."""
    choice = next(left, 0)
    if choice < len(PLAIN) or depth > 40:
        return PLAIN[choice % len(PLAIN)]
    size, form = choice & 3, choice >> 2 & 7
    if form < 2:
        return text(bytes(next(left, 65) for _ in range(size * 3)))
    if form == 2:
        return b"\xc4" + bytes([size]) + bytes(next(left, 65) for _ in range(size))
    if form == 3:
        return bytes([0xD4 + size]) + bytes(next(left, 255) for _ in range(1 + (1 << size)))
    if form < 6:
        return bytes([0x90 + size]) + b"".join(cook(left, depth + 1) for _ in range(size))
    return _map([(key(left, depth), cook(left, depth + 1)) for _ in range(size)])


def key(left: Iterator[int], depth: int) -> bytes:
    """Mostly a name, since a map with any other key is refused as a whole."""
    choice = next(left, 0)
    return cook(left, depth + 1) if choice > 250 else NAMES[choice % len(NAMES)]


def text(raw: bytes) -> bytes:
    return b"\xd9" + bytes([len(raw)]) + raw


def _map(items: list[tuple[bytes, bytes]]) -> bytes:
    return b"\xde" + struct.pack(">H", len(items)) + b"".join(key + value for key, value in items)


OTHERS = [b"server", b"timeout", b"until", b"action", b"other"]
ODD_VALUES: list[Any] = [
    None, True, False, 0, -1, 5, 3600, 2**63, 2**64 - 1, -(2**63), 0.5, -0.0, 1e300, float("nan"), float("inf"), "", "Ping", "pbx1",
    "Logoff", "a\r\nb", "\0", "ActionID", "actionid ", "Action", "X:", " X", "Variable", "é", b"\xff", b"ActionID", "x" * 1000,
    [], {}, "OriginateResponse", msgpack.Timestamp(0), msgpack.Timestamp(2**40, 999_999_999), msgpack.ExtType(5, b"x"),
]  # fmt: skip
PLAIN: list[bytes] = [msgpack.packb(value) for value in ODD_VALUES]
NAMES: list[bytes] = [
    msgpack.packb(name) for name in ("Variable", "X", b"X\xff", "ActionID", b"actionid", "é", "Action", "X:", " X", "")
]

SUBJECTS: list[Callable[[bytes], None]] = [request, frames, recipe]


# ── the corpus ──

ACTION = {"id": 7, "method": "action", "params": {"action": "QueueStatus", "fields": {"Queue": "support"}, "timeout": 5.0}}
FIELDS: dict[Any, Any] = {"Variable": ["a=1", "b=2"], "Async": True, "Timeout": 30000, "ActionID": "mine", "é": "caf\udce9"}
VALUES: list[Any] = [
    ACTION,
    {**ACTION, "params": {"action": "Originate", "fields": FIELDS, "server": "pbx1", "until": "OriginateResponse"}},
    {**ACTION, "params": {"action": "Logoff"}},
    {**ACTION, "params": {"action": "Ping", "fields": {"X": "a\r\nAction: Originate"}}},
    {**ACTION, "params": {"action": "Ping", "fields": {"X": [["deep"]]}}},
    {**ACTION, "params": {"action": "Ping", "fields": {"X": float("nan")}}},
    {"jsonrpc": "2.0", "id": "a", "method": "events", "params": {"after": {"epoch": 1, "seq": 0}, "limit": 10, "timeout": 1}},
    {"id": 7, "method": "events", "params": {"server": "pbx1", "after": None, "names": ["Hangup", "é"], "timeout": 0}},
    *({"id": None, "method": method} for method in (*wire.METHODS, "none")),
    [ACTION], "ping", 7, {}, {"method": 7}, {"id": {}, "method": "ping"}, {"id": 1, "method": "ping", "params": []},
]  # fmt: skip
RAW = [
    b"", b"{", b'{"id": NaN}', b'{"id": 1e999}', b'["\\ud800"]', b'{"id": "\\udcff", "method": "ping"}', b"[" * 600,
    b"\x91" * 600, b'{"id": ' + b"1" * 4000 + b', "method": "ping"}', b'\xef\xbb\xbf{"method": "ping", "method": "status"}',
    b"\xc1", b"\x82\xa2id\xd6\xff\0\0\0\1\xa6method\xa4ping", b"\x82\xa2id\xcb\x7f\xf8\0\0\0\0\0\0\xa6method\xa4ping",
    b"\x81\xc7\x0c\xff" + b"\1" * 12 + b"\1", b"\x82\xa2id\xd4\x05x\xa6method\xa4ping", b"\x81\x90\x01",
    b"\x81\xc4\x06method\xa4ping",
]  # fmt: skip


def seeds() -> Iterator[bytes]:
    yield from (b"\0" + wire.pack(value) for value in VALUES)
    yield from (b"\0" + wire.pack_json(value) for value in VALUES)
    yield from (b"\0" + raw for raw in RAW)
    yield from (b"\1" + start + wire.pack(ACTION) for start in (b"", b"\xc1", b"\xc1\xc1", b"x\xc1\xc1", b"\xc1x\xc1"))
    yield from (b"\2" + bytes([form]) + bytes(range(choice, choice + 30)) for choice in (0, 20, 60, 120, 200) for form in (3, 255))


if __name__ == "__main__":
    campaign.main("requests")
