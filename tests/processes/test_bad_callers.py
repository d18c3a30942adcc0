"""Callers that do not read, disconnect or are killed lose their own replies and affect no other
caller."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import zmq

from amid import wire
from amid.simulator import SimulatedPbx
from tests.daemon import Daemon, eventually
from tests.processes.caller import Caller
from tests.processes.pbx import arm
from tests.processes.zmtp import MORE, RawPeer, frame

FLOOD = 20_000
SOON_S = 1.0
"""Seconds within which a bystander is served whatever others do: it takes a millisecond, and the machine may be busy."""


CONNECTIONS, EACH = 20, 6


def memory(pid: int) -> int:
    """Resident bytes of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def served(caller: Caller) -> None:
    began = time.monotonic()
    assert caller.result(caller.action("Ping"))["response"]["Ping"] == "Pong"
    assert time.monotonic() - began < SOON_S


def test_a_caller_that_never_reads_loses_only_its_own_answers(daemon: Daemon, caller: Caller) -> None:
    broker = daemon.pid("broker")
    before = memory(broker)
    with daemon.socket(zmq.DEALER) as deaf:
        deaf.set(zmq.SNDHWM, 0)
        deaf.set(zmq.RCVHWM, 1)
        deaf.connect(daemon.rpc)
        for _ in range(FLOOD):
            deaf.send_multipart([b"", b'{"id": 1, "method": "servers"}'])

        def taken() -> bool:
            served(caller)
            return bool(daemon.result("status")["counters"]["requests"] > FLOOD)

        eventually(taken, "all of its requests were taken")
        counters = daemon.result("status")["counters"]
        assert counters["undeliverable_answers"] > FLOOD / 4, counters  # max_calls of them are buffered
        assert memory(broker) - before < 50e6
    assert daemon.pid("broker") == broker
    served(caller)


@pytest.mark.parametrize(("events", "requests"), [(5000, 150), (250, 3000)], ids=["some large", "many not so large"])
def test_unread_large_answers_are_replaced_by_errors(daemon: Daemon, caller: Caller, events: int, requests: int) -> None:
    """The broker holds a bounded number of bytes, and every request still gets a reply."""
    caller.result(caller.action("SimFault", {"Kind": "burst", "Count": 5000}))
    epoch = daemon.server("pbx1")["epoch"]
    eventually(lambda: daemon.server("pbx1")["seq"] > 5000, "the events came")
    request = wire.pack(
        {"id": 1, "method": "events", "params": {"after": {"epoch": epoch, "seq": 0}, "limit": events, "timeout": 60}}
    )
    broker = daemon.pid("broker")
    before = memory(broker)
    with daemon.socket(zmq.DEALER) as slow:
        slow.set(zmq.RCVHWM, 1)
        slow.connect(daemon.rpc)
        for _ in range(requests):
            slow.send_multipart([b"", request])
        eventually(lambda: daemon.result("status")["counters"].get("answers_too_large", 0) > 10, "it was told", 60)
        served(caller)
        eventually(lambda: not daemon.result("status")["counters"]["open_calls"], "all were answered")
        assert memory(broker) - before < 100e6
        sizes = []
        for _ in range(requests):
            assert slow.poll(5000), "every request is answered"
            sizes.append(len(slow.recv_multipart()[1]))
        assert 10 < sum(size < 1000 for size in sizes) < requests
        slow.send_multipart([b"", request])
        assert slow.poll(5000) and len(slow.recv_multipart()[1]) > 10_000, "one that reads again gets what it asks for"
    assert daemon.pid("broker") == broker
    assert daemon.processes()["reader pbx1"]["restarts"] == 0, "so many pages did not keep the reader from its beat"


