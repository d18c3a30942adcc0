"""The blocking client: a thin shell on `rules` that moves bytes over pyzmq sockets.

A call (`open_call`) borrows a DEALER socket of its own and gives it back when it has its answer, so a `Client` may be used from
several threads at once and one slow call holds up no other. A socket whose call got no answer is closed, and with it goes whatever
comes late. With ZMQ_IMMEDIATE nothing is queued for a broker that is not there, and so `unreachable` really means that nothing was
sent.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import zmq

from amid.client import discovery, feed, rules
from amid.client.curve import Curve, connect, open_dealer
from amid.client.feed import Event, Feed
from amid.client.open_call import CancellableCall, OpenCall, milliseconds
from amid.client.rules import TIMEOUT, Packet, Text
from amid.errors import AmidError
from amid.events.sequence import Gap


class Client:
    """A connection to the daemon.

    run_dir: the daemon's directory; when left out, AMID_RUN_DIR, or where that is not set the first of /run/amid and
    $XDG_RUNTIME_DIR/amid that holds a socket. A directory that was named is the only one that is looked in. endpoint: a ZeroMQ
    endpoint instead of a directory; with a `tcp://` one go the keys in `curve`. Nothing is opened before the first call.

    Every method raises `AmidError`, whose `kind` says what happened and whose `sent` says whether Asterisk may have seen
    the action; `ActionFailed` and `CallTimeout` are two kinds of it. Every timeout is in seconds. Usable from several threads;
    `close` only when no call of it is under way. Not to be taken through a fork.
    """

    def __init__(self, run_dir: str | None = None, *, endpoint: str | None = None, curve: Curve | None = None) -> None:
        self._place = (run_dir, endpoint)
        self._curve = curve
        self._pid = os.getpid()
        self._idle: list[zmq.Socket[bytes]] = []
        self._streams: set[Events] = set()
        self._ids = itertools.count(1)
        self._named: dict[str, CancellableCall] = {}

    def action(
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
        """Send an action and return its whole answer: `response`, `events`, `complete`, `output`, `until`, `elapsed` and more.

        headers: `client.action("QueueStatus", Queue="support")`; `fields`: the same as a map, for names that are no
        identifiers. A value is text, bytes, a number or a boolean, or a list of them for a repeated header. until: the name
        of a later event with this ActionID to wait for as well. server: may be left out when there is one. call_id: text of
        your own, of at most 64 bytes, by which `cancel` finds this call.
        """
        result: Packet = self.call(rules.action(name, fields, headers, server, timeout, until, call_id))
        return result

    def command(self, text: Text, server: str | None = None, timeout: float = TIMEOUT) -> list[Text]:
        """The output lines of an Asterisk CLI command."""
        return rules.output(self.call(rules.command(text, server, timeout)))

    def servers(self, timeout: float = TIMEOUT) -> list[Packet]:
        """Each server's name, state, version, epoch, endpoints, lanes and queue."""
        return rules.reached(self.call(rules.servers(timeout)), self._place[1])

    def status(self, timeout: float = TIMEOUT) -> Packet:
        """Servers, processes, counters, version and uptime of the daemon."""
        result: Packet = self.call(rules.status(timeout))
        return result

    def actions(self, server: str | None = None, timeout: float = TIMEOUT) -> list[Packet]:
        """The actions that this Asterisk offers: `name`, `synopsis`, `privilege`."""
        result: list[Packet] = self.call(rules.actions(server, timeout))
        return result

    def replay(self, server: str, epoch: int, after: int, limit: int = 1000, timeout: float = TIMEOUT) -> tuple[list[Event], bool]:
        """Events after number `after` once more, at most `limit`, and whether there are more. Kind `gone`: no longer held."""
        page = self._replay(server, epoch, after, limit, timeout)
        return [feed.event(body) for body in page["events"]], page["more"]

    def restart(self, server: str, timeout: float = TIMEOUT) -> Packet:
        """Replace a server's reader."""
        result: Packet = self.call(rules.restart(server, timeout))
        return result

    def cancel(self, call_id: str, timeout: float = TIMEOUT) -> Packet:
        """End the open call of this client that was given this `call_id`, from another thread.

        Returns `cancelled`, the number of calls that were ended, and `sent`, whether Asterisk may have received one of them. The
        call itself raises `AmidError` of kind `cancelled`. `cancelled` is 0 when there is no such call, or no longer.
        """
        named = self._named.get(call_id)
        return named.cancel(timeout) if named is not None else {"cancelled": 0, "sent": False}

    def audit(self, after: int = 0, limit: int = 1000, timeout: float = TIMEOUT) -> Packet:
        """A page of the audit trail, for callers with `admin`: at most `limit` `records` behind number `after`, `seq`, the number
        of the last record that there is, and `left_out`."""
        result: Packet = self.call(rules.audit(after, limit, timeout))
        return result

    def ping(self, timeout: float = TIMEOUT) -> Packet:
        """Ask the daemon, not Asterisk, for a sign of life."""
        result: Packet = self.call(rules.ping(timeout))
        return result

    def events(self, *names: str, server: str | None = None, gaps: bool = False, timeout: float | None = None) -> Events:
        """Events as they come: those with these names, or all. The subscription is in effect when this returns. See `Events`.

        Names compare without case. server: one server only; otherwise all that the daemon has now. gaps: yield `Gap` objects where
        events are missing, instead of logging them. timeout: seconds to wait for each event, after which `next` raises
        `CallTimeout`; when left out it waits without a limit.
        """
        return Events(self, Feed(self.servers(), server, names, gaps, time.monotonic()), timeout, self._streams, self._curve)

    def close(self) -> None:
        """Close every socket, and the streams of `events`. A client may be used again afterwards."""
        for stream in tuple(self._streams):
            stream.close()
        while self._idle:
            self._idle.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _replay(self, server: str, epoch: int, after: int, limit: int, timeout: float = TIMEOUT) -> Packet:
        page: Packet = self.call(rules.replay(server, epoch, after, limit, timeout))
        return page

    def call(self, call: rules.Call) -> Any:
        """Any method, as `rules.Call` says it; the result. Raises `AmidError`."""
        if call.call_id is None:
            return self.begin(call).result()
        if call.call_id in self._named:
            raise rules.call_id_in_use(call.call_id)
        request = rules.request(call.call_id, call)
        named = CancellableCall(self._idle_socket(), self._idle, call.call_id, request, call, next(self._ids))
        self._named[call.call_id] = named
        try:
            return named.result()
        finally:
            del self._named[call.call_id]
            named.end()

    def begin(self, call: rules.Call) -> OpenCall:
        """A call whose answer is waited for in portions. Raises `AmidError`."""
        request_id = next(self._ids)
        request = rules.request(request_id, call)
        return OpenCall(self._idle_socket(), self._idle, request_id, request, call)

    def _idle_socket(self) -> zmq.Socket[bytes]:
        if os.getpid() != self._pid:
            raise RuntimeError("this Client was made before a fork, and its sockets are the parent's: make one in the child")
        try:
            return self._idle.pop()
        except IndexError:
            return open_dealer(zmq.Context.instance(), discovery.find_endpoint(*self._place), self._curve)


