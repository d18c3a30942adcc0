"""The trace socket of a reader: every packet of its sessions, for `amid trace`.

It shows what every caller sends and receives, so it is only for callers with `admin`: on ipc only,
and only if `local` has it. If another local caller lacks it, the socket's mode admits only amid's
own user and root. As with events, sending never blocks, and loss is detected from the sequence
numbers.
"""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path

from amid import wire
from amid.ami.trace import Trace, TraceRecord
from amid.process.loop import clock
from amid.reader.event_socket import EventSocket, EventSockets

log = logging.getLogger("amid.trace")

MIN_KEPT = 1000
"""Packets that are kept at least for a slow subscriber."""


class Tracer:
    """`open` binds or unbinds the socket; `step` is due once a second.

    epoch: the start of this reader, to tell its numbers from those of the reader before.
    """

    def __init__(self, sockets: EventSockets, run_dir: str, server: str, epoch: int, secret: str) -> None:
        self._sockets = sockets
        self._path = Path(run_dir, wire.trace_socket(server))
        self._topic = wire.trace_topic(server)
        self._head = {"server": server, "epoch": epoch}
        self._seq = 0
        self._watchers: EventSocket | None = None
        self._mode = 0
        self.trace = Trace(secret, self._publish)

    def open(self, mode: int) -> None:
        """Bind the socket with this mode, or unbind it for mode 0."""
        if self._watchers is not None and mode != self._mode:
            self.close()
            self._path.unlink(missing_ok=True)
            self.trace.watched = False
        self._mode = mode
        if self._watchers is None and mode:
            self._watchers = self._sockets.open(self._path.name, MIN_KEPT, lambda _: self._update_watched(), mode)

    def close(self) -> None:
        if self._watchers is not None:
            self._watchers.close()
            self._watchers = None

    def step(self) -> None:
        """Rebind a removed socket, and look for subscribers."""
        if self._watchers is not None and not os.path.exists(self._path):
            self._rebind()
        if self._watchers is not None:
            self._watchers.halve_counts()
            self._update_watched()

    def _update_watched(self) -> None:
        self.trace.watched = self._watchers is not None and self._watchers.want(self._topic)

    def _rebind(self) -> None:
        """Bind a socket whose file was removed.

        For sockets that programs need, the supervisor replaces the reader. This one serves people
        who look for a fault, which a new reader would hide. It does not replace another file, which
        may be another amid's.
        """
        log.warning("%s was removed; binding it again", self._path)
        self.close()
        with contextlib.suppress(OSError):  # the directory was removed too; the supervisor creates it again
            self.open(self._mode)

    def _publish(self, record: TraceRecord) -> None:
        self._seq += 1
        if self._watchers is not None:
            self._watchers.send(self._topic, wire.pack({**self._head, "seq": self._seq, "time": clock.wall(), **record._asdict()}))
