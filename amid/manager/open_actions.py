"""The actions of one client whose answers were not sent yet, and the order of these answers.

Answers of Asterisk arrive in the order in which its lanes work. For a moment they wait for the
answers of earlier requests, as do the listener's own answers: a program that sends several actions
at once sees Asterisk's order.
"""

from __future__ import annotations

import math
from collections.abc import Set

from msgspec import Struct

from amid.manager.forwarding import Forward


class OpenAction(Struct):
    """An action without a sent answer.

    forward: how it was sent to Asterisk; None if the listener answered it. exclusive: no later
    action begins before its answer. until: when later answers wait for it no longer, in monotonic
    seconds. answer: its answer, while that waits for others.
    """

    forward: Forward | None
    action_id: bytes
    exclusive: bool
    until: float
    answer: bytes | None = None

    def was_sent_with(self, action_ids: Set[bytes]) -> bool:
        forward = self.forward
        return forward is not None and (self.action_id in action_ids or forward.wire_id.encode() in action_ids)


class OpenActions:
    """By number, in the order of the requests.

    newest: the last number given. next_deadline: when `take_answers` is due again; infinite if no
    answer waits.
    """

    def __init__(self) -> None:
        self._open: dict[int, OpenAction] = {}
        self.newest = 0
        self.next_deadline = math.inf

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

    def has_action_id(self, action_id: bytes) -> bool:
        return any(opened.action_id == action_id for opened in self._open.values())

    def numbers_of(self, action_ids: Set[bytes]) -> list[int]:
        """The open actions that have one of these ActionIDs, as the client or as amid sent it. (The
        event may be another client's with the same one: this client takes it for its own, too.)"""
        return [number for number, one in self._open.items() if one.was_sent_with(action_ids)] if action_ids else []

    def add(self, opened: OpenAction) -> None:
        self.newest += 1
        self._open[self.newest] = opened

    def forwarded(self, number: int) -> OpenAction | None:
        """The open action that was sent to Asterisk under this number."""
        opened = self._open.get(number)
        return opened if opened is not None and opened.forward is not None else None

    def take_answers(self, now: float) -> bytes:
        """Remove the actions whose answers need not wait any longer, and return these answers."""
        ready: list[bytes] = []
        self.next_deadline = math.inf
        for number, opened in list(self._open.items()):
            if opened.answer is not None:
                del self._open[number]
                ready.append(opened.answer)
            elif now < opened.until:
                waiting = any(one.answer is not None for one in self._open.values())
                self.next_deadline = opened.until if waiting else math.inf
                break
        return b"".join(ready)
