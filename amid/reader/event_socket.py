"""One XPUB socket and the subscriptions on it.

Subscribers are not trusted, and what they occupy is bounded:

* An unsubscription counts only if libzmq itself reports it, which it does when the last subscriber
  to the topic has disconnected or unsubscribed. A message from a peer can name a topic that others
  still want (libzmq passes it on even if the peer never subscribed), and they would receive nothing
  more. The two differ in the properties that libzmq adds to messages from peers. Peers that speak
  ZMTP 1 or 2 have none; a ZAP domain, even without a handler, makes libzmq refuse them
  (zmtp_engine.cpp: `zap_enabled`).
* libzmq stores subscriptions in a trie, with 50 bytes for each byte of a topic. A peer is a process
  on this machine, or an address over TCP. A peer that sends more than `MAX_PEER_BYTES` of
  subscriptions is disconnected; others are not affected.
* Beyond `MAX_PREFIXES` prefixes of all peers, no more are remembered, and every event is encoded.
  At `MAX_EXCESS_BYTES` beyond that, peers send faster than they can be disconnected one by one,
  because libzmq reports every topic of a peer that disconnects. The socket is then reopened, which
  drops all connections and their subscriptions. Other subscribers reconnect, subscribe again, and
  detect the loss from the sequence numbers.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial

import zmq
from zmq.backend import Socket

from amid.config.tables import Caller, Curve
from amid.process.acceptor import Acceptor, listen_locally
from amid.process.bindings import Bindings, Report
from amid.process.sending import disconnect, high_water_mark, send
from amid.process.socket_reader import SocketReader
from amid.process.unix_socket import SHARED
from amid.process.zap import ZapAuthenticator
from amid.reader.subscribers import Subscribers, caller_of

log = logging.getLogger("amid.events")

MAX_MESSAGE_BYTES = 1024
"""Limit of one message from a peer. A subscription to an event has under 100 bytes,
a command of CURVE's handshake up to 600."""
MAX_PREFIXES = 5000
MAX_PREFIX_BYTES = 256 * 1024
"""Remembered prefixes, and the bytes of all of them together."""
MAX_EXCESS_BYTES = 512 * 1024
"""Limit of subscriptions that are not remembered, each counted with MESSAGE_BYTES
more. libzmq uses some 25 MB for that many."""
MESSAGE_BYTES = 64
MAX_PEER_BYTES = 512 * 1024
"""Limit of what one peer has sent, each message counted with MESSAGE_BYTES more: some 5,000
event names. The count is halved each second."""
REMEMBERED_PEERS = 1000
MESSAGES_PER_PASS = 500
"""Messages read in one pass of the loop, in 2 ms, so that a flood delays nothing else."""
READ_AHEAD = 2
"""Messages of one peer that libzmq reads ahead. One call of libzmq reads until it finds nothing,
while its thread adds more: with 100, peers that sent subscriptions without end blocked the reader
for over a second, and libzmq used 900 MB. With 1, no CURVE handshake completes."""
REMEMBERED_TOPICS = 1000
LINGER_MS = 200
"""Time to send the last messages of a socket that was closed."""

OnSubscribe = Callable[[list[bytes]], object]

_DONTWAIT = int(zmq.DONTWAIT)


