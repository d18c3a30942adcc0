"""Callers of the simulation: quick and slow actions, sequential and concurrent, short timeouts, and
early disconnects."""

from __future__ import annotations

from typing import Any

from tests.simulation.client import Connection
from tests.simulation.judge import Asked, Judge
from tests.simulation.net import Network

QUICK = ("Ping", "Getvar", "DBGet", "DBPut", "CoreStatus", "QueueStatus", "UserEvent", "Hangup", "Originate")
SLOW = ("CoreShowChannels", "Command2", "Originate", "PJSIPShowEndpoints")
FIELDS = {
    "Getvar": {"Variable": "A"},
    "QueueStatus": {"Queue": "support"},
    "Hangup": {"Channel": "Local/1"},
    "UserEvent": {"UserEvent": "X"},
}
TIMEOUTS_S = (0.001, 0.05, 0.5, 2.0, 5.0, 12.0)
OTHER_S = 3.0
LATEST_S = 2.0
"""Seconds after its timeout at which a client gives a call up (clients/README.md)."""


class Caller:
    """One program with one connection. `pace`: calls a second."""

    def __init__(self, network: Network, judge: Judge, name: str, uid: int, servers: list[str], path: str) -> None:
        self._scheduler = network.scheduler
        self._judge = judge
        self._name = name
        self._servers = servers
        self._random = self._scheduler.generator(f"caller {name}")
        self._pace = self._random.choice((0.3, 1.0, 5.0))
        self._bursts = self._random.choice((0.0, 0.05))
        self.connection = Connection(network, path, name, uid)
        self._open: dict[int, Asked] = {}
        self.is_calling = True
        self.stalls: list[tuple[float, float]] = []
        self._next()

    @property
    def open_calls(self) -> list[Asked]:
        return list(self._open.values())

    def stall(self, seconds: float) -> None:
        """Read no answers for a while."""
        self.connection.read(False)
        self.stalls.append((self._scheduler.now, self._scheduler.now + seconds))
        self._scheduler.after(seconds, self.connection.read, True)

    def disconnect(self) -> None:
        self.connection.disconnect()

    def _next(self) -> None:
        self._scheduler.after(self._random.expovariate(self._pace), self._next)
        if not self.is_calling or not self.connection.is_up:
            return
        for _ in range(30 if self._random.random() < self._bursts else 1):
            if self.connection.is_up:  # it may end in the middle of a burst
                self.call()
        if not self.connection.is_up:
            return
        if self._random.random() < 0.05:
            self._ask(self._random.choice(("ping", "servers", "actions")))
        if self._open and self._random.random() < 0.02:
            self._cancel(self._random.choice(list(self._open)))

    def call(self, timeout: float | None = None) -> None:
        """Send an action of some kind; timeout: in seconds, one at random when left out."""
        rng = self._random
        action = rng.choice(QUICK) if rng.random() < 0.8 else rng.choice(SLOW)
        marker = f"{self._name}-{self._judge.next_number()}"
        fields: dict[str, Any] = {**FIELDS.get(action, {}), "Marker": marker}
        until = None
        if action == "Originate":
            fields |= {"Async": "true", "Channel": "Local/1"}
            until = "OriginateResponse" if rng.random() < 0.5 else None
        own_id = f"own-{marker}" if rng.random() < 0.2 else None
        if own_id is not None:
            fields["ActionID"] = own_id
        server, timeout = rng.choice(self._servers), timeout or rng.choice(TIMEOUTS_S)
        asked = Asked(marker, server, timeout, until, own_id, self._scheduler.now, self.connection, self.stalls)
        params: dict[str, Any] = {"action": action, "fields": fields, "server": server, "timeout": timeout}
        if until is not None:
            params["until"] = until
        self._judge.ask(asked)
        box: list[int] = []
        box.append(self.connection.request("action", params, rng.random() < 0.25, lambda reply: self._end(asked, box, reply)))
        if not asked.outcome:  # the connection may have ended just now
            self._open[box[0]] = asked
        self._scheduler.after(asked.timeout + LATEST_S, self._check, box[0], asked)

    def _ask(self, method: str) -> None:
        """A request that amid answers itself, or an action without a marker."""
        params = {"server": self._random.choice(self._servers), "timeout": OTHER_S} if method == "actions" else {}
        timeout = OTHER_S if method == "actions" else 0.0
        asked = Asked(method, "", timeout, None, None, self._scheduler.now, self.connection, self.stalls)
        self.connection.request(method, params, False, lambda reply: self._judge.end_question(asked, reply))

    def _end(self, asked: Asked, box: list[int], reply: dict[str, Any] | None) -> None:
        for request_id in box:
            self._open.pop(request_id, None)
        self._judge.end(asked, reply)

    def _check(self, request_id: int, asked: Asked) -> None:
        """A client's own timeout: the broker may have died with the call."""
        if self._open.get(request_id) is not asked:
            return
        if self._judge.may_be_unanswered(asked):
            self._scheduler.after(LATEST_S, self._check, request_id, asked)
        else:
            self._scheduler.fail(f"call {asked.marker} has no outcome {LATEST_S:g} s after its timeout of {asked.timeout:g} s")

    def _cancel(self, request_id: int) -> None:
        asked = self._open[request_id]
        asked.cancelled = True

        def ended(reply: dict[str, Any] | None) -> None:
            if reply is not None and "result" in reply:
                self._judge.cancel(asked, reply["result"])

        self.connection.request("cancel", {"id": request_id}, False, ended)
