"""Clients that misuse amid, each in a process of its own. They use ZeroMQ and JSON, and no code of
amid.

`python -m tests.faults.bad_clients NAME ENDPOINT`. Each prints one line of JSON when it has reached
its state.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections import Counter
from typing import Any

import msgpack
import zmq

CONTEXT: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
IN_FLIGHT = 3
VISITS = 1000
DEAF_LISTS = 3000
DEAF_VIEWS = 20_000
FLOOD = 100_000
LAST = "Last"
"""The UserEvent behind which a subscriber says what it had."""
SILENCE_MS = 20_000
"""Milliseconds without any answer after which none is expected any more."""


def request(number: int, method: str, **params: Any) -> list[bytes]:
    return [b"", json.dumps({"id": number, "method": method, "params": params}).encode()]


def dealer(endpoint: str, kept: int = 0) -> zmq.Socket[bytes]:
    """kept: number of unread replies that this process buffers; 0: no limit."""
    socket = CONTEXT.socket(zmq.DEALER)
    socket.set(zmq.SNDHWM, 0)
    socket.set(zmq.RCVHWM, kept)
    socket.set(zmq.LINGER, 0)
    socket.connect(endpoint)
    return socket


def report(*values: Any) -> None:
    print(json.dumps(values), flush=True)


def in_flight(endpoint: str) -> None:
    """Waits for slow actions."""
    socket = dealer(endpoint)
    slow = {"Channel": "Local/noanswer@calls", "Application": "Wait", "Timeout": 3000}  # milliseconds of ringing
    for number in range(IN_FLIGHT):
        socket.send_multipart(request(number, "action", action="Originate", fields=slow, timeout=6))
    socket.send_multipart(request(IN_FLIGHT, "ping"))
    report(json.loads(socket.recv_multipart()[-1])["id"])  # the ping's, so the broker has taken what came before it
    signal.pause()


def sending(endpoint: str) -> None:
    """Is at any moment in the middle of a message of 1 MB."""
    socket = dealer(endpoint)
    socket.set(zmq.SNDHWM, 2)
    body = request(1, "action", action="Ping", fields={"Long": "x" * 1_000_000})
    socket.send_multipart(body)
    report(json.loads(socket.recv_multipart()[-1])["error"]["code"])  # it arrives; a value of that size is refused
    while True:
        socket.send_multipart(body)


def visitors(endpoint: str) -> None:
    """Connects, calls once and disconnects, repeatedly; every other time without waiting for the
    reply."""
    answered = 0
    for number in range(VISITS):
        with dealer(endpoint) as socket:
            socket.send_multipart(request(number, "action", action="Ping"))
            if number % 2:
                answered += bool(socket.poll(SILENCE_MS)) and json.loads(socket.recv_multipart()[-1])["id"] == number
    report(answered)


def deaf(endpoint: str) -> None:
    """Requests long answers, then many, and reads none of them."""
    socket = dealer(endpoint, kept=1)
    for number in range(DEAF_LISTS):
        socket.send_multipart(request(number, "actions"))
        time.sleep(0.002)  # its pace: faster, and all but the first thousand would be refused as `busy`
    for number in range(DEAF_VIEWS):
        socket.send_multipart(request(number, "status"))
    report("sent")
    signal.pause()


def flood(endpoint: str) -> None:
    """Sends everything at once, then reports the count of each reply and the number of requests
    that got one."""
    socket = dealer(endpoint)
    for number in range(FLOOD):
        ask = request(number, "ping") if number % 2 else request(number, "action", action="Ping", timeout=60)
        socket.send_multipart(ask)
    kinds: Counter[str] = Counter()
    answered: set[int] = set()
    while sum(kinds.values()) < FLOOD and socket.poll(SILENCE_MS):
        reply = json.loads(socket.recv_multipart()[-1])
        answered.add(reply["id"])
        kinds[reply["error"]["data"]["kind"] if "error" in reply else "ok"] += 1
    report(kinds, len(answered))


def subscriber(endpoint: str) -> None:
    """Follows the UserEvents of a server by their `prev`. Says the last one's number once it is subscribed, and behind the event
    `LAST` its number, how many came since, and each gap: behind which number, and up to which."""
    socket = CONTEXT.socket(zmq.SUB)
    for topic in ("event.pbx1.UserEvent.", "tick.pbx1."):
        socket.subscribe(topic)
    socket.connect(endpoint)
    last = _first_tick(socket)["last"].get("UserEvent", 0)
    report(last)
    seen, gaps = 0, []
    while True:
        for event in msgpack.unpackb(socket.recv_multipart()[1]):
            if event["event"] != "UserEvent":  # a tick
                continue
            seen += 1
            if event["prev"] != last:
                gaps.append([last, event["prev"]])
            last = event["seq"]
            if event["fields"]["UserEvent"] == LAST:
                report(last, seen, gaps)


def _first_tick(socket: zmq.Socket[bytes]) -> Any:
    """It shows that the subscription is in effect; whatever came before it is counted in it."""
    while True:
        for event in msgpack.unpackb(socket.recv_multipart()[1]):
            if event["event"] == "amid:tick":
                return event


if __name__ == "__main__":
    {act.__name__: act for act in (in_flight, sending, visitors, deaf, flood, subscriber)}[sys.argv[1]](sys.argv[2])
