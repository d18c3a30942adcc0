"""The actions of one client without an answer, and when its next action may begin.

Lanes may carry out two actions in either order. Therefore an action begins after the answer to the
one before it, as on Asterisk, but waits for a slow one only for a moment.
"""

from __future__ import annotations

from collections.abc import Set

from msgspec import Struct

from amid.manager.forwarding import Forward


class OpenAction(Struct):
    """An action without an answer.

    forward: how it was sent to Asterisk. exclusive: no later action begins before its answer. until:
    when others wait for it no longer, in monotonic seconds.
    """

    forward: Forward
    action_id: bytes
    exclusive: bool
    until: float

    def was_sent_with(self, action_ids: Set[bytes]) -> bool:
        return self.action_id in action_ids or self.forward.wire_id.encode() in action_ids


class OpenActions:
    """By number, in the order of the requests. newest: the last number given."""

    def __init__(self) -> None:
        self._open: dict[int, OpenAction] = {}
        self.newest = 0

    def __len__(self) -> int:
        return len(self._open)

    @property
    def oldest(self) -> int | None:
        """The lowest open number."""
        return next(iter(self._open), None)

    @property
    def has_exclusive(self) -> bool:
        """Whether an exclusive action is open. Then it is the only one."""
        opened = next(iter(self._open.values()), None)
        return opened is not None and opened.exclusive

    @property
    def next_from(self) -> float:
        """When the next action may begin, in monotonic seconds, unless the last one is answered before."""
        last = self._open.get(self.newest)
        return last.until if last is not None else 0.0

    def has_action_id(self, action_id: bytes) -> bool:
        return any(opened.action_id == action_id for opened in self._open.values())

    def numbers_of(self, action_ids: Set[bytes]) -> list[int]:
        """The open actions that have one of these ActionIDs, as the client or as amid sent it. (The
        event may be another client's with the same one: this client takes it for its own, too.)"""
        return [number for number, one in self._open.items() if one.was_sent_with(action_ids)] if action_ids else []

    def add(self, opened: OpenAction) -> None:
        self.newest += 1
        self._open[self.newest] = opened

    def get(self, number: int) -> OpenAction | None:
        """The open action with this number."""
        return self._open.get(number)

    def remove(self, number: int) -> None:
        """It is answered."""
        del self._open[number]
