"""How many bytes of answers each caller has not read yet.

ZeroMQ bounds what waits for a caller by number, and 10,000 large answers can be more than a machine has. So each large one is sent
with a tracker, which tells when ZeroMQ is done with it, and a caller that has too much unread is given an error in place of more.
"""

from __future__ import annotations

import zmq

from amid.daemon.sending import send

LARGE = 16 * 1024
"""Bytes from which on an answer is counted; 10,000 smaller ones take 160 MB at most."""
LIMIT = 64 * 1024 * 1024
"""Bytes that may wait for one caller; a single answer may be larger."""
MANY = 1000
"""Callers remembered before those that have read everything are forgotten."""


class ReplyBacklog:
    """Counts by the caller's routing id."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, list[tuple[zmq.MessageTracker, int]]] = {}

    def has_room(self, caller: bytes, size: int) -> bool:
        """Whether `size` bytes more may wait for this caller."""
        waiting = self._pruned(caller)
        return size < LARGE or not waiting or size + sum(waited for _, waited in waiting) <= LIMIT

    def send(self, socket: zmq.Socket[bytes], frames: list[bytes]) -> None:
        """Send to the caller named by the first frame. Raises `zmq.ZMQError`."""
        size = len(frames[-1])
        if size < LARGE:
            send(socket, *frames)
            return
        tracker = socket.send_multipart(frames, zmq.DONTWAIT, copy=False, track=True)
        assert tracker is not None
        self._waiting.setdefault(frames[0], []).append((tracker, size))
        if len(self._waiting) > MANY:
            for caller in list(self._waiting):
                self._pruned(caller)

    def _pruned(self, caller: bytes) -> list[tuple[zmq.MessageTracker, int]]:
        """What the caller has not read; nothing is kept of one that has read everything, or has gone."""
        waiting = [(tracker, size) for tracker, size in self._waiting.get(caller, ()) if not tracker.done]
        if waiting:
            self._waiting[caller] = waiting
        else:
            self._waiting.pop(caller, None)
        return waiting
