"""A stand-in for the daemon: a broker's ROUTER socket in a thread, with answers set by the test."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, cast

import zmq

from amid import wire
from amid.client.results import EventBody
from amid.errors import AmidError

SILENCE = object()
"""What a method returns to give no answer."""
WAIT = object()
"""What it returns to be asked again, until the timeout in its params is over."""


def answered(**more: Any) -> dict[str, Any]:
    """The result of an action."""
    response = {"Response": "Success"}
    empty: dict[str, Any] = {"server": "pbx1", "action_id": "x", "response": response, "events": [], "complete": None}
    return {**empty, "output": [], "until": None, "elapsed": 0.001, **more}


def body(seq: int, event: str = "Hangup", epoch: int = 1, **fields: Any) -> EventBody:
    """An event of pbx1 as the daemon gives it."""
    position = {"epoch": epoch, "seq": seq, "prev": seq - 1}
    return cast(EventBody, {"server": "pbx1", **position, "time": 1000.25, "event": event, "fields": fields})


class StandIn:
    """`methods` maps a method's name to what answers it: a function of its params, which returns a result or raises `AmidError`.

    asked: every request, in order. `publish` adds events; numbers that are left out are no longer held. reply: may be replaced to
    send something odd.
    """

    def __init__(self, **methods: Callable[[dict[str, Any]], Any]) -> None:
        self.run_dir = tempfile.mkdtemp(prefix="amid-")
        self.methods = {"servers": lambda params: [self.server()], "ping": lambda params: {}, "events": self.pull, **methods}
        self.methods.setdefault("cancel", lambda params: {"cancelled": 0, "sent": False})
        self.asked: list[dict[str, Any]] = []
        self.state = "up"
        self.reply: Callable[[Any, bytes], list[bytes]] = lambda request_id, encoded: [encoded]
        self._events: list[EventBody] = []
        self._waiting: list[tuple[float, bytes, dict[str, Any]]] = []
        self._ends = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def pull(self, params: dict[str, Any]) -> Any:
        """A page, or WAIT while there is no event for it."""
        last = self._events[-1] if self._events else {"epoch": 1, "seq": 0}
        after = params.get("after") or {"epoch": last["epoch"], "seq": last["seq"]}
        params["after"] = after
        behind = [one for one in self._events if (one["epoch"], one["seq"]) > (after["epoch"], after["seq"])]
        names = [name.lower() for name in params.get("names") or ()]
        events = [one for one in behind if not names or one["event"].lower() in names][: params.get("limit", 1000)]
        end = events[-1] if events else after
        missed: int | None = 0
        if behind:
            first = behind[0]
            missed = first["seq"] - after["seq"] - 1 if first["epoch"] == after["epoch"] else None
        page = {"server": "pbx1", "epoch": end["epoch"], "seq": end["seq"], "events": events, "missed": missed}
        return {**page, "more": len(behind) > len(events)} if events or not params.get("timeout") else WAIT

    def server(self) -> dict[str, Any]:
        sockets = {"events": wire.ipc(self.run_dir, "events-pbx1"), "stream": wire.ipc(self.run_dir, "stream-pbx1")}
        lanes = {"free": 1, "busy": 0, "limit": 4}
        known = {"name": "pbx1", "state": self.state, "detail": "", "asterisk": "22.10.0", "epoch": 1, "seq": len(self._events)}
        return {**known, **sockets, "lanes": lanes, "queued": 0, "since": 1000.0}

    def publish(self, *events: EventBody) -> None:
        self._events = [*self._events, *events]

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
            self._ready.set()
            while not self._ends.is_set():
                if rpc.poll(5):
                    identity, _, payload = rpc.recv_multipart()
                    request = wire.decode_request(payload)
                    self.asked.append(request)
                    self._waiting.append((time.monotonic() + request["params"].get("timeout", 0), identity, request))
                self._waiting = [one for one in self._waiting if not self._answer(rpc, *one)]
            rpc.close(linger=0)

    def _answer(self, rpc: zmq.Socket[bytes], end: float, identity: bytes, request: dict[str, Any]) -> bool:
        """Whether the request is done with."""
        params = request["params"]
        try:
            result = self.methods[request["method"]](params)
            if result is WAIT and time.monotonic() >= end:
                result = self.methods[request["method"]]({**params, "timeout": 0})
            answer = wire.result(request["id"], result)
        except AmidError as failure:
            result, answer = None, wire.error(request["id"], failure)
        if result is WAIT:
            return False
        if result is not SILENCE:
            for frame in self.reply(request["id"], wire.pack(answer)):
                rpc.send_multipart([identity, b"", frame])
        return True
