"""The `replay` method: what the ring holds is encoded a portion at a time, between the reader's other work.

A page may have 100,000 events and take a second, and many may be asked for at once; a reader that did nothing else meanwhile would
hold up calls and events, and be taken for hung.
"""

from __future__ import annotations

from collections import deque

from amid.events.message import pack
from amid.events.ring import Gone
from amid.process.loop import clock
from amid.reader.publisher import Publisher
from amid.reader.result_encoder import Deliver
from amid.rpc import result
from amid.rpc.messages import Failure, ReplayEvents

PORTION = 200
"""Events encoded in one go, in some 2 ms."""
AT_ONCE = 2
"""Answers that grow at once; each may have all that the ring holds, some 40 MB."""
PASS_S = 0.01
"""Seconds given to all replays in one pass of the reader's loop."""


class _Replay:
    """One request, and what is encoded of its answer."""

    def __init__(self, request: ReplayEvents) -> None:
        self.call_id = request.call_id
        self.deadline = request.deadline
        self.epoch = request.epoch
        self.after = request.after
        self.left = request.limit
        self.as_json = request.as_json
        self.events: list[bytes] = []


class Replays:
    """All requests that are not answered yet; some at once get their portions in turn."""

    def __init__(self, server: str, publisher: Publisher, deliver: Deliver) -> None:
        self._server = server
        self._publisher = publisher
        self._deliver = deliver
        self._waiting: deque[_Replay] = deque()
        self._begun: deque[_Replay] = deque()

    @property
    def pending(self) -> bool:
        return bool(self._waiting or self._begun)

    def ask(self, request: ReplayEvents) -> None:
        self._waiting.append(_Replay(request))

    def forget(self, call_id: int) -> None:
        """Nobody waits for this answer any more."""
        self._waiting = deque(replay for replay in self._waiting if replay.call_id != call_id)
        self._begun = deque(replay for replay in self._begun if replay.call_id != call_id)

    def step(self) -> None:
        """Work on them for a while."""
        end = clock.monotonic() + PASS_S
        while self.pending and (now := clock.monotonic()) < end:
            while self._waiting and len(self._begun) < AT_ONCE:
                self._begun.append(self._waiting.popleft())
            replay = self._begun.popleft()
            if now < replay.deadline and not self._portion(replay):  # the broker has told the callers of those that are overdue
                self._begun.append(replay)

    def _portion(self, replay: _Replay) -> bool:
        """Encode the next events; True when the answer is complete and sent."""
        publisher = self._publisher
        last = publisher.numbers.seq if replay.epoch == publisher.numbers.epoch else None
        try:
            held, more = publisher.ring.after(replay.epoch, replay.after, min(PORTION, replay.left), last)
        except Gone as gone:
            if replay.events:  # the ring has moved on; who asks for the rest is told so
                return self._send(replay, more=True)
            data = {"server": self._server} | ({"oldest": gone.oldest} if gone.oldest is not None else {})
            self._deliver(replay.call_id, None, Failure("gone", str(gone), False, data))
            return True
        packed = [pack(publisher.replayed(replay.epoch, one)) for one in held]
        replay.events += map(result.json_event, packed) if replay.as_json else packed
        replay.after += len(held)
        replay.left -= len(held)
        return (not more or not replay.left) and self._send(replay, more)

    def _send(self, replay: _Replay, more: bool) -> bool:
        self._deliver(replay.call_id, result.replay(replay.events, more, replay.as_json), None)
        return True
