"""The client library: calls and events for Python programs, blocking (`Client`) and asyncio
(`AsyncClient`).

The rules of a call are in modules without sockets and clocks, so that both clients follow the same
rules and tests need no daemon: `protocol` (requests, replies, timeouts), `methods` (the methods,
from which `async_methods` is generated), `results` (result types) and `event` (events and gaps).
`blocking` and `aio` carry the bytes. `discovery` finds the daemon's socket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from amid.client.blocking import Client, Events
from amid.client.changes import Changes
from amid.client.curve import Curve
from amid.client.event import Event
from amid.events.sequence import Gap

if TYPE_CHECKING:
    from amid.client.aio import AsyncClient, AsyncEvents
    from amid.client.async_changes import AsyncChanges

_ASYNC = {"AsyncChanges": "async_changes", "AsyncClient": "aio", "AsyncEvents": "aio"}

__all__ = ["AsyncChanges", "AsyncClient", "AsyncEvents", "Changes", "Client", "Curve", "Event", "Events", "Gap"]


def __getattr__(name: str) -> object:
    """Import the asyncio client on first use, so that a command that makes one call starts faster."""
    if name not in _ASYNC:
        raise AttributeError(f"module 'amid.client' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"amid.client.{_ASYNC[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
