"""How many connections each caller has to an event socket.

For a subscriber that does not read, libzmq keeps 20,000 small messages, which take 2.5 MB besides
their text. A few hundred such subscribers of one caller would fill the unit's memory. A connection
counts from its first message on, because nothing is sent to it before. libzmq does not report its
end, so a connection is identified by descriptor and inode, and closed ones are dropped when a
caller has reached its limit.
"""

from __future__ import annotations

import os

import zmq

REMEMBERED_CALLERS = 1000


class Subscribers:
    """limit: connections of one caller, a Unix user or a key.

    Root and amid's own user have no limit.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._inodes: dict[str, dict[int, int]] = {}

    def add(self, caller: str, descriptor: int) -> bool:
        """Note a message on this connection; False if its caller has too many connections."""
        connections = self._inodes.setdefault(caller, {})
        inode = _inode(descriptor)
        if connections.get(descriptor) == inode or caller in ("uid:0", f"uid:{os.geteuid()}"):
            return True
        if len(connections) >= self._limit:
            self._drop_closed(connections)
        if len(connections) >= self._limit:
            return False
        connections[descriptor] = inode
        return True

    def forget_closed(self) -> None:
        """Drop callers without connections. Due once a second."""
        if len(self._inodes) > REMEMBERED_CALLERS:
            for connections in self._inodes.values():
                self._drop_closed(connections)
            self._inodes = {caller: connections for caller, connections in self._inodes.items() if connections}

    @staticmethod
    def _drop_closed(connections: dict[int, int]) -> None:
        for descriptor in [descriptor for descriptor, inode in connections.items() if _inode(descriptor) != inode]:
            del connections[descriptor]


def caller_of(message: zmq.Frame, peer: str) -> str:
    """The caller of a connection. peer: its address, over ipc `localhost:UID:GID:PID`."""
    return f"uid:{peer.split(':')[1]}" if peer.startswith("localhost:") else f"key:{message.get('User-Id')}"


def _inode(descriptor: int) -> int:
    """0 if the descriptor is closed."""
    try:
        return os.fstat(descriptor).st_ino
    except OSError:
        return 0
