"""Which clients are closed so that the unread bytes of all together stay limited.

The limit of one client does not limit a thousand that stop reading at once, as programs do that
share a machine or a network.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

Client = TypeVar("Client")


def largest_backlogs(unread: Mapping[Client, int], limit: int) -> list[Client]:
    """The clients to close, those with the most unread bytes first, until the others have at most
    `limit` bytes together."""
    excess = sum(unread.values()) - limit
    chosen: list[Client] = []
    if excess <= 0:
        return chosen
    for client in sorted(unread, key=unread.__getitem__, reverse=True):
        chosen.append(client)
        excess -= unread[client]
        if excess <= 0:
            break
    return chosen
