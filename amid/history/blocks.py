"""How events are stored: blocks of packed events that are compressed together.

A block is a MessagePack array of events as they were published, in one zstandard frame with a
checksum: without it, a flipped bit would change a number unnoticed. Blocks of
250 events were chosen by measurement: with 1,000 events, files are 13 % smaller, but looking up one
call takes 10 ms instead of 3.5 ms.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import zstandard

from amid.history.event import Packed, split

BLOCK_EVENTS = 250
"""Events of a full block."""
LEVEL = 3
"""zstandard's default. Level 9 saves a fifth of the bytes and costs three times the CPU time."""
MAX_BYTES = 256 * 1024 * 1024
"""Limit of the uncompressed bytes of a block, so that a damaged file cannot exhaust the memory."""

_LONG_ARRAY = b"\xdd"  # MessagePack's array with a count of four bytes


def join(events: Sequence[Packed]) -> bytes:
    """Packed events as one packed array."""
    return b"".join([_LONG_ARRAY, len(events).to_bytes(4, "big"), *events])


class Compressor:
    """Reused for many blocks, because a new one costs as much as compressing a block. Not for
    concurrent use."""

    def __init__(self) -> None:
        self._zstandard = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)

    def compress(self, events: Sequence[Packed]) -> bytes:
        """The body of a block."""
        return self._zstandard.compress(join(events))


def decompress(body: bytes) -> list[msgspec.Raw]:
    """The packed events of a block. Raises `ValueError` if it is damaged."""
    try:
        if zstandard.frame_content_size(body) > MAX_BYTES:  # max_output_size applies only to frames that do not state it
            raise ValueError(f"a block would have over {MAX_BYTES} bytes")
        return split(zstandard.ZstdDecompressor().decompress(body, max_output_size=MAX_BYTES))
    except zstandard.ZstdError as error:
        raise ValueError(f"a block cannot be decompressed: {error}") from None
