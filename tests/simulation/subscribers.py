"""Consumers of events: with the method `events`, by the client's rules (`amid.client.event`), and
by subscription.

A puller must get every event or a gap. A subscriber may lose events, but what it gets must be
correct.
"""

from __future__ import annotations

from typing import Any

from amid import wire
from amid.client.event import PAUSE_S, WAIT_S, EventCursor
from amid.errors import AmidError
from tests.simulation.client import Connection
from tests.simulation.event_judge import EventJudge
from tests.simulation.loop import Scheduler
from tests.simulation.net import Network
from tests.simulation.pubsub import Hub, Link

LATEST_S = 1.0
"""Seconds behind its timeout after which an answer is given up."""


class Subscriber:
    """To all events of a server, or to some names."""

    def __init__(
        self, network: Network, hub: Hub, judge: EventJudge, name: str, server: str, names: list[str], run_dir: str
    ) -> None:
        self._scheduler: Scheduler = network.scheduler
        self._random = self._scheduler.generator(f"puller {name}")
        self._judge = judge
        self.name = name
        self.server = server
        self.names = frozenset(names)
        self._position = EventCursor(server, names)
        self._connection = Connection(network, f"{run_dir}/{wire.RPC_SOCKET}", f"{name}-pull", 2000)
        self._is_stalled = self.is_asking = False
        topics = [wire.event_topic(server, one) for one in names] or [wire.stream_topic(server)]
        self._link = Link(self._scheduler, name, [*topics, wire.tick_topic(server)], self._published)
        self._link.connect(hub, f"{run_dir}/{(wire.events_socket if names else wire.stream_socket)(server)}")
        self._ask()

    def stall(self, seconds: float) -> None:
        self._link.read(False)
        self._is_stalled = True
        self._scheduler.after(seconds, self._go_on)

    def finish(self) -> None:
        self._judge.finish(self.name, self.server, self.names)

    def _published(self, frames: list[bytes]) -> None:
        for body in wire.unpack(frames[1]):
            if body["event"] != wire.TICK:
                self._judge.check_body(body)

    def _go_on(self) -> None:
        self._is_stalled = False
        self._link.read(True)
        self._ask()

    def _ask(self) -> None:
        if self._is_stalled or self.is_asking:
            return
        if not self._connection.is_up:
            self._refused(AmidError("unreachable", "there is no broker"))
            return
        self.is_asking = True
        call = self._position.request(self._random.choice([0.0, 0.3, WAIT_S]))
        limit = self._random.choice([1, 10, 1000])
        params = {**call.params, "limit": limit}
        asking = self._connection.request("events", params, self._random.random() < 0.3, lambda reply: self._pulled(reply, limit))
        self._scheduler.after(call.params["timeout"] + LATEST_S, self._connection.forget, asking)

    def _pulled(self, reply: dict[str, Any] | None, limit: int) -> None:
        self.is_asking = False
        if reply is None:
            self._refused(AmidError("timeout", "no answer"))
        elif "error" in reply:
            self._refused(AmidError.of(reply["error"]))
        else:
            page = reply["result"]
            self._judge.check_page(self.name, self.names, page, limit)
            for item in self._position.take(page):
                self._judge.check_item(self.name, self.names, item)
            self._ask()

    def _refused(self, error: AmidError) -> None:
        """A server may be taken out of the configuration for a while; this program asks again for that, too."""
        wait = PAUSE_S if error.kind == "unknown_server" else self._position.retry_after_s(error)
        self._scheduler.after(wait, self._ask)
