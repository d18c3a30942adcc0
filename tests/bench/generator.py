"""The load generator: an AMI server that is never the bottleneck. `python -m tests.bench.generator
KIND [CHANNELS]` prints its port.

All events are prepared in advance, so sending is a `send` of megabytes. Any login succeeds; a login
with `Events: off` receives answers only. The action `Storm` (`Count`, `Rate` in events a second, 0
for as fast as they are read) sends events to all sessions with events; `List` (`Count`) and
`Command` (its lines) give answers of any size; `Originate` is answered after its `Timeout` and
blocks its session until then, as in Asterisk; CoreShowChannels and BridgeList list CHANNELS
channels in pairs, and Setvar sends its event; any other action is a Ping. A storm never waits for a
slow session: a session with 64 MB waiting is closed, as by Asterisk.
"""

from __future__ import annotations

import argparse
import contextlib
import select
import socket
import time
from collections import deque

from tests.bench.traffic import EPOCH, channel_lists, packets, wide_packets

VARIETY = 20_000
"""Different events; after so many they come again, as those of other calls."""
PORTION = 100
"""Events sent in one piece, some 45 kB."""
WAITING = 64 << 20


def small_packets(count: int) -> list[bytes]:
    event = b"Event: UserEvent\r\nPrivilege: user,all\r\nUserEvent: EventBatch\r\nNumber: %d\r\n\r\n"
    return [event % number for number in range(count)]


KINDS = {"realistic": packets, "wide": wide_packets, "small": small_packets}


