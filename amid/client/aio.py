"""The asyncio client: a thin shell on `rules` that moves bytes over zmq.asyncio sockets.

All calls share one DEALER socket; a task gives each reply to the call whose id it bears, and drops what nobody waits for any
more. With ZMQ_IMMEDIATE nothing is queued for a broker that is not there, and so `unreachable` really means that nothing was
sent.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self

import zmq
import zmq.asyncio

from amid.client import discovery, feed, rules
from amid.client.curve import Curve, connect, open_dealer
from amid.client.feed import Event, Feed
from amid.client.rules import HANDOVER, TIMEOUT, Packet, Text
from amid.errors import AmidError
from amid.events.sequence import Gap


class AsyncClient:
    """`Client` for asyncio: the same methods, to be awaited; for one event loop. See `amid.Client`."""

    def __init__(self, run_dir: str | None = None, *, endpoint: str | None = None, curve: Curve | None = None) -> None:
        self._place = (run_dir, endpoint)
        self._curve = curve
        self._endpoint = ""
        self._socket: zmq.asyncio.Socket | None = None
        self._receiver: asyncio.Task[None] | None = None
        self._waiting: dict[Any, asyncio.Future[Packet]] = {}
        self._streams: set[AsyncEvents] = set()
        self._ids = itertools.count(1)

    async def action(
        self,
        name: Text,
        /,
        fields: Mapping[str, Any] | None = None,
        *,
        server: str | None = None,
        timeout: float = TIMEOUT,
        until: str | None = None,
        call_id: str | None = None,
        **headers: Any,
    ) -> Packet:
        """Send an action and return its whole answer; see `Client.action`."""
        result: Packet = await self.call(rules.action(name, fields, headers, server, timeout, until, call_id))
        return result

    async def command(self, text: Text, server: str | None = None, timeout: float = TIMEOUT) -> list[Text]:
        """The output lines of an Asterisk CLI command."""
        return rules.output(await self.call(rules.command(text, server, timeout)))

    async def servers(self, timeout: float = TIMEOUT) -> list[Packet]:
        """Each server's name, state, version, epoch, endpoints, lanes and queue."""
        return rules.reached(await self.call(rules.servers(timeout)), self._place[1])

    async def status(self, timeout: float = TIMEOUT) -> Packet:
        """Servers, processes, counters, version and uptime of the daemon."""
        result: Packet = await self.call(rules.status(timeout))
        return result

    async def actions(self, server: str | None = None, timeout: float = TIMEOUT) -> list[Packet]:
        """The actions that this Asterisk offers: `name`, `synopsis`, `privilege`."""
        result: list[Packet] = await self.call(rules.actions(server, timeout))
        return result

    async def replay(
        self, server: str, epoch: int, after: int, limit: int = 1000, timeout: float = TIMEOUT
    ) -> tuple[list[Event], bool]:
        """Events after number `after` once more, at most `limit`, and whether there are more. Kind `gone`: no longer held."""
        page = await self._replay(server, epoch, after, limit, timeout)
        return [feed.event(body) for body in page["events"]], page["more"]

    async def restart(self, server: str, timeout: float = TIMEOUT) -> Packet:
        """Replace a server's reader."""
        result: Packet = await self.call(rules.restart(server, timeout))
        return result

    async def cancel(self, call_id: str, timeout: float = TIMEOUT) -> Packet:
        """End the open call of this client that was given this `call_id`; see `Client.cancel`."""
        result: Packet = await self.call(rules.cancel(call_id, timeout))
        return result

    async def audit(self, after: int = 0, limit: int = 1000, timeout: float = TIMEOUT) -> Packet:
        """A page of the audit trail, for callers with `admin`; see `Client.audit`."""
        result: Packet = await self.call(rules.audit(after, limit, timeout))
        return result

    async def ping(self, timeout: float = TIMEOUT) -> Packet:
        """Ask the daemon, not Asterisk, for a sign of life."""
        result: Packet = await self.call(rules.ping(timeout))
        return result

    def events(self, *names: str, server: str | None = None, gaps: bool = False, timeout: float | None = None) -> AsyncEvents:
        """Events as they come; see `Client.events`. In effect after `async with` or the first `anext`."""
        return AsyncEvents(self, self._streams, names, server, gaps, timeout, self._curve)

    async def close(self) -> None:
        """Close the socket and the streams of `events`. A call that is still under way gets no answer."""
        for stream in tuple(self._streams):
            await stream.close()
        if self._receiver:
            self._receiver.cancel()
            await asyncio.wait({self._receiver})
            self._receiver = None
        if self._socket:
            self._socket.close()
            self._socket = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def _replay(self, server: str, epoch: int, after: int, limit: int, timeout: float = TIMEOUT) -> Packet:
        page: Packet = await self.call(rules.replay(server, epoch, after, limit, timeout))
        return page

    async def call(self, call: rules.Call) -> Any:
        """Any method, as `rules.Call` says it; the result. Raises `AmidError`.

        The daemon ends the call when the task that awaits it is cancelled: what was not sent to Asterisk by then is not sent.
        """
        if call.call_id is not None and call.call_id in self._waiting:
            raise rules.call_id_in_use(call.call_id)
        request_id = call.call_id or next(self._ids)
        request = rules.request(request_id, call)
        socket = self._connected()
        answer: asyncio.Future[Packet] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = answer
        try:
            await self._hand_over(socket, request, call)
            await asyncio.wait({answer}, timeout=call.patience)
        except asyncio.CancelledError:
            self._cancel(socket, request_id, call)
            raise
        finally:
            del self._waiting[request_id]
        if not answer.done():
            raise rules.no_answer(call, self._endpoint)
        return rules.outcome(answer.result())

    def _cancel(self, socket: zmq.asyncio.Socket, request_id: int | str, call: rules.Call) -> None:
        """Nobody waits for the answer of this either."""
        if not socket.closed:
            request = rules.request(next(self._ids), rules.cancel(request_id, on_behalf_of=call.on_behalf_of))
            sending = asyncio.ensure_future(socket.send_multipart(request, zmq.DONTWAIT))
            sending.add_done_callback(lambda sent: sent.cancelled() or sent.exception())

    def _connected(self) -> zmq.asyncio.Socket:
        if self._socket is None:
            self._endpoint = discovery.find_endpoint(*self._place)
            self._socket = open_dealer(zmq.asyncio.Context.instance(), self._endpoint, self._curve)
            self._receiver = asyncio.create_task(self._receive(self._socket))
        return self._socket

    async def _hand_over(self, socket: zmq.asyncio.Socket, request: list[bytes], call: rules.Call) -> None:
        """`wait` does not cancel, so between "not done" and `cancel` the request cannot go out after all."""
        sending = asyncio.ensure_future(socket.send_multipart(request))
        try:
            await asyncio.wait({sending}, timeout=min(HANDOVER, call.patience))
        finally:
            gone = sending.done()
            sending.cancel()
        if not gone:
            raise rules.no_broker(self._endpoint)

    async def _receive(self, socket: zmq.asyncio.Socket) -> None:
        while True:
            answer = rules.reply(await socket.recv_multipart())
            waiting = answer and self._waiting.get(self._whose(answer))
            if answer and waiting and not waiting.done():
                waiting.set_result(answer)

    def _whose(self, answer: Packet) -> Any:
        """A reply without an id is about a request that could not be read: certainly ours only when there is just one."""
        if answer.get("id") is None and len(self._waiting) == 1:
            return next(iter(self._waiting))
        if answer.get("id") is None:
            rules.log.warning("the daemon could not read one of %d requests: %s", len(self._waiting), answer.get("error"))
        return answer.get("id")


