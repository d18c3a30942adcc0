"""The blocking client: carries the bytes of `protocol` and `event` over pyzmq sockets.

Each call (`open_call`) borrows a DEALER socket and returns it with the reply, so a `Client` may be
used from several threads and a slow call delays no other call. A socket whose call got no reply is
closed, which discards a late reply. With ZMQ_IMMEDIATE a socket queues nothing while it has no
connection, so `unreachable` means that no request left this process.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import zmq
from zmq.backend import zmq_poll

from amid.client import discovery, event, protocol
from amid.client.changes import Changes
from amid.client.curve import Curve, open_dealer
from amid.client.event import WAIT_S, Event, EventCursor, Inbox
from amid.client.methods import Methods
from amid.client.open_call import CancellableCall, OpenCall, Signal, milliseconds
from amid.client.protocol import TIMEOUT
from amid.client.results import Cancelled
from amid.client.view import View
from amid.errors import AmidError
from amid.events.sequence import Gap

LOOK_S = 1.0
"""Seconds after which a wait without a timeout returns to Python to handle signals."""


class Client(Methods):
    """A blocking client of the amid daemon.

    It may be used from several threads, but not across a fork. The constructor opens no socket; the
    first call does.

    Args:
        run_dir: directory of the daemon's sockets. Default: the environment variable AMID_RUN_DIR,
            else the first of /run/amid and $XDG_RUNTIME_DIR/amid that contains a socket.
        endpoint: ZeroMQ endpoint to use instead of a directory, such as `tcp://10.0.0.1:5560`.
        curve: CURVE keys for a `tcp://` endpoint.

    Every timeout is in seconds and defaults to 5.0 unless stated otherwise. Every method raises
    `AmidError`: `kind` says what happened, `sent` says whether Asterisk may have received the
    action. `ActionFailed` and `CallTimeout` are subclasses.
    """

    def __init__(self, run_dir: str | None = None, *, endpoint: str | None = None, curve: Curve | None = None) -> None:
        self.endpoint = endpoint
        self._run_dir = run_dir
        self._curve = curve
        self._pid = os.getpid()
        self._idle: list[zmq.Socket[bytes]] = []
        self._streams: set[Events] = set()
        self._ids = itertools.count(1)
        self._named: dict[str, CancellableCall] = {}
        self._closing = Signal()

    def cancel(self, call_id: str, timeout: float = TIMEOUT) -> Cancelled:
        """Cancel the open call with this `call_id`, from another thread.

        The cancelled call raises `AmidError` of kind `cancelled`.

        Returns:
            `cancelled`: number of calls that were cancelled, 0 when no such call is open. `sent`:
                whether Asterisk may have received the action.
        """
        named = self._named.get(call_id)
        return named.cancel(timeout) if named is not None else {"cancelled": 0, "sent": False}

    def events(self, *names: str, server: str | None = None, gaps: bool = False, timeout: float | None = None) -> Events:
        """Subscribe to events.

        Every event that Asterisk sends after this method has returned is delivered.

        Args:
            names: names of the events, compared without case. Default: all events.
            server: name of one server. Default: all servers that the daemon has now.
            gaps: yield a `Gap` where events are missing, instead of logging a warning.
            timeout: seconds to wait for each event before `next` raises `CallTimeout`. Default: no
                limit.

        Returns:
            An iterator of `Event`, and of `Gap` if `gaps` is set.

        Raises:
            AmidError: kind `unknown_server`, or any kind that `servers` raises.
        """
        cursors = event.cursors_of(self.servers(), server, names)
        return Events(self, cursors, Inbox(gaps), timeout, self._streams)

    def changes(self, server: str | None = None, kinds: list[str] | None = None, timeout: float | None = None) -> Changes:
        """Follow the live state: an iterator of its changes; see `Changes`.

        kinds: for example ["channels", "queues"]; without it, all. timeout: seconds to wait for
        each change, after which `next` raises `CallTimeout`; without it, the wait has no limit.
        """
        return Changes(self.call, View(server, kinds), timeout)

    def close(self) -> None:
        """Close all sockets and event streams.

        Open calls of other threads fail at once with `AmidError` of kind `cancelled`. The client
        can be used again afterwards.
        """
        for stream in tuple(self._streams):
            stream.close()
        closing, self._closing = self._closing, Signal()
        closing.set()
        while self._idle:
            self._idle.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def call(self, call: protocol.Call) -> Any:
        if call.call_id is None:
            return self.begin(call).result()
        if call.call_id in self._named:
            raise protocol.call_id_in_use(call.call_id)
        request = protocol.request(call.call_id, call)
        what = self._idle_socket(), self._idle, self._closing
        named = CancellableCall(*what, call.call_id, request, call, next(self._ids))
        self._named[call.call_id] = named
        try:
            return named.result()
        finally:
            del self._named[call.call_id]
            named.end()

    def begin(self, call: protocol.Call) -> OpenCall:
        """Start a call whose reply is received later, see `OpenCall.wait`. Raises `AmidError`."""
        request_id = next(self._ids)
        request = protocol.request(request_id, call)
        return OpenCall(self._idle_socket(), self._idle, self._closing, request_id, request, call)

    def _idle_socket(self) -> zmq.Socket[bytes]:
        if os.getpid() != self._pid:
            raise RuntimeError(
                "this Client was created before a fork and its sockets belong to the parent process: create one in the child"
            )
        with contextlib.suppress(IndexError):
            return self._idle.pop()
        return open_dealer(zmq.Context.instance(), discovery.find_endpoint(self._run_dir, self.endpoint), self._curve)


class Events(Iterator[Event | Gap]):
    """An endless iterator of events, created by `Client.events`.

    Use it from one thread; close it with `close`, also from another thread or a signal handler, or
    as a context manager. Events of a server come in order and once each. The daemon holds past
    events, so events that occurred while this program was busy, while a daemon process was replaced
    or while the network was down are delivered as well. Events that the daemon no longer holds
    appear as a `Gap`, or as a warning of the logger `amid.client`, and are counted in `missed` and
    `gaps`.

    With a timeout, `next` raises `CallTimeout` (a subclass of `TimeoutError`) when no event has
    arrived in time; the stream stays open and `next` can be called again. A timeout of 0 returns an
    event only if one has already arrived.
    """

    def __init__(
        self, client: Client, cursors: list[EventCursor], inbox: Inbox, timeout: float | None, opened: set[Events]
    ) -> None:
        self._client = client
        self._inbox = inbox
        self._timeout = timeout
        self._opened = opened
        self._open: dict[EventCursor, OpenCall] = {}
        self._again: dict[EventCursor, float] = dict.fromkeys(cursors, 0.0)
        self._closed = False
        self._closing = Signal()
        self._in_use = threading.Lock()
        opened.add(self)
        for cursor in cursors:
            self._begin_now(cursor)

    @property
    def missed(self) -> int:
        """Number of events known to be missing."""
        return self._inbox.missed

    @property
    def gaps(self) -> int:
        """Number of gaps. A gap at the end of an event session has no known size and adds nothing
        to `missed`."""
        return self._inbox.gaps

    def close(self) -> None:
        self._closed = True
        self._closing.set()
        self._opened.discard(self)
        self._close_sockets()

    def _close_sockets(self) -> None:
        """Close the open calls. While `next` uses their sockets, it does this when it returns."""
        if self._in_use.acquire(blocking=False):
            for call in self._open.values():
                call.close()
            self._open.clear()
            self._in_use.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __next__(self) -> Event | Gap:
        try:
            with self._in_use:
                return self._next()
        finally:
            if self._closed:
                self._close_sockets()

    def _next(self) -> Event | Gap:
        end = None if self._timeout is None else time.monotonic() + self._timeout
        looked = False
        while not self._closed:
            if item := self._inbox.next():
                return item
            now = time.monotonic()
            if looked and end is not None and now >= end:
                raise event.no_event(self._timeout or 0.0)
            self._ask(now)
            self._wait(now + LOOK_S if end is None else min(end, now + LOOK_S))
            looked = True
        raise StopIteration

    def _begin_now(self, cursor: EventCursor) -> None:
        """Start behind the latest event. A server whose reader is not available is retried."""
        try:
            self._inbox.put(cursor.take(self._client.call(cursor.request(0.0))))
        except AmidError as error:
            self._again[cursor] = time.monotonic() + cursor.retry_after_s(error)

    def _ask(self, now: float) -> None:
        """Keep one request open for each server."""
        for cursor in [cursor for cursor, again in self._again.items() if now >= again]:
            del self._again[cursor]
            try:
                call = self._open[cursor] = self._client.begin(cursor.request(WAIT_S))
                call.send(now)
            except AmidError as error:
                self._again[cursor] = now + cursor.retry_after_s(error)

    def _wait(self, end: float) -> None:
        """Wait until a reply arrives or another action is due, and process the replies."""
        due = min([end, *self._again.values(), *(call.deadline for call in self._open.values())])
        awaited: list[tuple[Any, int]] = [call.poll_item for call in self._open.values()]
        zmq_poll([*awaited, (self._closing, zmq.POLLIN)], milliseconds(due - time.monotonic()))
        if self._closed:
            return
        for cursor, call in list(self._open.items()):
            try:
                answer = call.wait(0)
                if answer is None:
                    continue
                items = cursor.take(protocol.unwrap(answer))
            except AmidError as error:
                self._open.pop(cursor, None)
                self._again[cursor] = time.monotonic() + cursor.retry_after_s(error)
            else:
                del self._open[cursor]
                self._again[cursor] = 0.0
                self._inbox.put(items)
        self._ask(time.monotonic())  # the daemon prepares the next page while this program processes this one