class Peer:
    """A connection and what is still to be sent on it."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection = connection
        self.received = b""
        self.held: list[bytes] = []
        self.held_until = 0.0
        self.waiting: deque[memoryview] = deque()
        self.bytes = 0
        self.listens = False

    def send(self, data: bytes) -> None:
        self.waiting.append(memoryview(data))
        self.bytes += len(data)

    def flush(self) -> bool:
        """Whether everything went out."""
        try:
            while self.waiting:
                sent = self.connection.send(self.waiting[0])
                self.bytes -= sent
                if sent < len(self.waiting[0]):
                    self.waiting[0] = self.waiting[0][sent:]
                    return False
                self.waiting.popleft()
        except BlockingIOError:
            return False
        return True


class Generator:
    def __init__(self, kind: str, channels: int) -> None:
        self._lists = channel_lists(channels)
        events = KINDS[kind](VARIETY)
        self._portions = [b"".join(events[at : at + PORTION]) for at in range(0, VARIETY, PORTION)]
        self._next = 0
        self._left = 0
        self._rate = 0.0
        self._began = self._sent = 0.0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self._listener.setblocking(False)
        self._peers: dict[int, Peer] = {}
        self._poll = select.epoll()
        self._poll.register(self._listener, select.EPOLLIN)
        self.port = self._listener.getsockname()[1]

    def run(self) -> None:
        while True:
            for number, happened in self._poll.poll(self._wait()):
                if number == self._listener.fileno():
                    self._accept()
                elif number in self._peers:
                    self._serve(self._peers[number], happened)
            self._storm()
            self._release()

    def _wait(self) -> float:
        """Seconds that it may sleep."""
        if any(peer.held_until for peer in self._peers.values()):
            return 0.001
        if not self._left:
            return -1
        return 0.001 if self._rate or self._behind() else 0

    def _behind(self) -> bool:
        """A listener has not taken what it was sent, so a storm without a rate waits for it."""
        return any(peer.bytes > 1 << 20 for peer in self._peers.values() if peer.listens)

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            peer = Peer(self._listener.accept()[0])
            self._peers[peer.connection.fileno()] = peer
            self._poll.register(peer.connection, select.EPOLLIN)
            peer.send(b"Asterisk Call Manager/11.0.0\r\n")
            self._flush(peer)

    def _serve(self, peer: Peer, happened: int) -> None:
        try:
            if happened & select.EPOLLIN:
                data = peer.connection.recv(1 << 18)
                if not data:
                    return self._close(peer)
                *actions, peer.received = (peer.received + data).split(b"\r\n\r\n")
                peer.held += actions
            self._work(peer)
            self._flush(peer)
        except OSError:
            self._close(peer)

    def _work(self, peer: Peer) -> None:
        """Answer what has come, up to an Originate whose time is not over."""
        while peer.held:
            action = _headers(peer.held[0])
            if action.get(b"action") == b"Originate":
                peer.held_until = peer.held_until or time.monotonic() + int(action[b"timeout"]) / 1000
                if time.monotonic() < peer.held_until:
                    return
                peer.held_until = 0.0
            peer.held.pop(0)
            self._answer(peer, action)

    def _release(self) -> None:
        for peer in [peer for peer in self._peers.values() if peer.held_until]:
            self._work(peer)
            self._flush(peer)

    def _answer(self, peer: Peer, action: dict[bytes, bytes]) -> None:
        name, identity = action.get(b"action", b"").lower(), b"ActionID: %s\r\n" % action.get(b"actionid", b"")
        success = b"Response: Success\r\n" + identity
        match name:
            case b"login":
                peer.listens = action.get(b"events", b"on").lower() != b"off"
                peer.send(success + b"Message: Authentication accepted\r\n\r\n")
                if peer.listens:
                    peer.send(b"Event: FullyBooted\r\nPrivilege: system,all\r\nStatus: Fully Booted\r\n\r\n")
            case b"events":
                on = action.get(b"eventmask", b"").lower() != b"off"
                peer.listens = on
                peer.send(success + (b"Events: On\r\n\r\n" if on else b"Events: Off\r\n\r\n"))
            case b"storm":
                peer.send(success + b"Message: Events follow\r\n\r\n")
                self._left, self._rate = int(action[b"count"]), float(action.get(b"rate", b"0"))
                self._began, self._sent = time.monotonic(), 0
            case b"list":
                item = b"Event: Item\r\n" + identity + b"Name: item of a list\r\nState: in use\r\nNumber: %d\r\n\r\n"
                count = int(action[b"count"])
                peer.send(success + b"EventList: start\r\nMessage: A list follows\r\n\r\n")
                peer.send(b"".join([item % number for number in range(count)]))
                peer.send(b"Event: ListComplete\r\n" + identity + b"EventList: Complete\r\nListItems: %d\r\n\r\n" % count)
            case b"command":
                count = int(action[b"command"]) if action[b"command"].isdigit() else 1
                lines = b"".join([b"Output: line %d of the output of a command\r\n" % n for n in range(count)])
                peer.send(success + b"Message: Command output follows\r\n" + lines + b"\r\n")
            case b"coreshowchannels" | b"bridgelist":
                items = self._lists[name]
                peer.send(success + b"EventList: start\r\nMessage: A list follows\r\n\r\n")
                peer.send(b"".join([item % identity for item in items]))
                peer.send(b"Event: ListComplete\r\n" + identity + b"EventList: Complete\r\nListItems: %d\r\n\r\n" % len(items))
            case b"setvar":
                peer.send(success + b"Message: Variable Set\r\n\r\n")
                self._publish(
                    b"Event: VarSet\r\nChannel: none\r\nVariable: %s\r\nValue: %s\r\n\r\n" % (action[b"variable"], action[b"value"])
                )
            case b"corestatus" | b"coresettings":
                peer.send(success + b"AMIversion: 11.0.0\r\nAsteriskVersion: 22.10.0\r\n\r\n")
            case b"listcommands":
                peer.send(success + b"Ping: Keepalive command.  (Priv: <none>)\r\n\r\n")
            case _:
                peer.send(success + b"Ping: Pong\r\nTimestamp: 1795393193.838497\r\n\r\n")

    def _publish(self, data: bytes) -> None:
        for peer in [peer for peer in self._peers.values() if peer.listens]:
            peer.send(data)
            self._flush(peer)

    def _storm(self) -> None:
        """What is due of the storm."""
        while self._left and not self._behind():
            if self._rate and self._sent >= (time.monotonic() - self._began) * self._rate:
                return
            count = min(PORTION if not self._rate else 10, self._left)
            self._next += 1
            turn, place = divmod(self._next, len(self._portions))
            data = self._portions[place].replace(b"%d" % EPOCH, b"%d" % (EPOCH + turn))
            if count < PORTION:
                data = b"\r\n\r\n".join(data.split(b"\r\n\r\n", count)[:count]) + b"\r\n\r\n"
            self._publish(data)
            self._left -= count
            self._sent += count

    def _flush(self, peer: Peer) -> None:
        try:
            whole = peer.flush()
        except OSError:  # it has gone
            return self._close(peer)
        if peer.bytes > WAITING:
            return self._close(peer)
        self._poll.modify(peer.connection, select.EPOLLIN | (0 if whole else select.EPOLLOUT))

    def _close(self, peer: Peer) -> None:
        if self._peers.pop(peer.connection.fileno(), None) is None:
            return
        self._poll.unregister(peer.connection)
        peer.connection.close()


def _headers(action: bytes) -> dict[bytes, bytes]:
    pairs = (line.partition(b": ") for line in action.split(b"\r\n"))
    return {name.lower(): value for name, _, value in pairs}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("channels", type=int, nargs="?", default=0)
    options = parser.parse_args()
    generator = Generator(options.kind, options.channels)
    print(generator.port, flush=True)
    generator.run()


if __name__ == "__main__":
    main()
