"""A service's end of its pipe to the broker, over which it receives calls and answers them.

The link reconnects while there is no broker. The calls of a broker that has ended have no caller
any more: `on_forget` gets None.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from amid import wire
from amid.errors import AmidError
from amid.process.loop import start_task
from amid.process.pipe import Message, Pipe
from amid.rpc import messages
from amid.rpc.messages import CallService, Done, Failure, Forget, PassOn, ServiceHello, ServiceStatus, ToService
from amid.rpc.requests import PARAMS, Params

RECONNECT_S = 0.05
"""Time between attempts to connect to a broker."""


class Service:
    """on_call: takes a call and its params; an answer must follow before its deadline.
    on_forget: takes the id of a call without a waiting caller, None for all calls."""

    def __init__(
        self,
        run_dir: str,
        hello: ServiceHello,
        on_call: Callable[[CallService, Params], object],
        on_forget: Callable[[int | None], object],
    ) -> None:
        self._path = f"{run_dir}/{wire.READERS_SOCKET}"
        self._hello = hello
        self._on_call = on_call
        self._on_forget = on_forget
        self._loop = asyncio.get_running_loop()
        self._pipe: Pipe[ToService] | None = None
        self._status = ServiceStatus(hello.name, {})
        self._connecting = start_task(self._connect())

    def answer(self, call: CallService, result: Any) -> None:
        """Send the result of a call."""
        self.answer_encoded(call, wire.pack_json(result) if call.as_json else wire.pack(result))

    def answer_encoded(self, call: CallService, result: bytes) -> None:
        """Send a result that is encoded already, in JSON if `call.as_json`, else in MessagePack."""
        self._send(Done(call.call_id), result)

    def refuse(self, call: CallService, error: AmidError) -> None:
        self._send(
            Done(call.call_id, Failure(error.kind, error.message, error.sent, {"server": call.server} if call.server else {}))
        )

    def pass_on(self, call: CallService, epoch: int, seq: int) -> None:
        """Let the reader answer a request for events, from after this event on."""
        self._send(PassOn(call.call_id, epoch, seq))

    def report(self, report: dict[str, Any]) -> None:
        """Set what `status` shows of this service. A new broker gets it as well."""
        self._status = ServiceStatus(self._hello.name, report)
        self._send(self._status)

    async def close(self) -> None:
        """Write what is buffered, and close."""
        self._connecting.cancel()
        pipe, self._pipe = self._pipe, None  # so that its end causes no reconnect
        if pipe is not None:
            await pipe.finish()

    def _send(self, message: Done | PassOn | ServiceStatus, payload: bytes = b"") -> None:
        if self._pipe is not None:  # else the caller is gone with the broker
            self._pipe.send(message, payload)

    async def _connect(self) -> None:
        while self._pipe is None:
            try:
                _, self._pipe = await self._loop.create_unix_connection(self._new_pipe, self._path)
            except OSError:
                await asyncio.sleep(RECONNECT_S)
        self._pipe.send(self._hello)
        self._pipe.send(self._status)

    def _new_pipe(self) -> Pipe[ToService]:
        return Pipe(messages.decode_to_service, self._received, self._lost)

    def _received(self, pipe: Pipe[ToService], received: list[Message[ToService]]) -> None:
        for message, _ in received:
            match message:
                case CallService():
                    self._on_call(message, msgspec.msgpack.decode(message.params, type=PARAMS[message.method]))
                case Forget(call_id):
                    self._on_forget(call_id)

    def _lost(self, pipe: Pipe[ToService], error: Exception | None) -> None:
        if pipe is not self._pipe:
            return
        if error is not None and not isinstance(error, OSError):
            raise error  # a bug: the process ends with it
        self._pipe = None
        self._on_forget(None)
        self._connecting = start_task(self._connect())