class AsyncEvents(AsyncIterator[Event | Gap]):
    """`Events` for asyncio, made by `AsyncClient.events`: an async iterator, and an async context manager."""

    def __init__(
        self,
        client: AsyncClient,
        opened: set[AsyncEvents],
        names: tuple[str, ...],
        server: str | None,
        gaps: bool,
        timeout: float | None,
        curve: Curve | None,
    ) -> None:
        self._client = client
        self._curve = curve
        self._opened = opened
        self._wanted = (server, names, gaps)
        self._timeout = timeout
        self._feed: Feed | None = None
        self._socket: zmq.asyncio.Socket | None = None
        self._replay: asyncio.Task[Packet] | None = None

    @property
    def missed(self) -> int:
        """How many events are known to be missing."""
        return self._feed.missed if self._feed else 0

    @property
    def gaps(self) -> int:
        """How many gaps there were; of one at a new epoch nobody knows the size."""
        return self._feed.gaps if self._feed else 0

    @property
    def replayed(self) -> int:
        """How many events were lost on the way and fetched once more."""
        return self._feed.replayed if self._feed else 0

    async def open(self) -> None:
        """Subscribe, and wait, for 2 s at most, until the subscription is in effect."""
        self._feed = Feed(await self._client.servers(), *self._wanted, time.monotonic())
        self._socket = zmq.asyncio.Context.instance().socket(zmq.SUB)
        self._opened.add(self)
        self._socket.set(zmq.LINGER, 0)
        for endpoint in self._feed.endpoints:
            connect(self._socket, endpoint, self._curve)
        for topic in self._feed.topics:
            self._socket.subscribe(topic)
        end = time.monotonic() + feed.SETTLE
        while not self._feed.settled and (left := end - time.monotonic()) > 0:
            await _receive(self._socket, self._feed, left)
        self._feed.settle()

    async def close(self) -> None:
        if self._replay:
            self._replay.cancel()
        if self._socket:
            self._socket.close()
        self._opened.discard(self)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def __anext__(self) -> Event | Gap:
        if self._socket is None:
            await self.open()
        assert self._socket and self._feed
        began, idle = time.monotonic(), False
        while True:
            if item := self._feed.next():
                return item
            if self._socket.closed:
                raise StopAsyncIteration
            left = feed.left(self._timeout, time.monotonic() - began)
            if idle and left <= 0 and self._timeout is not None:
                raise feed.no_event(self._timeout)
            step = self._fetch(self._feed, left) if self._feed.ask else self._wait(self._socket, self._feed, left)
            idle = not await step

    async def _wait(self, socket: zmq.asyncio.Socket, into: Feed, seconds: float) -> bool:
        try:
            return await _receive(socket, into, seconds)
        except asyncio.CancelledError:  # `close` cancels what waits on the socket: the end of the events, and not of the task
            task = asyncio.current_task()
            if not socket.closed or (task is not None and task.cancelling()):
                raise
            return False

    async def _fetch(self, into: Feed, wait: float) -> bool:
        """Wait `wait` seconds at most for the replay, which may take several such waits; whether it was answered."""
        if self._replay is None:
            self._replay = asyncio.create_task(self._ask(into))
        done, _ = await asyncio.wait({self._replay}, timeout=wait)
        if not done:
            return False
        replay, self._replay = self._replay, None
        if replay.cancelled():  # by `close`
            return False
        try:
            page = replay.result()
        except AmidError as error:
            into.refused(error)
        else:
            into.fetched(page["events"], page["more"])
        return True

    async def _ask(self, into: Feed) -> Packet:
        assert into.ask is not None
        await asyncio.sleep(into.pause)
        return await self._client._replay(*into.ask)


async def _receive(socket: zmq.asyncio.Socket, into: Feed, wait: float) -> bool:
    """Take a message, when one comes within `wait` seconds."""
    came = bool(await socket.poll(math.ceil(wait * 1000)))
    if came:
        into.take(await socket.recv_multipart(), time.monotonic())
        for topic in into.new_topics():
            socket.subscribe(topic)
    into.watch(time.monotonic())
    return came
