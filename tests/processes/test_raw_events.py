"""The topic `raw.SERVER.`: packets as Asterisk sent them, under the numbers that the same events have everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgpack
import pytest
import zmq

from amid.events import message
from amid.reader import publisher as publishing
from amid.reader.publisher import Publisher, own_event
from amid.simulator import SimulatedPbx
from tests.daemon import BOUND_S, Daemon, eventually
from tests.processes.caller import Caller
from tests.processes.on_loop import Loop
from tests.processes.pbx import simulated

BLANK = b"\r\n\r\n"


def subscriber(daemon: Daemon, topic: bytes) -> zmq.Socket[bytes]:
    """Whatever is published on `topic` once this returns comes."""
    socket = daemon.socket(zmq.SUB)
    socket.set(zmq.RCVTIMEO, int(BOUND_S * 1000))
    for one in (topic, b"tick.pbx1."):
        socket.subscribe(one)
    socket.connect(daemon.server("pbx1")["stream"])
    socket.recv_multipart()
    return socket


def messages(socket: zmq.Socket[bytes], last: bytes) -> Iterator[dict[str, Any]]:
    """The bodies that come, ticks apart, up to the one whose data ends with the event of this name."""
    while True:
        topic, body = socket.recv_multipart()
        if topic == b"tick.pbx1.":
            continue
        assert topic == b"raw.pbx1."
        yield (read := msgpack.unpackb(body))
        if b"UserEvent: " + last + b"\r\n" in read["data"]:
            return


def test_raw_packets_have_asterisks_bytes_and_the_event_numbers(daemon: Daemon, caller: Caller, pbx: SimulatedPbx) -> None:
    sent: list[bytes] = []
    with subscriber(daemon, b"raw.pbx1.") as socket:
        now = daemon.result("events", {"timeout": 0})
        pbx.pbx.subscribe(lambda event: sent.append(event.raw))
        odd = {"UserEvent": "Odd", "X": "Gr\udcfc\udcdfe:  ", "Y": ["1", "2"], "Z": ""}
        caller.result(caller.action("UserEvent", odd))
        caller.result(caller.action("SimFault", {"Kind": "burst", "Count": 300}))
        caller.result(caller.action("UserEvent", {"UserEvent": "Last"}))
        came = list(messages(socket, b"Last"))
    assert b"".join(one["data"] for one in came) == b"".join(sent) and b"X: Gr\xfc\xdfe:  \r\nY: 1\r\nY: 2\r\nZ: \r\n" in sent[0]
    assert {frozenset(one) for one in came} == {frozenset({"server", "epoch", "first", "count", "time", "data"})}
    page = daemon.result("events", {"after": {"epoch": now["epoch"], "seq": now["seq"]}, "timeout": 5})
    events = {event["seq"]: event for event in page["events"]}
    seq = now["seq"]
    for one in came:
        packets = one["data"].split(BLANK)[:-1]
        assert (one["server"], one["epoch"], one["first"], one["count"]) == ("pbx1", now["epoch"], seq + 1, len(packets))
        for seq, packet in enumerate(packets, one["first"]):
            event = events[seq]
            assert packet.startswith(b"Event: " + event["event"].encode()) and event["time"] == one["time"]
            assert b"UserEvent: " + event["fields"]["UserEvent"].encode() in packet
    assert seq == page["seq"]


def test_raw_packets_include_amids_own_events(daemon: Daemon, pbx: SimulatedPbx) -> None:
    before = daemon.server("pbx1")["epoch"]
    with subscriber(daemon, b"raw.pbx1.") as socket:
        pbx.stop()
        with simulated(pbx.port):
            eventually(lambda: daemon.server("pbx1")["epoch"] > before and daemon.wait_up("pbx1"), "a new session")
            daemon.action("UserEvent", {"UserEvent": "Last"})
            came = list(messages(socket, b"Last"))
    ended = b"".join(one["data"] for one in came if one["epoch"] == before)
    begun = [one for one in came if one["epoch"] > before]
    assert ended.startswith(b"Event: amid:disconnected\r\nReason: ")
    assert begun[0]["data"].startswith(b"Event: amid:connected\r\n") and begun[0]["first"] == 1
    assert all(one["data"].count(BLANK) == one["count"] and one["data"].endswith(BLANK) for one in came)
    assert all(one["count"] == 1 for one in came if b"Event: amid:" in one["data"]), "each comes alone"


def test_raw_packets_need_a_subscriber(daemon: Daemon, caller: Caller) -> None:
    def published() -> int:
        count: int = daemon.result("status")["servers"][0]["counters"]["published_messages"]
        return count

    def status_is_recent() -> bool:
        return bool(daemon.server("pbx1")["seq"] >= seq + 500)

    before, seq = published(), daemon.server("pbx1")["seq"]
    caller.result(caller.action("SimFault", {"Kind": "burst", "Count": 500}))
    eventually(status_is_recent, "the events came")
    assert published() == before


@pytest.mark.parametrize("wanted", [b"stream.pbx1.", b"raw.pbx2.", b"raw.pbx1.", b""], ids=repr)
def test_raw_packets_are_encoded_only_for_subscribers(
    loop: Loop, publisher: Publisher, monkeypatch: pytest.MonkeyPatch, wanted: bytes
) -> None:
    packed: list[Any] = []
    pack = message.pack
    monkeypatch.setattr(publishing, "pack", lambda body: packed.append(body) or pack(body))  # type: ignore[func-returns-value]
    publisher.publish(own_event("UserEvent"), 0.0)
    assert packed == [], "there are no subscribers"
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.set(zmq.RCVTIMEO, int(BOUND_S * 1000))
        socket.subscribe(wanted)
        socket.connect(publisher.stream._socket.getsockopt_string(zmq.LAST_ENDPOINT))
        loop.eventually(lambda: publisher.stream.want(wanted), "it has subscribed")
        publisher.publish(own_event("UserEvent"), 0.0)
    raw = [body for body in packed if isinstance(body, message.RawEvents)]
    assert len(raw) == (1 if b"raw.pbx1.".startswith(wanted) else 0)
