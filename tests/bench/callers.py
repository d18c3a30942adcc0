"""The callers of the benchmarks, each in a process: `python -m tests.bench.callers NAME WHERE COUNT
IN_FLIGHT`.

Each makes COUNT Pings, IN_FLIGHT at a time, and prints the seconds of all and of each as JSON.
WHERE is the port of the load generator or of an Asterisk, or the endpoint of amid's rpc socket or
of an echo.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import resource
import sys
import time
from collections.abc import Callable
from http.client import HTTPConnection

import msgpack
import zmq

from tests.bench.consumers import login

Times = list[float]
"""Seconds from a call's request to its answer, in the order of the answers."""


def raw(where: str, count: int, in_flight: int) -> Times:
    """A plain socket that speaks AMI, and parses no more than the ActionID: nothing is between it and the server."""
    with login(where, b"off") as connection:
        began: dict[bytes, float] = {}
        times: Times = []
        numbers = itertools.count()
        buffer = b""

        def send(more: int) -> None:
            names = [b"%d" % next(numbers) for _ in range(more)]
            began.update(dict.fromkeys(names, time.perf_counter()))
            connection.sendall(b"".join([b"Action: Ping\r\nActionID: %s\r\n\r\n" % name for name in names]))

        send(in_flight)
        while len(times) < count:
            buffer += connection.recv(65536)
            *packets, buffer = buffer.split(b"\r\n\r\n")
            now = time.perf_counter()
            found = [match[1] for packet in packets if (match := re.search(rb"ActionID: (\d+)", packet))]
            times += [now - began.pop(name) for name in found]
            send(min(len(found), count - len(times) - len(began)))
        return times


def dealer(endpoint: str, count: int, in_flight: int) -> Times:
    """A DEALER with so many requests open; amid answers them, or an echo gives them back. BENCH_SERVER: whose Pings."""
    ping = {"action": "Ping", **({"server": os.environ["BENCH_SERVER"]} if "BENCH_SERVER" in os.environ else {})}
    with zmq.Context() as context, context.socket(zmq.DEALER) as caller:
        caller.connect(endpoint)
        began: dict[int, float] = {}
        times: Times = []
        numbers = itertools.count(1)

        def send() -> None:
            number = next(numbers)
            began[number] = time.perf_counter()
            caller.send_multipart((b"", msgpack.packb({"id": number, "method": "action", "params": ping})))

        for _ in range(in_flight):
            send()
        while len(times) < count:
            answer = msgpack.unpackb(caller.recv_multipart()[1])
            assert "error" not in answer, answer
            times.append(time.perf_counter() - began.pop(answer["id"]))
            if len(times) + len(began) < count:
                send()
        return times


def http(address: str, count: int, in_flight: int) -> Times:
    """Pings over HTTP, one at a time on one connection. BENCH_TOKEN: whose."""
    assert in_flight == 1
    connection, times = HTTPConnection(address), []
    headers = {"Authorization": f"Bearer {os.environ['BENCH_TOKEN']}"}
    for _ in range(count):
        began = time.perf_counter()
        connection.request("POST", "/v1/servers/pbx1/actions/Ping", headers=headers)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, answer.status
        times.append(time.perf_counter() - began)
    return times


def many(endpoint: str, count: int, clients: int) -> Times:
    """This many clients with a connection each, which call in turn."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    request, times = msgpack.packb({"id": 1, "method": "action", "params": {"action": "Ping"}}), []
    with zmq.Context() as context:
        context.set(zmq.MAX_SOCKETS, clients + 10)
        callers = [context.socket(zmq.REQ) for _ in range(clients)]
        for caller in callers:
            caller.connect(endpoint)
        for caller in itertools.islice(itertools.cycle(callers), max(count, 2 * clients)):
            began = time.perf_counter()
            caller.send(request)
            caller.recv()
            times.append(time.perf_counter() - began)
        context.destroy(linger=0)
    return times[clients:]


def logins(where: str, count: int, in_flight: int) -> Times:
    """Short AMI sessions, one at a time: greeting, Login, Logoff."""
    assert in_flight == 1
    times: Times = []
    for _ in range(count):
        began = time.perf_counter()
        with login(where, b"off") as connection:
            connection.sendall(b"Action: Logoff\r\n\r\n")
            while connection.recv(65536):
                pass
        times.append(time.perf_counter() - began)
    return times


def panoramisk(where: str, count: int, in_flight: int) -> Times:
    from panoramisk import Manager

    async def call() -> Times:
        user = os.environ.get("BENCH_USER", "amid:x").split(":")
        manager = Manager(host="127.0.0.1", port=int(where), username=user[0], secret=user[1], ping_delay=3600)
        await manager.connect()
        times: Times = []

        async def caller() -> None:
            while len(times) < count:
                began = time.perf_counter()
                await manager.send_action({"Action": "Ping"})
                times.append(time.perf_counter() - began)

        await asyncio.gather(*(caller() for _ in range(in_flight)))
        return times[:count]

    return asyncio.run(call())


def storm(endpoint: str, count: int, in_flight: int) -> Times:
    """Calls through Local channels that end at once, so many under way, for as long as it lives."""
    fields = {"Channel": "Local/storm@calls", "Context": "calls", "Exten": "storm", "Priority": 1, "Async": True}
    with zmq.Context() as context, context.socket(zmq.DEALER) as caller:
        caller.connect(endpoint)
        params = {"action": "Originate", "fields": fields, "until": "OriginateResponse", "timeout": 60}
        request = msgpack.packb({"id": 1, "method": "action", "params": params})
        for _ in range(in_flight):
            caller.send_multipart((b"", request))
        for _ in range(count):
            caller.recv_multipart()
            caller.send_multipart((b"", request))
    return []


def echo(endpoint: str, count: int, in_flight: int) -> Times:
    """A ROUTER that gives back what it is sent, for ever: what one hop over ZeroMQ costs."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.bind(endpoint)
        print("ready", flush=True)
        while True:
            router.send_multipart(router.recv_multipart())


def panoramisk_beside(where: str, count: int, in_flight: int) -> Times:
    """One Ping behind an Originate that takes three seconds."""
    from panoramisk import Manager

    async def call() -> Times:
        manager = Manager(host="127.0.0.1", port=int(where), username="amid", secret="x", ping_delay=3600)
        await manager.connect()
        slow = asyncio.ensure_future(manager.send_action({"Action": "Originate", "Channel": "Local/1@x", "Timeout": "3000"}))
        began = time.perf_counter()
        await manager.send_action({"Action": "Ping"})
        times = [time.perf_counter() - began]
        await slow
        return times

    return asyncio.run(call())


CALLERS: dict[str, Callable[[str, int, int], Times]] = {
    "raw": raw,
    "many": many,
    "http": http,
    "dealer": dealer,
    "panoramisk": panoramisk,
    "panoramisk-beside": panoramisk_beside,
    "storm": storm,
    "echo": echo,
    "logins": logins,
}

if __name__ == "__main__":
    name, where, count, in_flight = sys.argv[1:]
    started = time.perf_counter()
    times = CALLERS[name](where, int(count), int(in_flight))
    print(json.dumps({"seconds": time.perf_counter() - started, "times": times}), flush=True)
