"""The client library: calls and events for Python programs, blocking (`Client`) and asyncio (`AsyncClient`).

Every rule stands once, in modules that know no socket and no clock: `rules` (what a request looks like, how long
to wait, what a reply means) and `feed` (events and gaps). `blocking` and `aio` are two thin shells that move bytes
for them; `discovery` looks for the daemon on this machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from amid.client.blocking import Client, Events
from amid.client.curve import Curve
from amid.client.feed import Event
from amid.events.sequence import Gap

if TYPE_CHECKING:
    from amid.client.aio import AsyncClient, AsyncEvents

__all__ = ["AsyncClient", "AsyncEvents", "Client", "Curve", "Event", "Events", "Gap"]


def __getattr__(name: str) -> object:
    """asyncio is loaded only for those who use it: a command line that makes one call starts without it."""
    if name not in ("AsyncClient", "AsyncEvents"):
        raise AttributeError(f"module 'amid.client' has no attribute {name!r}")
    import amid.client.aio

    return getattr(amid.client.aio, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
