"""Looks up host names in threads: a name server that does not answer must not stop the beat.

A lookup cannot be stopped, and a thread that hangs in one outlasts many retries. In asyncio's pool
of a few threads, one such name would delay all other names, and numeric addresses too. So each name
has a thread of its own, one at a time, and a numeric address needs none.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from concurrent.futures import Future
from typing import Any

LOOKUP_S = 5.0
"""Timeout of a lookup."""

THREAD = "name lookup"
"""Name of the threads."""

Address = tuple[Any, ...]
"""A result of getaddrinfo(3): family, type, protocol, canonical name, socket address."""

_Question = tuple[str, int, int]
"""Host, port, family."""

_running: dict[_Question, Future[list[Address]]] = {}


async def look_up(host: str, port: int, family: int = socket.AF_UNSPEC) -> list[Address]:
    """The TCP addresses of a host. Raises `socket.gaierror`, whose text says why there are none."""
    try:
        if _is_numeric(host):
            return list(socket.getaddrinfo(host, port, family, socket.SOCK_STREAM))
        lookup = _running.get((host, port, family)) or _start((host, port, family))
        async with asyncio.timeout(LOOKUP_S):
            return await asyncio.wrap_future(lookup)
    except TimeoutError:
        raise socket.gaierror(socket.EAI_AGAIN, f"{host} was not resolved within {LOOKUP_S:g} s") from None
    except UnicodeError as error:
        raise socket.gaierror(socket.EAI_NONAME, f"{host!r} is not a valid host name: {error}") from None


def _is_numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _start(question: _Question) -> Future[list[Address]]:
    """Start a thread for the lookup. It runs already, so that a caller's timeout cannot cancel it
    for the others that wait for it. Raises `socket.gaierror` if there can be no more threads."""
    lookup: Future[list[Address]] = Future()
    lookup.set_running_or_notify_cancel()
    _running[question] = lookup
    try:
        threading.Thread(target=_run, args=(question, lookup), name=THREAD, daemon=True).start()
    except RuntimeError as error:
        del _running[question]
        raise socket.gaierror(socket.EAI_AGAIN, f"{question[0]} was not resolved: {error} (TasksMax of the service)") from None
    return lookup


def _run(question: _Question, lookup: Future[list[Address]]) -> None:
    try:
        found = list(socket.getaddrinfo(*question, socket.SOCK_STREAM))
    except Exception as error:
        del _running[question]
        lookup.set_exception(error)
    else:
        del _running[question]
        lookup.set_result(found)
