"""Encodes results between the reader's other work.

Encoding a large one at once would delay calls and events by 0.5 s.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from amid.process.loop import Soon, clock
from amid.rpc.messages import Failure
from amid.rpc.result import encode_at_once, pieces

TURN_S = 0.002
"""Time for one result before the next one's turn."""
PASS_S = 0.01
"""Time for all results in one pass of the reader's loop."""

Deliver = Callable[[int, bytes | None, Failure | None], None]
"""Sends the answer to a call: its id, and an encoded result or an error."""


class _Encoding:
    def __init__(self, call_id: int, owner: str, deadline: float, size: int, pieces: Iterator[bytes]) -> None:
        self.call_id = call_id
        self.owner = owner
        self.deadline = deadline
        self.size = size
        self.pieces = pieces
        self.done: list[bytes] = []

    def advance(self) -> bool:
        """Encode for one turn; True once the result is complete."""
        end = clock.monotonic() + TURN_S
        for piece in self.pieces:
            self.done.append(piece)
            if clock.monotonic() >= end:
                return False
        return True


class ResultEncoder:
    """deliver: takes each complete result.

    Small results are complete at once, larger ones after some passes of the running loop.
    """

    def __init__(self, deliver: Deliver) -> None:
        self._deliver = deliver
        self._step_soon = Soon(asyncio.get_running_loop(), self._step)
        self._begun: deque[_Encoding] = deque()

    @property
    def pending(self) -> int:
        """The number of results that are not complete yet."""
        return len(self._begun)

    def is_busy_for(self, owner: str) -> bool:
        """Whether a result of this owner is not complete yet."""
        return any(encoding.owner == owner for encoding in self._begun)

    @property
    def pending_bytes(self) -> int:
        """The sizes of these results, as they were given."""
        return sum(encoding.size for encoding in self._begun)

    def start(self, call_id: int, deadline: float, value: Any, as_json: bool, size: int = 0, owner: str = "") -> None:
        """value: as `amid.rpc.result.pieces` takes it. deadline: monotonic seconds. size: of what the
        value is made from, in bytes. owner: whom `is_busy_for` names."""
        encoded = encode_at_once(value, as_json)
        if encoded is not None:
            self._deliver(call_id, encoded, None)
        else:
            self._advance(_Encoding(call_id, owner, deadline, size, pieces(value, as_json)))

    def forget(self, call_id: int | None) -> None:
        """The caller no longer waits for this result; None: no caller waits for any."""
        self._begun = deque(encoding for encoding in self._begun if call_id not in (None, encoding.call_id))

    def _step(self) -> None:
        """Encode pending results for `PASS_S`."""
        end = clock.monotonic() + PASS_S
        while self._begun and (now := clock.monotonic()) < end:
            encoding = self._begun.popleft()
            if now < encoding.deadline:  # the broker has answered overdue calls
                self._advance(encoding)
        if self._begun:
            self._step_soon()

    def _advance(self, encoding: _Encoding) -> None:
        if encoding.advance():
            self._deliver(encoding.call_id, b"".join(encoding.done), None)
        else:
            self._begun.append(encoding)
            self._step_soon()