class Events(Iterator[Event | Gap]):
    """Events as they come, for ever. Made by `Client.events`.

    The subscription is in effect once it is made: it waits, for 2 s at most, for the first tick of every server that is up; a
    warning says when one did not come. Names compare without case. When the daemon or a reader is replaced, it reconnects by
    itself, and the new epoch shows as a gap.

    With a timeout, `next` raises `CallTimeout` (a `TimeoutError` too) when no event came for so long; 0 only looks. The stream
    stays open and `next` may be tried again. What was lost because this program did not read in time is fetched once more, in its
    place; with a short timeout that takes several calls of `next`. Loss is never silent: what the daemon no longer holds is a
    `Gap` in place or a warning of the logger "amid.client", counted in `missed` and `gaps`. With names, each name's events are in
    order; a lost one may come after a later one of another name. For one thread.
    """

    def __init__(self, client: Client, into: Feed, timeout: float | None, opened: set[Events], curve: Curve | None) -> None:
        self._client = client
        self._feed = into
        self._timeout = timeout
        self._opened = opened
        self._replay: OpenCall | None = None
        self._replay_at = 0.0
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
        self._socket.set(zmq.LINGER, 0)
        for endpoint in into.endpoints:
            connect(self._socket, endpoint, curve)
        for topic in into.topics:
            self._socket.subscribe(topic)
        opened.add(self)
        self._settle()

    @property
    def missed(self) -> int:
        """How many events are known to be missing."""
        return self._feed.missed

    @property
    def gaps(self) -> int:
        """How many gaps there were; of one at a new epoch nobody knows the size."""
        return self._feed.gaps

    @property
    def replayed(self) -> int:
        """How many events were lost on the way and fetched once more."""
        return self._feed.replayed

    def close(self) -> None:
        if self._replay is not None:
            self._replay.close()
        self._socket.close()
        self._opened.discard(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __next__(self) -> Event | Gap:
        began, idle = time.monotonic(), False
        while True:
            if item := self._feed.next():
                return item
            if self._socket.closed:
                raise StopIteration
            left = feed.left(self._timeout, time.monotonic() - began)
            if idle and left <= 0 and self._timeout is not None:
                raise feed.no_event(self._timeout)
            idle = not (self._fetch(left) if self._feed.ask else self._receive(left))

    def _fetch(self, wait: float) -> bool:
        """Wait `wait` seconds at most for the replay, which may take several such waits; whether it was answered."""
        if self._replay is None and (pause := self._replay_at - time.monotonic()) > 0:
            time.sleep(min(pause, wait))
            return False
        assert self._feed.ask is not None
        try:
            if self._replay is None:
                self._replay = self._client.begin(rules.replay(*self._feed.ask, TIMEOUT))
            answer = self._replay.wait(wait)
            if answer is None:
                return False
            page = rules.outcome(answer)
        except AmidError as error:
            self._feed.refused(error)
        else:
            self._feed.fetched(page["events"], page["more"])
        self._replay, self._replay_at = None, time.monotonic() + self._feed.pause
        return True

    def _settle(self) -> None:
        end = time.monotonic() + feed.SETTLE
        while not self._feed.settled and (left := end - time.monotonic()) > 0:
            self._receive(left)
        self._feed.settle()

    def _receive(self, wait: float) -> bool:
        """Take a message, when one comes within `wait` seconds."""
        came = bool(self._socket.poll(milliseconds(wait)))
        if came:
            self._feed.take(self._socket.recv_multipart(), time.monotonic())
            for topic in self._feed.new_topics():
                self._socket.subscribe(topic)
        self._feed.watch(time.monotonic())
        return came
