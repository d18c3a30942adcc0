"""A call of the blocking client, on a DEALER socket of its own.

The socket returns to the pool with the reply and is closed without one. A ZeroMQ socket must be
used by one thread at a time, so `cancel` from another thread does not touch it: it wakes the
waiting thread through an eventfd(2), and that thread sends the `cancel` request on the call's
connection. Closing the client wakes all waiting threads in the same way.
"""

from __future__ import annotations

import math
import os
import threading
import time
from typing import Any

import zmq
from zmq.backend import zmq_poll

from amid.client import protocol
from amid.client.protocol import HANDOVER_S
from amid.client.results import Cancelled, Packet
from amid.errors import AmidError


class Signal:
    """An eventfd(2) that stays readable once it is set."""

    def __init__(self) -> None:
        self._descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def fileno(self) -> int:
        return self._descriptor

    def set(self) -> None:
        os.eventfd_write(self._descriptor, 1)

    def __del__(self) -> None:
        os.close(self._descriptor)


class OpenCall:
    """An open call on `socket`, which returns to the pool `idle` with the reply and is closed
    without one. `closing` is set when the client is closed."""

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        idle: list[zmq.Socket[bytes]],
        closing: Signal,
        request_id: int | str,
        request: list[bytes],
        call: protocol.Call,
    ) -> None:
        self._socket = socket
        self._idle = idle
        self._closing = closing
        self._id = request_id
        self._call = call
        self._request: list[bytes] | None = request
        self._deadline = time.monotonic() + min(HANDOVER_S, call.client_timeout_s)

    def result(self) -> Any:
        """Wait for the reply and return its result. Raises `AmidError`."""
        answer = None
        while answer is None:
            answer = self.wait(math.inf)
        return protocol.unwrap(answer)

    def wait(self, seconds: float) -> Packet | None:
        """The reply, or None when it has not arrived within `seconds`. Raises `AmidError` when it
        can no longer arrive."""
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

    @property
    def poll_item(self) -> tuple[zmq.Socket[bytes], int]:
        """The socket and the flag to poll before the next `wait`."""
        return self._socket, zmq.POLLOUT if self._request is not None else zmq.POLLIN

    @property
    def deadline(self) -> float:
        """When the current step (hand-over or reply) times out, in seconds of the monotonic clock."""
        return self._deadline

    def send(self, end: float) -> bool:
        """Send the request, waiting until `end` for a connection. Returns whether it has been sent."""
        if self._request is not None and self._poll(zmq.POLLOUT, end):
            self._socket.send_multipart(self._request, zmq.DONTWAIT)
            self._request = None
            self._deadline = time.monotonic() + self._call.client_timeout_s
        return self._request is None

    def _step(self, end: float) -> Packet | None:
        if not self.send(end):
            if time.monotonic() < self._deadline:
                return None
            raise protocol.no_broker(_endpoint(self._socket))
        while self._poll(zmq.POLLIN, end):
            answer = protocol.reply(self._socket.recv_multipart())
            if answer and answer.get("id") in (self._id, None):  # the socket has one call, so a reply without an id belongs to it
                return answer
        if time.monotonic() < self._deadline:
            return None
        raise protocol.no_answer(self._call, _endpoint(self._socket))

    def _poll(self, flag: int, end: float) -> bool:
        """Whether the socket becomes ready before `end` and the deadline."""
        ready = self._ready([(self._socket, flag), (self._closing, zmq.POLLIN)], end)
        if self._closing in ready:
            raise protocol.closed(self._call)
        return bool(ready)

    def _ready(self, awaited: list[tuple[Any, int]], end: float) -> list[Any]:
        left = min(end, self._deadline) - time.monotonic()
        return [one for one, _ in zmq_poll(awaited, milliseconds(left))]


class CancellableCall(OpenCall):
    """A call that another thread can end with `cancel`. cancel_id: id of the `cancel` request. Call
    `end` when the call is over."""

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        idle: list[zmq.Socket[bytes]],
        closing: Signal,
        request_id: str,
        request: list[bytes],
        call: protocol.Call,
        cancel_id: int,
    ) -> None:
        super().__init__(socket, idle, closing, request_id, request, call)
        self._endpoint = _endpoint(socket)
        self._cancel_call = protocol.cancel(request_id)
        self._cancel = protocol.request(cancel_id, self._cancel_call)
        self._wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._outcome: Cancelled = {"cancelled": 0, "sent": False}

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
            os.close(self._wake_fd)

    def cancel(self, timeout: float) -> Cancelled:
        """Cancel the call from another thread; the result of `Client.cancel`. timeout: in seconds."""
        with self._lock:
            if not self._over.is_set():
                os.eventfd_write(self._wake_fd, 1)
        if not self._over.wait(timeout):
            raise protocol.no_answer(self._cancel_call, self._endpoint)
        return self._outcome

    def _ready(self, awaited: list[tuple[Any, int]], end: float) -> list[Any]:
        while True:
            ready = super()._ready([*awaited, (self._wake_fd, zmq.POLLIN)], end)
            if self._wake_fd not in ready:
                return ready
            os.eventfd_read(self._wake_fd)
            if self._request is not None:
                raise AmidError("cancelled", "the caller cancelled the call before the daemon received it")
            self._socket.send_multipart(self._cancel, zmq.DONTWAIT)


def milliseconds(seconds: float) -> int:
    """Seconds as a timeout for poll(2), rounded up so that a short wait does not spin; 0 does not
    block."""
    return math.ceil(max(0.0, seconds) * 1000)


def _endpoint(socket: zmq.Socket[bytes]) -> str:
    last = socket.getsockopt(zmq.LAST_ENDPOINT)
    return last.rstrip(b"\0").decode() if isinstance(last, bytes) else str(last)
