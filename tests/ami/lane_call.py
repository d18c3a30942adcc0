"""What a lane carries, as the reader's requests are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class LaneCall:
    call_id: int
    action: str
    action_id: str
    packet: bytes
    deadline: float
    max_bytes: int
    quick: bool = False
