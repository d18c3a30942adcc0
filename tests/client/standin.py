"""A stand-in for the daemon: a broker's ROUTER and a server's two XPUB sockets in one thread, which say what a test tells.

It speaks through `amid.wire` like the real one, and answers a new subscription to ticks with a tick at once, so that no test
waits for a clock.
"""

from __future__ import annotations

import queue
import shutil
import tempfile
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import zmq

from amid import wire
from amid.errors import AmidError

SILENCE = object()
"""What a method returns to give no answer."""


def answered(**more: Any) -> dict[str, Any]:
    """The result of an action."""
    response = {"Response": "Success"}
    empty: dict[str, Any] = {"server": "pbx1", "action_id": "x", "response": response, "events": [], "complete": None}
    return {**empty, "output": [], "until": None, "elapsed": 0.001, **more}


def body(seq: int, event: str = "Hangup", nth: int | None = None, epoch: int = 1, **fields: Any) -> dict[str, Any]:
    """An event of pbx1 as it is published."""
    numbers = {"epoch": epoch, "seq": seq, "nth": seq if nth is None else nth}
    return {"server": "pbx1", **numbers, "time": 1000.25, "event": event, "fields": fields}


class StandIn:
    """`methods` maps a method's name to what answers it: a function of its params, which returns a result or raises `AmidError`.

    asked: every request, in order. held: the events that `replay` still has. reply: may be replaced to send something odd.
    """

    def __init__(self, **methods: Callable[[dict[str, Any]], Any]) -> None:
        self.run_dir = tempfile.mkdtemp(prefix="amid-")
        self.methods = {"servers": lambda params: [self.server()], "ping": lambda params: {}, "replay": self.replay, **methods}
        self.held: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []
        self.seq = 0
        self.counts: dict[str, int] = {}
        self.state = "up"
        self.reply: Callable[[Any, bytes], list[bytes]] = lambda request_id, encoded: [encoded]
        self._todo: queue.SimpleQueue[tuple[str, list[bytes]]] = queue.SimpleQueue()
        self._ends = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def replay(self, params: dict[str, Any]) -> dict[str, Any]:
        epoch = [event for event in self.held if event["epoch"] == params["epoch"]]
        oldest = epoch[0]["seq"] if epoch else None
        if oldest is None or params["after"] < oldest - 1:
            raise AmidError("gone", "no longer held", oldest=oldest)
        left = [event for event in epoch if event["seq"] > params["after"]]
        return {"events": left[: params["limit"]], "more": len(left) > params["limit"]}

    def server(self) -> dict[str, Any]:
        sockets = {"events": wire.ipc(self.run_dir, "events-pbx1"), "stream": wire.ipc(self.run_dir, "stream-pbx1")}
        lanes = {"free": 1, "busy": 0, "limit": 4}
        known = {"name": "pbx1", "state": self.state, "detail": "", "asterisk": "22.10.0", "epoch": 1, "seq": self.seq}
        return {**known, **sockets, "lanes": lanes, "queued": 0, "since": 1000.0}

    def publish(self, *events: dict[str, Any]) -> None:
        """On both sockets, as a reader does."""
        self._todo.put(("stream", [wire.stream_topic("pbx1"), wire.pack(list(events))]))
        for event in events:
            self._todo.put(("events", [wire.event_topic("pbx1", event["event"]), wire.pack([event])]))
            self.seq, self.counts[event["event"]] = event["seq"], event["nth"]

    def tick(self, epoch: int = 1) -> None:
        message = [wire.tick_topic("pbx1"), wire.pack([{**body(self.seq, wire.TICK, 0, epoch), "counts": self.counts}])]
        for name in ("stream", "events"):
            self._todo.put((name, message))

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(5)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ends.set()
        self._thread.join(5)
        shutil.rmtree(self.run_dir)

    def _run(self) -> None:
        with zmq.Context() as context, context.socket(zmq.ROUTER) as rpc:
            rpc.bind(wire.ipc(self.run_dir, wire.RPC_SOCKET))
            sockets = {name: context.socket(zmq.XPUB) for name in ("stream", "events")}
            for name, socket in sockets.items():
                socket.set(zmq.XPUB_VERBOSE, 1)
                socket.bind(wire.ipc(self.run_dir, f"{name}-pbx1"))
            self._ready.set()
            while not self._ends.is_set():
                self._step(rpc, sockets)
            for socket in (rpc, *sockets.values()):
                socket.close(linger=0)

    def _step(self, rpc: zmq.Socket[bytes], sockets: dict[str, zmq.Socket[bytes]]) -> None:
        if rpc.poll(5):
            self._answer(rpc)
        for socket in sockets.values():
            while socket.poll(0):
                if socket.recv().startswith(b"\x01tick."):
                    self.tick()
        while not self._todo.empty():
            name, frames = self._todo.get()
            sockets[name].send_multipart(frames)

    def _answer(self, rpc: zmq.Socket[bytes]) -> None:
        identity, empty, payload = rpc.recv_multipart()
        request = wire.decode_request(payload)
        self.asked.append(request)
        try:
            result = self.methods[request["method"]](request["params"])
            answer = wire.result(request["id"], result)
        except AmidError as failure:
            result, answer = None, wire.error(request["id"], failure)
        if result is not SILENCE:
            for frame in self.reply(request["id"], wire.pack(answer)):
                rpc.send_multipart([identity, empty, frame])