class EventSocket:
    """Accepts subscribers from `listener`, a Unix socket, on the running loop.

    on_subscribe: takes the topics of new subscriptions, repeated ones too. disconnected: peers that
    sent too much or were too many. reopened: how often all connections were dropped.
    """

    def __init__(self, shared: EventSockets, listener: socket.socket, kept: int, on_subscribe: OnSubscribe) -> None:
        self._on_subscribe = on_subscribe
        self._shared = shared
        self._acceptor = shared.acceptor
        self._path = listener.getsockname()
        # The listener and its file, which the supervisor watches, stay when the socket is reopened.
        self._listener = listener
        self._options = {zmq.SNDHWM: high_water_mark(kept), zmq.LINGER: LINGER_MS}
        self._tcp: tuple[Bindings, list[str]] | None = None
        self._peer_bytes: Counter[str] = Counter()
        self._subscribers = Subscribers(shared.max_subscribers)
        self.disconnected = self.reopened = 0
        self._open()

    def _open(self) -> None:
        self._socket = self._shared.context.socket(zmq.XPUB)
        for option, value in self._options.items():
            self._socket.set(option, value)
        self._socket.set(zmq.XPUB_VERBOSE, 1)  # report each subscriber, not only the first one of a topic
        self._socket.set(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        self._socket.set(zmq.RCVHWM, READ_AHEAD)
        self._socket.set(zmq.ZAP_DOMAIN, b"amid")
        self._listening = [os.dup(self._listener.fileno())]
        self._socket.set(zmq.USE_FD, self._listening[0])
        self._socket.bind(f"ipc://{self._path}")
        self._acceptor.add(self._listening)
        self._socket.set(zmq.USE_FD, -1)
        self._reader = SocketReader(asyncio.get_running_loop(), self._socket, self.receive)
        self._prefixes: set[bytes] = set()
        self._lengths: Counter[int] = Counter()
        self._prefix_bytes = self._excess_bytes = 0
        self._wanted: dict[bytes, bool] = {}
        self._unread = False

    def close(self) -> None:
        if self._tcp is not None:
            self._tcp[0].close()
        self._acceptor.remove(self._listening)
        self._reader.close()
        self._socket.close()
        self._listener.close()

    def send(self, topic: bytes, body: bytes) -> None:
        """Publish a message. Slow subscribers lose it."""
        send(self._socket, topic, body)
        self._reader.check_soon()

    def listen(self, endpoints: list[str], key: str, report: Report) -> None:
        """Listen on these TCP endpoints too, if there are keys. key, report: see `Bindings`."""
        if self._shared.zap is not None:
            self._tcp = Bindings(partial(self._bind_tcp, self._shared.zap), key, report), endpoints
            self._tcp[0].listen(endpoints)

    async def _bind_tcp(self, zap: ZapAuthenticator, endpoint: str) -> None:
        self._listening += self._acceptor.add_at(zap.bind_tcp(self._socket, endpoint))

    def receive(self) -> bool:
        """Read pending subscriptions, in portions; True if more may be pending."""
        socket, asked = self._socket, self._receive()
        if asked:
            self._on_subscribe(asked)
        return self._unread and socket is self._socket

    def _receive(self) -> list[bytes]:
        asked: list[bytes] = []
        for _ in range(MESSAGES_PER_PASS):
            try:
                message: zmq.Frame = Socket.recv(self._socket, _DONTWAIT, False)
            except zmq.Again:
                self._unread = False
                return asked
            kind, topic, peer = message.bytes[:1], message.bytes[1:], _peer_of(message)
            if kind == b"\x01":
                self._add(topic)
                asked.append(topic)
            elif kind == b"\x00" and not peer:
                self._remove(topic)
            if peer:
                self._count_subscriber(peer, message)
                self._count_bytes(peer, message)
            if self._excess_bytes > MAX_EXCESS_BYTES:
                self._reopen(peer)
                return asked
        self._unread = True
        return asked

    @property
    def has_subscribers(self) -> bool:
        """Whether any topic may be subscribed to."""
        return bool(self._prefixes) or self._unread

    def want(self, topic: bytes) -> bool:
        """Whether a subscriber may want this topic."""
        known = self._wanted.get(topic)
        if known is None:
            if len(self._wanted) >= REMEMBERED_TOPICS:  # event names may be forged
                self._wanted.clear()
            known = self._wanted[topic] = any(topic[:length] in self._prefixes for length in self._lengths)
        return known or self._unread or self._excess_bytes > 0

    def _add(self, prefix: bytes) -> None:
        if prefix in self._prefixes:
            return
        if len(self._prefixes) >= MAX_PREFIXES or self._prefix_bytes + len(prefix) > MAX_PREFIX_BYTES:
            self._excess_bytes += len(prefix) + MESSAGE_BYTES
            return
        self._prefixes.add(prefix)
        self._lengths[len(prefix)] += 1
        self._prefix_bytes += len(prefix)
        self._wanted.clear()

    def _remove(self, prefix: bytes) -> None:
        if prefix not in self._prefixes:
            self._excess_bytes = max(0, self._excess_bytes - len(prefix) - MESSAGE_BYTES)
            return
        self._prefixes.remove(prefix)
        self._lengths -= Counter([len(prefix)])  # keeps what is over 0
        self._prefix_bytes -= len(prefix)
        self._wanted.clear()

    def _count_subscriber(self, peer: str, message: zmq.Frame) -> None:
        """Disconnect a peer whose caller has too many connections."""
        caller = caller_of(message, peer)
        if not self._subscribers.add(caller, int(message.get(zmq.SRCFD))):
            log.warning("%s: disconnected %s: %s has too many connections (max_subscribers_per_caller)", self._path, peer, caller)
            disconnect(message)
            self.disconnected += 1

    def _count_bytes(self, peer: str, message: zmq.Frame) -> None:
        """Count what the peer has sent, and disconnect it at the limit."""
        if len(self._peer_bytes) >= REMEMBERED_PEERS and peer not in self._peer_bytes:
            self._peer_bytes.clear()
        self._peer_bytes[peer] += len(message) + MESSAGE_BYTES
        sent = self._peer_bytes[peer]
        if sent > MAX_PEER_BYTES:
            log.warning("%s: disconnected %s: it sent %d bytes of subscriptions; subscribe to fewer names", self._path, peer, sent)
            disconnect(message)
            del self._peer_bytes[peer]
            self.disconnected += 1

    def halve_counts(self) -> None:
        """Halve the counts of sent bytes. Due once a second."""
        self._subscribers.forget_closed()
        self._peer_bytes = Counter({peer: sent // 2 for peer, sent in self._peer_bytes.items() if sent > MESSAGE_BYTES})

    def _reopen(self, last: str) -> None:
        log.warning(
            "%s: over %d subscriptions with %d bytes; closing all connections to free them; the last one came from %s",
            *(self._path, len(self._prefixes), self._prefix_bytes + self._excess_bytes, last),
        )
        self._acceptor.remove(self._listening)
        self._reader.close()
        self._socket.close(linger=0)
        self.reopened += 1
        self._open()
        if self._tcp is not None:
            bindings, endpoints = self._tcp
            bindings.listen(endpoints)


class EventSockets:
    """Opens the event sockets of a reader in run_dir. The simulation of the tests replaces this.

    max_subscribers: connections of one caller to each socket. curve, callers: the keys for TCP.
    """

    def __init__(
        self, run_dir: str, counters: Counter[str], max_subscribers: int, curve: Curve, callers: Mapping[str, Caller]
    ) -> None:
        self._run_dir = run_dir
        self.max_subscribers = max_subscribers
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.acceptor = Acceptor(run_dir, counters)
        self.zap = ZapAuthenticator(self.context, curve, callers) if curve.secret_key is not None else None

    def open(self, name: str, kept: int, on_subscribe: OnSubscribe, mode: int = SHARED) -> EventSocket:
        """Open the socket `name`. mode: of its file. Raises `OSError` if it cannot listen."""
        return EventSocket(self, listen_locally(f"{self._run_dir}/{name}", mode), kept, on_subscribe)

    def close(self) -> None:
        self.acceptor.close()
        self.context.destroy(linger=200)


def _peer_of(message: zmq.Frame) -> str:
    """The peer's address, over ipc `localhost:UID:GID:PID`; "" if libzmq made the message."""
    try:
        return str(message.get("Peer-Address"))
    except zmq.ZMQError:
        return ""
