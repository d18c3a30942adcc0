"""amid's errors as AMI clients receive them: `Response: Error` with a `Message`."""

from __future__ import annotations

from typing import Self

from msgspec import Struct

from amid.errors import AmidError
from amid.manager.responses import PERMISSION_DENIED

NOT_CONNECTED = b"Asterisk is not connected"
_MESSAGES = {
    "denied": PERMISSION_DENIED,
    "not_connected": NOT_CONNECTED,
    "unreachable": NOT_CONNECTED,
    "connection_lost": b"The connection to Asterisk was lost; the action may have been carried out",
    "busy": b"Too many actions are waiting for Asterisk; try again later",
    "timeout": b"Asterisk did not answer in time; the action may have been carried out",
    "too_large": b"The answer is too large (max_reply_bytes)",
}


class Failure(Struct, frozen=True):
    """kind, message, sent: of `AmidError`. packets: the answer of Asterisk, if there was one."""

    kind: str
    message: str = ""
    sent: bool = False
    packets: list[bytes] = []

    @classmethod
    def of(cls, error: AmidError) -> Self:
        return cls(error.kind, error.message, error.sent, error.packets or [])


def message_of(failure: Failure) -> bytes:
    """The text of `Message`, one line."""
    if failure.kind == "timeout" and not failure.sent:
        return b"Asterisk was not ready for the action in time; it was not sent"
    known = _MESSAGES.get(failure.kind)
    return known or " ".join(failure.message.split()).encode("utf-8", "surrogateescape")
