"""What a reader shows of its sessions to whoever runs `amid trace`: every packet, on a socket of its own.

It shows what every caller sends and receives, so it is for callers with `admin`: on ipc only, and only where `local` has it. Where
another local caller lacks it, the mode of the socket admits only amid's own user and root. As with events, sending never blocks,
and loss shows by the numbers.
"""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path

from amid import wire
from amid.ami.trace import Sight, Trace
from amid.process.loop import clock
from amid.reader.event_socket import EventSocket, EventSockets

log = logging.getLogger("amid.trace")

KEPT = 1000
"""Packets at least that are kept for one who lags."""


class Tracer:
    """`open` binds or unbinds the socket; `step` is due once a second.

    epoch: when this reader started, so that its numbers are told from those of the reader before it.
    """

    def __init__(self, sockets: EventSockets, run_dir: str, server: str, epoch: int, secret: str) -> None:
        self._sockets = sockets
        self._place = Path(run_dir, wire.trace_socket(server))
        self._topic = wire.trace_topic(server)
        self._head = {"server": server, "epoch": epoch}
        self._seq = 0
        self._watchers: EventSocket | None = None
        self._mode = 0
        self.trace = Trace(secret, self._show)

    def open(self, mode: int) -> None:
        """Bind the socket with this mode, or with 0 unbind it."""
        if self._watchers is not None and mode != self._mode:
            self.close()
            self._place.unlink(missing_ok=True)
            self.trace.watched = False
        self._mode = mode
        if self._watchers is None and mode:
            self._watchers = self._sockets.open(self._place.name, KEPT, 0, lambda _: self._see_watchers(), mode)

    def close(self) -> None:
        if self._watchers is not None:
            self._watchers.close()
            self._watchers = None

    def step(self) -> None:
        if self._watchers is not None and not os.path.exists(self._place):
            self._bind_again()
        if self._watchers is not None:
            self._watchers.forgive()
            self._see_watchers()

    def _see_watchers(self) -> None:
        self.trace.watched = self._watchers is not None and self._watchers.want(self._topic)

    def _bind_again(self) -> None:
        """The file was removed. For the sockets that programs need the supervisor replaces the reader; this one is for people who
        look for a fault, which a new reader would hide. It is not bound in place of another file, which may be another amid's."""
        log.warning("%s was removed while amid runs; binding it again", self._place)
        self.close()
        with contextlib.suppress(OSError):  # the directory has gone too, and the supervisor makes it again
            self.open(self._mode)

    def _show(self, sight: Sight) -> None:
        self._seq += 1
        if self._watchers is not None:
            self._watchers.send(self._topic, wire.pack({**self._head, "seq": self._seq, "time": clock.wall(), **sight._asdict()}))
