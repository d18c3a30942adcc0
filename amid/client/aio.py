"""The asyncio client: carries the bytes of `protocol` and `event` over one zmq.asyncio DEALER
socket.

All calls share the socket. A task matches each reply to its call by the request id, and drops
replies whose call has ended. With ZMQ_IMMEDIATE the socket queues nothing while it has no
connection, so `unreachable` means that no request left this process.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self

import zmq
import zmq.asyncio

from amid.client import discovery, event, protocol
from amid.client.async_changes import AsyncChanges
from amid.client.async_methods import AsyncMethods
from amid.client.curve import Curve, open_dealer
from amid.client.event import WAIT_S, Event, EventCursor, Inbox
from amid.client.protocol import HANDOVER_S, TIMEOUT
from amid.client.results import Cancelled, Packet
from amid.client.view import View
from amid.errors import AmidError
from amid.events.sequence import Gap

UNREAD_PAGES = 2
"""Pages of events that are buffered for a slow program. No further page is requested while the
buffer is full."""
YIELD_BYTES = 16 * 1024
"""Answers above this size are received one by one, with other tasks of the loop in between: to decode the
state of 10,000 channels takes 25 ms."""


class AsyncClient(AsyncMethods):
    """`amid.Client` for asyncio: the same methods as coroutines, for use in one event loop.

    All arguments, results and errors are those of `amid.Client`. Cancelling the task that awaits a
    call also cancels the call in the daemon; an action that is still queued there is then never
    sent to Asterisk.
    """

    def __init__(self, run_dir: str | None = None, *, endpoint: str | None = None, curve: Curve | None = None) -> None:
        self.endpoint = endpoint
        self._run_dir = run_dir
        self._curve = curve
        self._connected_to = ""
        self._socket: zmq.asyncio.Socket | None = None
        self._receiver: asyncio.Task[None] | None = None
        self._waiting: dict[Any, tuple[protocol.Call, asyncio.Future[Packet]]] = {}
        self._streams: set[AsyncEvents] = set()
        self._ids = itertools.count(1)

    async def cancel(self, call_id: str, timeout: float = TIMEOUT) -> Cancelled:
        """Cancel the open call with this `call_id`; see `Client.cancel`."""
        result: Cancelled = await self.call(protocol.cancel(call_id, timeout))
        return result

    def events(self, *names: str, server: str | None = None, gaps: bool = False, timeout: float | None = None) -> AsyncEvents:
        """Subscribe to events; see `Client.events`.

        The subscription starts with `async with` or the first `anext`.
        """
        return AsyncEvents(self, self._streams, (server, names), Inbox(gaps), timeout)

    def changes(self, server: str | None = None, kinds: list[str] | None = None, timeout: float | None = None) -> AsyncChanges:
        """Follow the live state: an iterator of its changes; see `Client.changes`."""
        return AsyncChanges(self.call, View(server, kinds), timeout)

    async def close(self) -> None:
        """Close the socket and all event streams.

        Open calls fail at once with `AmidError` of kind `cancelled`.
        """
        for stream in tuple(self._streams):
            await stream.close()
        for call, answer in self._waiting.values():
            if not answer.done():
                answer.set_result(protocol.reply_to_closed(call))
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

    async def call(self, call: protocol.Call) -> Any:
        """Send a request and return the result of its reply. Raises `AmidError`.

        Cancelling the awaiting task cancels the call in the daemon: an action that has not been
        sent to Asterisk by then is not sent.
        """
        if call.call_id is not None and call.call_id in self._waiting:
            raise protocol.call_id_in_use(call.call_id)
        request_id = call.call_id or next(self._ids)
        request = protocol.request(request_id, call)
        socket = self._connected()
        answer: asyncio.Future[Packet] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = call, answer
        try:
            await self._hand_over(socket, request, call)
            await asyncio.wait({answer}, timeout=call.client_timeout_s)
        except asyncio.CancelledError:
            self._cancel(socket, request_id, call)
            raise
        finally:
            del self._waiting[request_id]
        if not answer.done():
            raise protocol.no_answer(call, self._connected_to)
        return protocol.unwrap(answer.result())

    def _cancel(self, socket: zmq.asyncio.Socket, request_id: int | str, call: protocol.Call) -> None:
        """Ask the daemon to cancel a call, without waiting for the reply."""
        if not socket.closed:
            request = protocol.request(next(self._ids), protocol.cancel(request_id, on_behalf_of=call.on_behalf_of))
            sending = asyncio.ensure_future(socket.send_multipart(request, zmq.DONTWAIT))
            sending.add_done_callback(lambda sent: sent.cancelled() or sent.exception())

    def _connected(self) -> zmq.asyncio.Socket:
        if self._socket is None:
            self._connected_to = discovery.find_endpoint(self._run_dir, self.endpoint)
            self._socket = open_dealer(zmq.asyncio.Context.instance(), self._connected_to, self._curve)
            self._receiver = asyncio.create_task(self._receive(self._socket))
        return self._socket

    async def _hand_over(self, socket: zmq.asyncio.Socket, request: list[bytes], call: protocol.Call) -> None:
        """Pass the request to a broker. Raises `AmidError` of kind `unreachable`, and the request
        is then never sent.

        `asyncio.wait` does not cancel the task, so the request cannot leave between the check and
        `cancel`.
        """
        sending = asyncio.ensure_future(socket.send_multipart(request))
        try:
            await asyncio.wait({sending}, timeout=min(HANDOVER_S, call.client_timeout_s))
        finally:
            sent = sending.done()
            sending.cancel()
        if not sent:
            raise protocol.no_broker(self._connected_to)

    async def _receive(self, socket: zmq.asyncio.Socket) -> None:
        while True:
            frames = await socket.recv_multipart()
            answer = protocol.reply(frames)
            _, waiting = self._waiting.get(self._request_id_of(answer), (None, None)) if answer else (None, None)
            if answer and waiting and not waiting.done():
                waiting.set_result(answer)
            if len(frames[-1]) > YIELD_BYTES:  # the socket does not yield while it has further ones
                await asyncio.sleep(0)

    def _request_id_of(self, answer: Packet) -> Any:
        """The request id of a reply. A reply without an id is about a request that the daemon could
        not read; it is certainly ours only when one call is open."""
        name = answer.get("id")
        if isinstance(name, str | int):
            return name
        if len(self._waiting) == 1:
            return next(iter(self._waiting))
        protocol.log.warning("the daemon could not read one of %d requests: %s", len(self._waiting), answer.get("error"))
        return None


class AsyncEvents(AsyncIterator[Event | Gap]):
    """`amid.client.Events` for asyncio: an async iterator and context manager.

    Created by `AsyncClient.events`.
    """

    def __init__(
        self,
        client: AsyncClient,
        opened: set[AsyncEvents],
        wanted: tuple[str | None, tuple[str, ...]],
        inbox: Inbox,
        timeout: float | None,
    ) -> None:
        self._client = client
        self._opened = opened
        self._wanted = wanted
        self._inbox = inbox
        self._timeout = timeout
        self._pulls: list[asyncio.Task[None]] = []
        self._pages: asyncio.Queue[list[Event | Gap] | AmidError | None] = asyncio.Queue(UNREAD_PAGES)
        self._closed = False

    @property
    def missed(self) -> int:
        """Number of events known to be missing."""
        return self._inbox.missed

    @property
    def gaps(self) -> int:
        """Number of gaps. A gap at the end of an event session has no known size and adds nothing
        to `missed`."""
        return self._inbox.gaps

    async def open(self) -> None:
        """Start the stream after the latest event of each server. Raises `AmidError`."""
        server, names = self._wanted
        cursors = event.cursors_of(await self._client.servers(), server, names)
        self._opened.add(self)
        for cursor in cursors:
            try:
                self._inbox.put(cursor.take(await self._client.call(cursor.request(0.0))))
            except AmidError as error:
                cursor.retry_after_s(error)
        self._pulls = [asyncio.create_task(self._pull(cursor)) for cursor in cursors]

    async def close(self) -> None:
        for pull in self._pulls:
            pull.cancel()
        self._opened.discard(self)
        self._closed = True
        if self._pages.empty():
            self._pages.put_nowait(None)  # wakes a task that waits for the next event

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def __anext__(self) -> Event | Gap:
        if not self._pulls and not self._closed:
            await self.open()
        while not self._closed:
            if item := self._inbox.next():
                return item
            try:
                async with asyncio.timeout(self._timeout):
                    page = await self._pages.get()
            except TimeoutError:
                assert self._timeout is not None
                raise event.no_event(self._timeout) from None
            if isinstance(page, AmidError):
                raise page
            self._inbox.put(page or [])
        raise StopAsyncIteration

    async def _pull(self, cursor: EventCursor) -> None:
        while True:
            try:
                page = await self._client.call(cursor.request(WAIT_S))
            except AmidError as error:
                await self._pause(cursor, error)
            else:
                await self._pages.put(list(cursor.take(page)))

    async def _pause(self, cursor: EventCursor, error: AmidError) -> None:
        try:
            await asyncio.sleep(cursor.retry_after_s(error))
        except AmidError:
            await self._pages.put(error)
            raise asyncio.CancelledError from None