def test_unread_bytes_are_limited_over_all_connections_of_a_caller(daemon: Daemon, caller: Caller) -> None:
    """The limit was 64 MiB for each connection, and a program can open a thousand."""
    caller.result(caller.action("SimFault", {"Kind": "burst", "Count": 5000}))
    epoch = daemon.server("pbx1")["epoch"]
    eventually(lambda: daemon.server("pbx1")["seq"] > 5000, "the events came")
    request = wire.pack(
        {"id": 1, "method": "events", "params": {"after": {"epoch": epoch, "seq": 0}, "limit": 5000, "timeout": 60}}
    )
    broker = daemon.pid("broker")
    before = memory(broker)
    with ExitStack() as stack:
        for _ in range(CONNECTIONS):
            slow = stack.enter_context(daemon.socket(zmq.DEALER))
            slow.set(zmq.RCVHWM, 1)
            slow.connect(daemon.rpc)
            for _ in range(EACH):
                slow.send_multipart([b"", request])
        eventually(lambda: daemon.result("status")["counters"]["requests"] > EACH * CONNECTIONS, "all came", 60)
        eventually(lambda: not daemon.result("status")["counters"]["open_calls"], "all were answered", 60)
        assert memory(broker) - before < 150e6
        served(caller)
    assert daemon.pid("broker") == broker


def test_the_length_of_an_id_is_limited(daemon: Daemon, caller: Caller) -> None:
    before = memory(daemon.pid("broker"))
    with daemon.socket(zmq.DEALER) as deaf:
        deaf.set(zmq.RCVHWM, 1)
        deaf.connect(daemon.rpc)
        for _ in range(64):
            deaf.send_multipart([b"", json.dumps({"id": "x" * 1_000_000, "method": "ping"}).encode()])
        eventually(lambda: daemon.result("status")["counters"].get("answers_invalid_request", 0) == 64, "all are refused")
        assert memory(daemon.pid("broker")) - before < 60e6


def test_a_message_of_millions_of_frames_is_refused(daemon: Daemon) -> None:
    """The broker received it at once, hung, and was killed with all calls."""
    broker = daemon.pid("broker")
    with RawPeer(daemon.run_dir / "rpc") as peer, pytest.raises((BrokenPipeError, ConnectionResetError)):
        for _ in range(20):
            peer.socket.sendall(frame(b"", MORE) * 100_000)
        peer.socket.sendall(frame(b""))
        peer.receive()
    said = f"closed a connection of uid:{os.getuid()}: it sent a message of over 16 frames"
    eventually(lambda: said in daemon.log.read_text(), "the log names its sender")
    assert daemon.action("Ping")["response"]["Ping"] == "Pong"
    assert daemon.pid("broker") == broker


def test_a_thousand_short_connections_leave_nothing_behind(daemon: Daemon, caller: Caller) -> None:
    broker = daemon.pid("broker")
    before, open_before = memory(broker), descriptors(broker)
    for number in range(1000):
        with daemon.socket(zmq.DEALER) as visitor:
            visitor.connect(daemon.rpc)
            if number % 2:
                visitor.send_multipart([b"", b'{"id": 1, "method": "action", "params": {"action": "Ping"}}'])
        if not number % 100:
            served(caller)
    eventually(lambda: descriptors(broker) <= open_before + 5, "the broker has closed their connections")
    assert memory(broker) - before < 30e6
    assert daemon.pid("broker") == broker
    served(caller)


CALL = """
import sys, zmq
socket = zmq.Context().socket(zmq.REQ)
socket.connect(sys.argv[1])
socket.send_string('{"id": 1, "method": "action", "params": {"action": "CoreStatus"}}')
socket.poll()
"""


def test_a_killed_caller_affects_no_other(daemon: Daemon, caller: Caller, pbx: SimulatedPbx) -> None:
    arm(daemon, "delay", "CoreStatus", Seconds=0.5)
    with subprocess.Popen([sys.executable, "-c", CALL, daemon.rpc]) as victim:
        eventually(lambda: daemon.result("status")["counters"]["open_calls"] == 1, "its call is in flight")
        victim.kill()
    served(caller)
    eventually(lambda: daemon.result("status")["counters"]["abandoned_calls"] == 1, "its call has ended with it")
    assert daemon.result("status")["counters"]["open_calls"] == 0
