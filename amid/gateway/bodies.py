"""Reads request bodies within limits of time and size, and detects that a client has disconnected."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

T = TypeVar("T")

BODY_S = 30.0
"""Timeout in seconds for a request body."""


async def read_body(request: Request, most: int, reserve: Callable[[int], None] = lambda count: None) -> bytes:
    """Read a body of at most `most` bytes. `reserve` is called with the size of each chunk and may
    raise.

    Raises `HTTPException`: 413 when the body is too large, 408 when it is too slow, 400 when it
    ends early.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for piece in request.stream():
                reserve(len(piece))
                body += piece
                if len(body) > most:
                    raise HTTPException(413, f"the body has over {most} bytes (max_body_bytes in [gateway])")
    except TimeoutError:
        raise HTTPException(408, f"the body did not arrive within {BODY_S:g} s", {"Connection": "close"}) from None
    except ClientDisconnect:
        raise HTTPException(400, "the body ended early") from None
    return bytes(body)


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled when the client disconnects. Call it after reading
    the body."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
