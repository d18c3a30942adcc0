"""amid: one daemon beside an Asterisk PBX that gives every program RPC and events over ZeroMQ."""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from amid.client import AsyncClient, Client, Curve, Event, Gap
    from amid.errors import ActionFailed, AmidError, CallTimeout

__all__ = ["ActionFailed", "AmidError", "AsyncClient", "CallTimeout", "Client", "Curve", "Event", "Gap", "__version__"]

_HOMES = {"ActionFailed": "amid.errors", "AmidError": "amid.errors", "CallTimeout": "amid.errors"}


def __getattr__(name: str) -> object:
    """Import the client only when somebody asks for it: the daemon's processes and the command line start without it."""
    if name not in __all__:
        raise AttributeError(f"module 'amid' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES.get(name, "amid.client")), name)


def __dir__() -> list[str]:
    """Names that are loaded when they are used are there for completion and `help` too."""
    return sorted({*globals(), *__all__})
