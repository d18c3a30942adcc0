"""What comes from a client: the bodies of requests, each within a time and a size, and the end of its connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

T = TypeVar("T")

BODY_S = 30.0
"""Seconds that a request's body may take to come."""


async def read_body(request: Request, most: int, reserve: Callable[[int], None] = lambda count: None) -> bytes:
    """The body of at most `most` bytes; `reserve` is told of its pieces, and may raise.

    Raises `HTTPException` when the body is larger, comes too slowly, or ends early.
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
        raise HTTPException(408, f"the body did not come within {BODY_S:g} s", {"Connection": "close"}) from None
    except ClientDisconnect:
        raise HTTPException(400, "the body ended early") from None
    return bytes(body)


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled when the client closes its connection; the body has been read by then.

    Raises `ClientDisconnect`.
    """
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
