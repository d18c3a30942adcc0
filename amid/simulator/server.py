"""The TCP server of the simulated PBX: a thin loop that passes bytes and time to the pure modules.

As in Asterisk, a client that does not read is disconnected when its socket has accepted nothing for
`write_timeout` seconds, and unread data is lost.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from amid.simulator.actions import act
from amid.simulator.pbx import Pbx
from amid.simulator.session import ASTERISK_22, Act, Release, Session, User
from amid.simulator.traffic import traffic


@dataclass(eq=False)
class Connection:
    sock: socket.socket
    session: Session
    stuck_since: float | None = None
    interest: int = field(default=selectors.EVENT_READ)


class SimulatedPbx:
    """An AMI server with calls.

    `start` and `stop`, or `with`, run it in a thread; `run` serves in the caller's thread until
    `stop` is called or `stop_fd` reaches end of file.

        port: TCP port; 0 chooses a free port, which the attribute `port` then has.
        write_timeout: in seconds.
        act: runs actions.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        users: Sequence[User] = (User("demo", "demo"),),
        calls_per_minute: float = 0,
        seed: int = 1,
        *,
        act: Act = act,
        release: Release = ASTERISK_22,
        write_timeout: float = 0.1,
    ) -> None:
        self.pbx = Pbx(time.time(), seed)
        self.write_timeout = write_timeout
        self._users = users
        self._act = act
        self._release = release
        self._connections: dict[int, Connection] = {}
        self._listener = socket.create_server((host, port), backlog=128)
        self._listener.setblocking(False)
        self.host, self.port = self._listener.getsockname()[:2]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._stopper, self._stopped = socket.socketpair()
        self._selector.register(self._stopped, selectors.EVENT_READ)
        self._thread: threading.Thread | None = None
        self.pbx.tasks.start(traffic(self.pbx, calls_per_minute))

    def __enter__(self) -> SimulatedPbx:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def connected(self) -> list[str]:
        """The connected clients, as address/port."""
        return [connection.session.peer for connection in tuple(self._connections.values())]

    def start(self) -> None:
        self._thread = threading.Thread(target=self.run, name="simulated-pbx", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End `run`, close every connection, and wait for the thread if there is one."""
        with contextlib.suppress(OSError):
            self._stopper.send(b"x")
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def run(self, stop_fd: int | None = None) -> None:
        if stop_fd is not None:
            self._selector.register(stop_fd, selectors.EVENT_READ)
        stoppers = {stop_fd, self._stopped.fileno()}
        try:
            while True:
                ready = self._selector.select(self._select_timeout_s())
                if any(key.fd in stoppers and self._is_over(key.fd) for key, _ in ready):
                    return
                for key, events in ready:
                    self._handle(key.fd, events)
                self._advance()
        finally:
            self._close_all()

    def _is_over(self, fd: int) -> bool:
        """Whether to end: because of `stop`, or at end of file on `stop_fd`."""
        return fd == self._stopped.fileno() or not os.read(fd, 4096)

    def _select_timeout_s(self) -> float:
        """Seconds until the next timed activity."""
        now = time.time()
        due = [
            self.pbx.tasks.next_due(),
            *(c.session.next_due for c in self._connections.values()),
            *(c.stuck_since + self.write_timeout for c in self._connections.values() if c.stuck_since),
        ]
        return min(max(0.0, min(due) - now), 1.0)

    def _handle(self, fd: int, events: int) -> None:
        if fd == self._listener.fileno():
            return self._accept()
        connection = self._connections.get(fd)
        if connection is None:
            return
        if events & selectors.EVENT_READ:
            try:
                data = connection.sock.recv(65536)
            except OSError:
                data = b""
            if not data:
                return self._drop(connection)
            connection.session.receive(data, time.time())

    def _accept(self) -> None:
        try:
            sock, address = self._listener.accept()
        except OSError:
            return  # the client has disconnected already
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        session = Session(self.pbx, self._users, self._act, self._release, f"{address[0]}/{address[1]}")
        self._connections[sock.fileno()] = Connection(sock, session)
        self._selector.register(sock, selectors.EVENT_READ)

    def _advance(self) -> None:
        """Advance the time of all sessions and send their output."""
        now = time.time()
        self.pbx.tasks.run(now)
        for connection in list(self._connections.values()):
            connection.session.tick(now)
        for connection in list(self._connections.values()):
            self._send(connection, now)

    def _send(self, connection: Connection, now: float) -> None:
        out = connection.session.outgoing
        try:
            sent = connection.sock.send(out[: 1 << 18]) if out else 0
        except BlockingIOError:
            sent = 0
        except OSError:
            return self._drop(connection)
        del out[:sent]
        if sent or not out:
            connection.stuck_since = None
        elif connection.stuck_since is None:
            connection.stuck_since = now
        stuck = connection.stuck_since is not None and now - connection.stuck_since >= self.write_timeout
        if stuck or (connection.session.closed and not out):
            return self._drop(connection)
        self._watch(connection)

    def _watch(self, connection: Connection) -> None:
        interest = (selectors.EVENT_READ if connection.session.reading else 0) | (
            selectors.EVENT_WRITE if connection.session.outgoing else 0
        )
        if interest == connection.interest:
            return
        if connection.interest == 0:
            self._selector.register(connection.sock, interest)
        elif interest == 0:
            self._selector.unregister(connection.sock)
        else:
            self._selector.modify(connection.sock, interest)
        connection.interest = interest

    def _drop(self, connection: Connection) -> None:
        connection.session.close()
        if connection.interest:
            self._selector.unregister(connection.sock)
        del self._connections[connection.sock.fileno()]
        connection.sock.close()

    def _close_all(self) -> None:
        for connection in list(self._connections.values()):
            self._drop(connection)
        self._selector.close()
        for sock in (self._listener, self._stopper, self._stopped):
            sock.close()
