"""Emits recorded events in the simulated PBX, with the spacing that they had.

The state of the PBX is folded from the same events, so a list agrees with the events before it.
Other actions on the PBX are refused: what they change would contradict the recording.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from amid.playback.lists import LISTS
from amid.playback.recording import PLAY, RecordedEvent, Recording
from amid.simulator.actions import ACTIONS, act
from amid.simulator.actions.answer import Answer
from amid.simulator.pbx import Pbx
from amid.simulator.session import Session
from amid.simulator.tasks import Steps
from amid.simulator.wire import Request
from amid.state.fold import apply
from amid.state.model import Model

START_CHECK_S = 0.05
"""Seconds between two checks whether to start."""
BLOCK_PAUSE_S = 0.01
"""Seconds after each block, so that sessions are served when events are emitted without pauses."""

SESSION_ACTIONS = {
    *("challenge", "login", "logoff", "ping", "events", "waitevent", "listcommands", "coresettings", "corestatus"),
    *("getvar", "setvar", "userevent"),
}
"""Actions that change nothing that is recorded."""


class Player:
    """speed: how many times faster than it was recorded."""

    def __init__(self, recording: Recording, speed: float) -> None:
        self._recording = recording
        self._speed = speed
        self._epoch = 0
        self._model = Model()
        self._time = 0.0
        self._played_at = 0.0
        self._is_started = False

    def play(self, pbx: Pbx) -> Steps:
        """A task: emit all events, from the action `PLAY` on."""
        while not self._is_started:
            yield START_CHECK_S
        began = first = None
        for block in self._recording.blocks():
            for event in block:
                began, first = began or pbx.now, first or event.time
                due = began + (event.time - first) / self._speed
                if due > pbx.now:
                    yield due - pbx.now
                self._emit(pbx, event)
            yield BLOCK_PAUSE_S

    def act(self, session: Session, request: Request) -> None:
        """Run an action: a list is answered from the recorded state."""
        name = request.get("Action").lower()
        if name in LISTS and session.user is not None and not request.defect:
            LISTS[name](Answer(session, request), self._model, self._now(session.pbx))
        elif name in ACTIONS and name not in SESSION_ACTIONS and session.user is not None:
            Answer(session, request).error("This PBX plays a recording, and does not run this action")
        elif name == PLAY.lower() and session.user is not None:
            self._is_started = True
            Answer(session, request).success("Playing")
        else:
            act(session, request)

    def _now(self, pbx: Pbx) -> float:
        """The recorded time, in seconds since 1970."""
        return self._time + (pbx.now - self._played_at) * self._speed

    def _emit(self, pbx: Pbx, event: RecordedEvent) -> None:
        if event.epoch != self._epoch:  # what happened between two sessions is not known
            self._epoch, self._model = event.epoch, Model()
        self._time, self._played_at = event.time, pbx.now
        if event.event.startswith("amid:"):
            return
        apply(self._model, event.event, event.fields, event.time)
        self._model.take_changes()
        privilege = str(event.fields.get("Privilege", "system"))
        classes = ",".join(one for one in privilege.split(",") if one != "all")
        pbx.emit_lines(event.event, classes, _lines(event))


def _lines(event: RecordedEvent) -> Iterator[str]:
    """The headers as Asterisk sent them. What has no colon is under the name ""."""
    for name, values in event.fields.items():
        for value in values if isinstance(values, list) else [values]:
            if name != "Privilege":
                yield f"{_text(name)}: {_text(value)}" if name else _text(value)


def _text(value: Any) -> str:
    """A damaged file may have other values than text and bytes."""
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)
