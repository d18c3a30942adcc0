"""The action WaitEvent: it ends with the next event of any class, the next bytes of the client, or
its timeout."""

from __future__ import annotations

import math
import re
from typing import NamedTuple, Self

from amid.manager.request_parser import Request

_INTEGER = re.compile(rb"\s*([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")
"""A number for `sscanf` with `%30i`, which accepts hexadecimal and octal numbers too."""


class WaitEvent(NamedTuple):
    """until: in monotonic seconds."""

    action_id: bytes
    until: float

    @classmethod
    def of(cls, request: Request, now: float) -> Self:
        """Without a number, or with a negative one, it waits without a limit."""
        found = _INTEGER.match(request.get(b"timeout")[:30])
        seconds = math.inf
        if found and found[1] != b"-":
            digits = found[2].lower()
            base = 16 if digits.startswith(b"0x") else 8 if digits.startswith(b"0") else 10
            seconds = float(int(digits, base))
        return cls(request.action_id, now + seconds)
