"""The callers of the load: most through the client library, some on bare sockets, which notice a second answer.

Each makes one call after the other at its own pace, and hands every ended call to `write`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgpack
import zmq
import zmq.asyncio

from amid.client import AsyncClient
from amid.errors import AmidError
from tests.faults.asked import Asked, Packet, draw
from tests.faults.judge import MARGIN
from tests.faults.records import Call, Stray

HANDOVER = 1.0
"""Seconds until a request must be with a broker, as the contract for clients has it."""

Write = Callable[[Any], None]
Ask = Callable[[Asked], Awaitable["Ended"]]
Ended = tuple[str, bool, bool, Packet | None]
"""How a call ended: kind, sent, whether that is the client's own word, and what can be checked of the answer."""


async def calling(name: str, ask: Ask, chance: random.Random, pause: float, write: Write, stop: asyncio.Event) -> None:
    """Calls of one caller until `stop`, `pause` seconds apart in the mean."""
    for number in itertools.count(1):
        await asyncio.sleep(chance.uniform(0.5, 1.5) * pause)
        if stop.is_set():
            return
        write(await one_call(name, draw(chance, name, number), ask))


async def one_call(name: str, asked: Asked, ask: Ask) -> Call:
    began = time.monotonic()
    kind, sent, own, answer = await ask(asked)
    ended = time.monotonic()
    wrong = asked.wrong(answer) if answer is not None else ""
    action = "Nonsense" if asked.action.startswith("Nonsense") else asked.action
    fine = kind in asked.fine
    return Call(name, action, began, asked.timeout, ended, 0.0, kind, sent, own, fine, asked.token, wrong)


def through(client: AsyncClient) -> Ask:
    """Ask through the client library."""

    async def ask(asked: Asked) -> Ended:
        try:
            result = await client.action(asked.action, asked.fields, timeout=asked.timeout, until=asked.until)
        except AmidError as error:
            answer = {"response": error.response} if error.kind == "action_failed" else None
            return error.kind, error.sent, _is_own(error), answer
        return "ok", True, False, result

    return ask


def _is_own(error: AmidError) -> bool:
    """Whether the library said this because the daemon said nothing."""
    return error.kind == "unreachable" or "gave no answer within" in error.message


class Wire:
    """A caller with nothing but a DEALER socket. `write` gets a `Stray` for an answer that it does not wait for."""

    def __init__(self, name: str, endpoint: str, as_json: bool, write: Write) -> None:
        self._name = name
        self._write = write
        self._pack = (lambda value: json.dumps(value).encode()) if as_json else msgpack.packb
        self._unpack: Callable[[bytes], Any] = json.loads if as_json else msgpack.unpackb
        self._ids = itertools.count(1)
        self._open: dict[int, asyncio.Future[Packet]] = {}
        self._given_up: set[int] = set()
        self._socket = zmq.asyncio.Context.instance().socket(zmq.DEALER)
        self._socket.set(zmq.LINGER, 0)
        self._socket.set(zmq.IMMEDIATE, 1)
        self._socket.connect(endpoint)

    async def receive(self) -> None:
        """Take answers for ever."""
        while True:
            reply = self._unpack((await self._socket.recv_multipart())[-1])
            waiting = self._open.pop(reply["id"], None)
            if waiting is not None:
                waiting.set_result(reply)
            elif reply["id"] in self._given_up:
                self._given_up.remove(reply["id"])
            else:
                self._write(Stray(self._name, time.monotonic(), str(reply)[:500]))

    async def ask(self, asked: Asked) -> Ended:
        number = next(self._ids)
        answer = self._open[number] = asyncio.get_running_loop().create_future()
        if not await self._hand_over(number, asked):
            del self._open[number]
            return "unreachable", False, True, None
        await asyncio.wait({answer}, timeout=asked.timeout + MARGIN)
        if answer.done():
            return _ended(answer.result())
        del self._open[number]
        self._given_up.add(number)
        return "timeout", True, True, None

    async def _hand_over(self, number: int, asked: Asked) -> bool:
        params = {"action": asked.action, "fields": asked.fields, "timeout": asked.timeout}
        params |= {"until": asked.until} if asked.until else {}
        body = self._pack({"jsonrpc": "2.0", "id": number, "method": "action", "params": params})
        sending = asyncio.ensure_future(self._socket.send_multipart([b"", body]))
        await asyncio.wait({sending}, timeout=HANDOVER)
        return sending.done() or not sending.cancel()


def _ended(reply: Packet) -> Ended:
    if "result" in reply:
        return "ok", True, False, reply["result"]
    data = reply["error"]["data"]
    return data["kind"], data["sent"], False, data if data["kind"] == "action_failed" else None
