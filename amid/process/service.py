"""A service's end of its link to the broker, over which it receives calls and answers them.

The calls of a broker that has ended have no caller any more: `on_forget` gets None.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from amid import wire
from amid.errors import AmidError
from amid.process.broker_link import BrokerLink
from amid.process.pipe import Pipe
from amid.rpc import messages
from amid.rpc.messages import CallService, Done, Failure, Forget, PassOn, ServiceHello, ServiceStatus, ToService
from amid.rpc.requests import PARAMS, Params


class Service(BrokerLink[ToService]):
    """on_call: takes a call and its params; an answer must follow before its deadline.
    on_forget: takes the id of a call without a waiting caller, None for all calls. on_room: called
    when large results may be sent again after `is_backlogged`."""

    def __init__(
        self,
        run_dir: str,
        hello: ServiceHello,
        on_call: Callable[[CallService, Params], object],
        on_forget: Callable[[int | None], object],
        on_room: Callable[[], object] = lambda: None,
    ) -> None:
        self._on_call = on_call
        self._on_forget = on_forget
        self._status = ServiceStatus(hello.name, {})
        decode = messages.decode_to_service
        super().__init__(run_dir, hello, decode, self._dispatch, self._broker_connected, on_room)

    def answer(self, call: CallService, result: Any) -> None:
        """Send the result of a call."""
        self.answer_encoded(call.call_id, wire.pack_json(result) if call.as_json else wire.pack(result))

    def answer_encoded(self, call_id: int, result: bytes) -> None:
        """Send a result that is encoded already, in JSON if `CallService.as_json`, else in
        MessagePack."""
        self.send(Done(call_id), result)

    def refuse(self, call: CallService, error: AmidError) -> None:
        self.send(Done(call.call_id, Failure(error.kind, error.message, error.sent, {"server": call.server})))

    def pass_on(self, call: CallService, epoch: int, seq: int) -> None:
        """Let the reader answer a request for events, from after this event on."""
        self.send(PassOn(call.call_id, epoch, seq))

    def report(self, report: dict[str, Any]) -> None:
        """Set what `status` shows of this service. A new broker gets it as well."""
        self._status = ServiceStatus(self._status.name, report)
        self.send(self._status)

    def _broker_connected(self) -> None:
        self.send(self._status)

    def _lost(self, pipe: Pipe[ToService], error: Exception | None) -> None:
        if error is not None and not isinstance(error, OSError):
            raise error  # a bug: the process ends with it
        super()._lost(pipe, error)
        self._on_forget(None)

    def _dispatch(self, message: ToService) -> None:
        match message:
            case CallService():
                self._on_call(message, msgspec.msgpack.decode(message.params, type=PARAMS[message.method]))
            case Forget(call_id):
                self._on_forget(call_id)
