"""amid: a daemon beside an Asterisk PBX that offers RPC and events over ZeroMQ to any program."""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from amid.client import AsyncChanges, AsyncClient, AsyncEvents, Changes, Client, Curve, Event, Events, Gap
    from amid.errors import ActionFailed, AmidError, CallTimeout

__all__ = [
    "ActionFailed",
    "AmidError",
    "AsyncChanges",
    "AsyncClient",
    "AsyncEvents",
    "CallTimeout",
    "Changes",
    "Client",
    "Curve",
    "Event",
    "Events",
    "Gap",
    "__version__",
]

_HOMES = {"ActionFailed": "amid.errors", "AmidError": "amid.errors", "CallTimeout": "amid.errors"}


def __getattr__(name: str) -> object:
    """Import the client on first use: the daemon's processes and the command line start without it."""
    if name not in __all__:
        raise AttributeError(f"module 'amid' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES.get(name, "amid.client")), name)


def __dir__() -> list[str]:
    """Include the names that are imported on first use, for completion and `help`."""
    return sorted({*globals(), *__all__})
