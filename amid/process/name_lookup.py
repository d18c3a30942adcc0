"""Looks up host names in a thread: a name server that does not answer must not stop the beat."""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from typing import Any

LOOKUP_S = 5.0
"""Timeout of a lookup."""

Address = tuple[Any, ...]
"""A result of getaddrinfo(3): family, type, protocol, canonical name, socket address."""


async def look_up(host: str, port: int, family: int = socket.AF_UNSPEC) -> list[Address]:
    """The TCP addresses of a host. Raises `socket.gaierror`, whose text says why there are none."""
    resolve = partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM)
    lookup = asyncio.get_running_loop().run_in_executor(None, resolve)
    try:
        async with asyncio.timeout(LOOKUP_S):
            return list(await lookup)
    except TimeoutError:
        raise socket.gaierror(socket.EAI_AGAIN, f"{host} was not resolved within {LOOKUP_S:g} s") from None
    except UnicodeError as error:
        raise socket.gaierror(socket.EAI_NONAME, f"{host!r} is not a valid host name: {error}") from None
