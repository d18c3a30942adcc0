"""A call of the blocking client, on a DEALER socket of its own.

The socket goes back to those that are idle with the answer, and is closed without one. A call that has a `call_id` also waits
for another thread to cancel it: a ZeroMQ socket is used by one thread at a time, so `cancel` does not touch it, but wakes the
thread that waits by an eventfd(2), and that thread sends the request `cancel` on the connection of the call.
"""

from __future__ import annotations

import math
import os
import threading
import time
from typing import Any

import zmq

from amid.client import rules
from amid.client.rules import HANDOVER, Packet
from amid.errors import AmidError


class OpenCall:
    """A call under way on `socket`, which goes to `idle` with the answer and is closed without one."""

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        idle: list[zmq.Socket[bytes]],
        request_id: int | str,
        request: list[bytes],
        call: rules.Call,
    ) -> None:
        self._socket = socket
        self._idle = idle
        self._id = request_id
        self._call = call
        self._request: list[bytes] | None = request
        self._deadline = time.monotonic() + min(HANDOVER, call.patience)

    def result(self) -> Any:
        """Wait for as long as the call may take. Raises `AmidError`."""
        answer = None
        while answer is None:
            answer = self.wait(math.inf)
        return rules.outcome(answer)

    def wait(self, seconds: float) -> Packet | None:
        """The reply; None when it has not come within `seconds`, and may still come. Raises `AmidError` when it will not."""
        end = time.monotonic() + seconds
        try:
            answer = self._step(end)
        except BaseException:
            self.close()
            raise
        if answer is not None:
            self._idle.append(self._socket)
        return answer

    def close(self) -> None:
        self._socket.close()

    def _step(self, end: float) -> Packet | None:
        if self._request is not None:
            if not self._poll(zmq.POLLOUT, end):
                if time.monotonic() < self._deadline:
                    return None
                raise rules.no_broker(_endpoint(self._socket))
            self._socket.send_multipart(self._request, zmq.DONTWAIT)
            self._request = None
            self._deadline = time.monotonic() + self._call.patience
        while self._poll(zmq.POLLIN, end):
            answer = rules.reply(self._socket.recv_multipart())
            if answer and answer.get("id") in (self._id, None):  # one without an id can only be ours: the socket has one call
                return answer
        if time.monotonic() < self._deadline:
            return None
        raise rules.no_answer(self._call, _endpoint(self._socket))

    def _poll(self, flag: int, end: float) -> bool:
        """Whether the socket is ready before `end` and the deadline."""
        left = min(end, self._deadline) - time.monotonic()
        return bool(self._socket.poll(milliseconds(left), flag))


class CancellableCall(OpenCall):
    """One that another thread may end by `cancel`. cancel_id: the id of the request for that. `end` when it is over."""

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        idle: list[zmq.Socket[bytes]],
        request_id: str,
        request: list[bytes],
        call: rules.Call,
        cancel_id: int,
    ) -> None:
        super().__init__(socket, idle, request_id, request, call)
        self._endpoint = _endpoint(socket)
        self._cancel_call = rules.cancel(request_id)
        self._cancel = rules.request(cancel_id, self._cancel_call)
        self._wakes = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._outcome = {"cancelled": 0, "sent": False}

    def result(self) -> Any:
        try:
            return super().result()
        except AmidError as error:
            if error.kind == "cancelled":
                self._outcome = {"cancelled": 1, "sent": error.sent}
            raise

    def end(self) -> None:
        with self._lock:
            self._over.set()
            os.close(self._wakes)

    def cancel(self, timeout: float) -> Packet:
        """From another thread: what `cancel` answers."""
        with self._lock:
            if not self._over.is_set():
                os.eventfd_write(self._wakes, 1)
        if not self._over.wait(timeout):
            raise rules.no_answer(self._cancel_call, self._endpoint)
        return self._outcome

    def _poll(self, flag: int, end: float) -> bool:
        poller = zmq.Poller()
        poller.register(self._socket, flag)
        poller.register(self._wakes, zmq.POLLIN)
        while True:
            ready = dict(poller.poll(milliseconds(min(end, self._deadline) - time.monotonic())))
            if self._wakes not in ready:
                return self._socket in ready
            os.eventfd_read(self._wakes)
            if self._request is not None:
                raise AmidError("cancelled", "its caller cancelled it before it was with the daemon")
            self._socket.send_multipart(self._cancel, zmq.DONTWAIT)


def milliseconds(seconds: float) -> int:
    """For a poll: rounded up, so that it does not spin; 0 only looks."""
    return math.ceil(max(0.0, seconds) * 1000)


def _endpoint(socket: zmq.Socket[bytes]) -> str:
    last = socket.getsockopt(zmq.LAST_ENDPOINT)
    return last.rstrip(b"\0").decode() if isinstance(last, bytes) else str(last)
