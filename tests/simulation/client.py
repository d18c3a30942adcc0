"""A connection to the broker as a DEALER socket has it: ZMTP 3 with the bytes of `amid.rpc.zmtp`, requests, and their replies."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

from amid import wire
from amid.rpc.zmtp import encode_frames
from tests.simulation.loop import Scheduler
from tests.simulation.net import Endpoint, Network

GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
READY = b"\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\0"
MORE, LONG, COMMAND = 1, 2, 4
RECONNECT_S = 0.1
TURN_S = 0.001
"""Seconds in which a full buffer is read and filled again."""

OnReply = Callable[[dict[str, Any] | None], object]


class Connection:
    """Connects, again and again. A request's reply goes to its function; None when the connection ended first, or the reply is
    given up."""

    def __init__(self, network: Network, path: str, name: str, uid: int) -> None:
        self._network = network
        self._scheduler: Scheduler = network.scheduler
        self._path = path
        self._name = name
        self._uid = uid
        self._random = self._scheduler.generator(f"client {name}")
        self._open: dict[int, OnReply] = {}
        self._forgotten: set[int] = set()
        self._last_id = 0
        self.is_reading = True
        self.is_up = False
        self._transfer_s = 0.0
        """Seconds for all replies so far to pass through the connection's buffer."""
        self._endpoint: Endpoint | None = None
        self._connect()

    @property
    def delay_s(self) -> float:
        """Seconds so far for which a reply had to wait without the broker's fault: earlier ones passed, or another process
        used the only core of the simulated machine."""
        return self._transfer_s + self._scheduler.elsewhere_s

    def request(self, method: str, params: dict[str, Any], as_json: bool, on_reply: OnReply) -> int:
        """Send a request; the connection must be up."""
        self._last_id += 1
        request = {"id": self._last_id, "method": method, "params": params}
        body = json.dumps(request).encode() if as_json else wire.pack(request)
        self._open[self._last_id] = on_reply
        self._send(encode_frames([b"", body]))
        return self._last_id

    def forget(self, request_id: int) -> None:
        """Ignore the reply to this request."""
        on_reply = self._open.pop(request_id, None)
        if on_reply is not None:
            self._forgotten.add(request_id)
            on_reply(None)

    def read(self, is_reading: bool) -> None:
        self.is_reading = is_reading
        self._work()

    def disconnect(self) -> None:
        """Disconnect with open requests, and connect again."""
        if self.is_up:
            self._lose()

    def _connect(self) -> None:
        self._in, self._out, self.is_up, self._greeted = bytearray(), bytearray(), False, False
        try:
            self._endpoint = self._network.connect(("unix", self._path), self._name, (self._uid, self._uid))
        except ConnectionRefusedError:
            self._scheduler.after(RECONNECT_S * self._random.uniform(1, 2), self._connect)
            return
        self._endpoint.watch(lambda: self._scheduler.after(self._random.random() * 0.0005, self._work))
        self._send(GREETING)

    def _lose(self) -> None:
        self.is_up = False
        if self._endpoint is not None:
            self._endpoint.destroy()
        lost, self._open = self._open, {}
        self._scheduler.after(RECONNECT_S * self._random.uniform(1, 2), self._connect)
        for on_reply in lost.values():
            on_reply(None)

    def _send(self, data: bytes) -> None:
        self._out += data
        self._work()

    def _work(self) -> None:
        endpoint = self._endpoint
        if endpoint is None or endpoint.is_closed:
            return
        try:
            while self._out:
                del self._out[: endpoint.send(bytes(self._out))]
        except BlockingIOError:
            pass
        except OSError:
            self._lose()
            return
        while self.is_reading and endpoint.is_readable:
            try:
                data = endpoint.recv(65536)
            except OSError:
                data = b""
            if not data:
                self._lose()
                return
            self._transfer_s += len(data) / endpoint.incoming.capacity * TURN_S
            self._in += data
            self._parse()

    def _parse(self) -> None:
        if not self._greeted and len(self._in) >= len(GREETING):
            del self._in[: len(GREETING)]
            self._greeted = True
            self._out += encode_frames([READY], COMMAND)
            self._scheduler.after(0.0, self._work)
        while self._greeted and (found := self._next_frame()) is not None:
            flags, body = found
            if flags & COMMAND:
                self.is_up = True
            elif not flags & MORE:
                self._reply(wire.unpack_json(body) if wire.is_json(body) else wire.unpack(body))

    def _next_frame(self) -> tuple[int, bytes] | None:
        data = self._in
        if len(data) < 2:
            return None
        begin, size = 2, data[1]
        if data[0] & LONG:
            if len(data) < 9:
                return None
            begin, size = 9, struct.unpack_from(">Q", data, 1)[0]
        if len(data) < begin + size:
            return None
        flags, body = data[0], bytes(data[begin : begin + size])
        del data[: begin + size]
        return flags, body

    def _reply(self, reply: dict[str, Any]) -> None:
        on_reply = self._open.pop(reply["id"], None)
        if on_reply is not None:
            on_reply(reply)
        elif reply["id"] in self._forgotten:  # the broker hung for longer than its client waited
            self._forgotten.remove(reply["id"])
        else:
            self._scheduler.fail(f"{self._name}: a reply to no open request: {reply}")
