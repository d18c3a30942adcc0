"""Reading the bodies of requests, each within a time and a size."""

from __future__ import annotations

import asyncio

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

BODY_S = 30.0
"""Seconds that a request's body may take to come."""


async def read_body(request: Request, most: int) -> bytes:
    """The body of at most `most` bytes. Raises `HTTPException` when it is larger, comes too slowly, or ends early."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for piece in request.stream():
                body += piece
                if len(body) > most:
                    raise HTTPException(413, f"the body has over {most} bytes (max_body_bytes in [gateway])")
    except TimeoutError:
        raise HTTPException(408, f"the body did not come within {BODY_S:g} s", {"Connection": "close"}) from None
    except ClientDisconnect:
        raise HTTPException(400, "the body ended early") from None
    return bytes(body)
