"""Programs that subscribe, with the client's own rules (`amid.client.feed`): they detect loss, and fetch what was lost."""

from __future__ import annotations

from typing import Any

from amid import wire
from amid.client.feed import Feed
from amid.errors import AmidError
from tests.simulation.client import Connection
from tests.simulation.event_judge import EventJudge
from tests.simulation.loop import Scheduler
from tests.simulation.net import Network
from tests.simulation.pubsub import Hub, Link

REPLAY_S = 5.0
LATEST_S = 2.0


class Subscriber:
    """To all events of a server, or to some names."""

    def __init__(
        self, network: Network, hub: Hub, judge: EventJudge, name: str, server: str, names: list[str], run_dir: str
    ) -> None:
        self._scheduler: Scheduler = network.scheduler
        self._judge = judge
        self.name = name
        self.server = server
        self.names = frozenset(names)
        path = f"{run_dir}/{(wire.events_socket if names else wire.stream_socket)(server)}"
        listed = [{"name": server, "state": "connecting", "events": path, "stream": path}]
        self._feed = Feed(listed, server, names, True, self._scheduler.now)
        self._connection = Connection(network, f"{run_dir}/{wire.RPC_SOCKET}", f"{name}-replay", 2000)
        self._asking: int | None = None
        self._is_paused = False
        self._link = Link(self._scheduler, name, self._feed.topics, self._take)
        self._link.connect(hub, path)

    @property
    def is_behind(self) -> bool:
        """Whether it is still fetching what it lost."""
        return self._feed.ask is not None

    def stall(self, seconds: float) -> None:
        self._link.read(False)
        self._scheduler.after(seconds, self._link.read, True)

    def finish(self) -> None:
        self._judge.finish(self.name, self.server, self.names)

    def _take(self, frames: list[bytes]) -> None:
        for body in wire.unpack(frames[1]):
            if body["event"] != wire.TICK:
                self._judge.check_body(body)
        self._feed.take(frames, self._scheduler.now)
        self._work()

    def _work(self) -> None:
        while (item := self._feed.next()) is not None:
            self._judge.check_item(self.name, self.names, item)
        if self._feed.ask is not None and self._asking is None and not self._is_paused:
            self._is_paused = True
            self._scheduler.after(self._feed.pause, self._ask)

    def _ask(self) -> None:
        self._is_paused = False
        ask = self._feed.ask
        if ask is None:
            return
        if not self._connection.is_up:
            self._refuse(AmidError("unreachable", "there is no broker"))
            return
        params = {"server": ask.server, "epoch": ask.epoch, "after": ask.after, "limit": ask.limit, "timeout": REPLAY_S}
        self._asking = self._connection.request("replay", params, False, lambda reply: self._fetched(ask.after, reply))
        self._scheduler.after(REPLAY_S + LATEST_S, self._connection.forget, self._asking)

    def _fetched(self, after: int, reply: dict[str, Any] | None) -> None:
        self._asking = None
        if reply is None:
            self._refuse(AmidError("timeout", "no answer"))
        elif "error" in reply:
            self._refuse(AmidError.of(reply["error"]))
        else:
            self._judge.check_replay(self.name, after, reply["result"]["events"])
            self._feed.fetched(reply["result"]["events"], reply["result"]["more"])
            self._work()

    def _refuse(self, error: AmidError) -> None:
        self._feed.refused(error)
        self._work()
