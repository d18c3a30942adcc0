"""One XPUB socket and what its subscribers asked for.

Subscribers are strangers, so none of their messages is taken at its word, and what they hold is bounded:

* An unsubscription counts only when libzmq itself reports it, because the last subscriber to that topic has gone. A peer's message
  can name a topic that others still want (libzmq passes it on although the peer never subscribed), and then they would all be
  silent. The two are told apart by the properties that libzmq puts on whatever came from a peer. Peers that speak ZMTP 1 or 2 have
  no properties; a ZAP domain, even without a handler, makes libzmq refuse them (zmtp_engine.cpp: `zap_enabled`).
* libzmq keeps a subscription as a trie with 50 bytes for each byte of the topic. A peer is a process on this machine, or an address
  over TCP. One that sends more than `MAX_PEER_BYTES` of subscriptions is disconnected, and libzmq frees what it held. Over
  `MAX_PREFIXES` prefixes of all peers this process remembers no more of them and encodes every event; at `MAX_EXCESS_BYTES` beyond
  these it disconnects each peer that has sent more than `MODEST_BYTES` and sends another. Others notice nothing.
"""

from __future__ import annotations

import logging
from collections import Counter

import zmq
from zmq.backend import Socket

from amid.daemon.sending import disconnect
from amid.daemon.zap import ZapAuthenticator

log = logging.getLogger("amid.events")

MAX_MESSAGE_BYTES = 4096
"""Bytes of one message from a peer, a command of its handshake too. A subscription to an event has under a hundred."""
MAX_PREFIXES = 5000
MAX_PREFIX_BYTES = 256 * 1024
"""Prefixes that are remembered, and the bytes of all of them together."""
MAX_EXCESS_BYTES = 1024 * 1024
"""Bytes of subscriptions beyond the remembered ones, each with MESSAGE_BYTES besides; libzmq holds some 50 MB of them by then."""
MESSAGE_BYTES = 64
MAX_PEER_BYTES = 512 * 1024
"""Bytes of all that one peer has sent, each message with MESSAGE_BYTES besides: some 5,000 names of events."""
MODEST_BYTES = 16 * 1024
REMEMBERED_PEERS = 1000
MESSAGES_PER_PASS = 500
"""Messages read in one pass of the reader's loop, in 2 ms, so that a flood of them delays nothing else."""
UNREAD = 100
"""Messages of one peer that libzmq reads ahead."""
REMEMBERED_TOPICS = 1000

_DONTWAIT = int(zmq.DONTWAIT)


class EventSocket:
    """`socket` is to be polled for input. `disconnected` counts the peers that sent too much."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str, high_water_mark: int, linger_ms: int) -> None:
        self._endpoint = endpoint
        self.socket = context.socket(zmq.XPUB)
        self.socket.set(zmq.SNDHWM, high_water_mark)
        self.socket.set(zmq.LINGER, linger_ms)
        self.socket.set(zmq.XPUB_VERBOSE, 1)  # each subscriber is seen, and not only the first to a topic
        self.socket.set(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        self.socket.set(zmq.RCVHWM, UNREAD)
        self.socket.set(zmq.ZAP_DOMAIN, b"amid")
        self.socket.bind(endpoint)
        self._prefixes: set[bytes] = set()
        self._lengths: Counter[int] = Counter()
        self._prefix_bytes = self._excess_bytes = 0
        self._wanted: dict[bytes, bool] = {}
        self._unread = False
        self._peer_bytes: Counter[str] = Counter()
        self.disconnected = 0

    def bind_tcp(self, zap: ZapAuthenticator, endpoints: list[str]) -> None:
        """Listen on these endpoints too, where `zap` accepts known keys only."""
        zap.bind_tcp(self.socket, endpoints)

    def take(self) -> list[bytes]:
        """Read what subscribers have asked for since, some of it when it is much; the topics, repeated ones too."""
        asked: list[bytes] = []
        for _ in range(MESSAGES_PER_PASS):
            try:
                message: zmq.Frame = Socket.recv(self.socket, _DONTWAIT, False)
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
                self._count(peer, message)
        self._unread = True
        return asked

    @property
    def anybody(self) -> bool:
        return bool(self._prefixes) or self._unread

    def want(self, topic: bytes) -> bool:
        """Whether somebody may have subscribed to it."""
        known = self._wanted.get(topic)
        if known is None:
            if len(self._wanted) >= REMEMBERED_TOPICS:  # names of events may be invented, too
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

    def _count(self, peer: str, message: zmq.Frame) -> None:
        """Add what the peer has sent, and disconnect it when that is too much."""
        if len(self._peer_bytes) >= REMEMBERED_PEERS and peer not in self._peer_bytes:
            self._peer_bytes.clear()
        self._peer_bytes[peer] += len(message) + MESSAGE_BYTES
        sent = self._peer_bytes[peer]
        if sent <= (MODEST_BYTES if self._excess_bytes > MAX_EXCESS_BYTES else MAX_PEER_BYTES):
            return
        log.warning("%s: disconnected %s: it sent %d bytes of subscriptions; subscribe to fewer names", self._endpoint, peer, sent)
        disconnect(message)
        del self._peer_bytes[peer]
        self.disconnected += 1


def _peer_of(message: zmq.Frame) -> str:
    """Its address, over ipc `localhost:UID:GID:PID`; "" when libzmq itself made the message."""
    try:
        return str(message.get("Peer-Address"))
    except zmq.ZMQError:
        return ""
