"""The audit trail: who requested which action on which server with which target, and the outcome.

The broker keeps the last records in memory for `amid audit` and writes each to the log, which
outlasts the broker. Each principal has a share of records per time window. A caller that is denied
all the time therefore neither fills the log nor displaces the records of others; its further
records are counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

from msgspec import Struct

from amid.ami.action import InvalidAction, fields_of_lines
from amid.ami.targets import targets_of
from amid.ami.trace import hidden
from amid.rpc.requests import ActionParams, Params

MAX_RECORDS = 5000
"""Records in memory."""

MAX_PER_WINDOW, WINDOW_S = 200, 10.0
"""Records of one principal within a window of so many seconds."""

MAX_TARGET_LENGTH = 300
"""In characters."""

ACTING = ("action", "restart", "cancel")
"""Methods that are recorded when allowed, if the configuration says so (`audit` in
[rpc]). Every denied request is recorded."""

TARGETS = ("channel", "queue", "mailbox", "conference", "exten")
"""Headers that name what an action is about, for actions that `targets_of` finds no target in."""


class AuditedRequest(NamedTuple):
    """A valid request. caller: the NAME of its [callers.NAME]. began: monotonic seconds."""

    caller: str
    principal: str
    method: str
    params: Params
    began: float

    @property
    def acts(self) -> bool:
        """Whether its method has effects, and so is recorded when allowed."""
        return self.method in ACTING


class AuditRecord(Struct, frozen=True):
    """One record.

    time: of the answer, in seconds since 1970. outcome: "ok", "abandoned", or an error's kind.
    sent: whether Asterisk may have received the action. elapsed: seconds. left_out: earlier records
    of this principal that were over its share.
    """

    seq: int
    time: float
    caller: str
    principal: str
    method: str
    action: str
    server: str
    target: str
    outcome: str
    sent: bool
    elapsed: float
    left_out: int = 0


class AuditTrail:
    """`left_out` counts the records that were over a principal's share."""

    def __init__(self) -> None:
        self.left_out = 0
        self.seq = 0
        self._records: deque[AuditRecord] = deque(maxlen=MAX_RECORDS)
        self._windows: dict[str, tuple[float, int]] = {}

    def add(self, asked: AuditedRequest, only_server: str, outcome: str, sent: bool, now: float, wall: float) -> AuditRecord | None:
        """Record a request that was answered; None if it is over its principal's share.

        only_server: the server of a request that names none. wall: seconds since 1970.
        """
        left_out = self._left_out_before(asked.principal, now)
        if left_out is None:
            self.left_out += 1
            return None
        self.seq += 1
        elapsed = round(now - asked.began, 6)
        action, target = getattr(asked.params, "action", ""), target_of(asked.params)
        server = getattr(asked.params, "server", "") or (only_server if hasattr(asked.params, "server") else "")
        who = (self.seq, wall, asked.caller, asked.principal)
        record = AuditRecord(*who, asked.method, action, server, target, outcome, sent, elapsed, left_out)
        self._records.append(record)
        return record

    def after(self, seq: int, limit: int) -> Iterator[AuditRecord]:
        """At most `limit` of the records in memory with a number over `seq`."""
        return islice((record for record in self._records if record.seq > seq), limit)

    def _left_out_before(self, principal: str, now: float) -> int | None:
        """The count of omitted records to report with a new one;
        None if the new one is omitted too."""
        began, count = self._windows.get(principal, (now, 0))
        before = 0
        if now >= began + WINDOW_S:
            before, began, count = max(0, count - MAX_PER_WINDOW), now, 0
            self._forget(now)
        self._windows[principal] = began, count + 1
        return before if count < MAX_PER_WINDOW else None

    def _forget(self, now: float) -> None:
        """Drop the principals whose window is over and that have no omitted records to report."""
        self._windows = {
            name: (began, count)
            for name, (began, count) in self._windows.items()
            if count > MAX_PER_WINDOW or now < began + WINDOW_S
        }


def target_of(params: Params) -> str:
    """What an action is about, with secrets hidden."""
    if not isinstance(params, ActionParams):
        return ""
    try:
        fields = params.fields if params.lines is None else _text_fields(params.lines)
        texts = [target.text for target in targets_of(params.action, fields) if target.text]
    except InvalidAction:
        return ""
    texts = texts or [str(value) for name, value in fields.items() if str(name).lower() in TARGETS]
    text = ", ".join(texts)[:MAX_TARGET_LENGTH].encode("utf-8", "surrogateescape")
    return hidden(text).decode("utf-8", "backslashreplace")


def _text_fields(lines: list[Any]) -> dict[str, str]:
    """The headers in `lines` as text. Raises `InvalidAction`."""
    fields = fields_of_lines(lines)
    return {
        name.decode("utf-8", "replace"): ", ".join(value.decode("utf-8", "surrogateescape") for value in values)
        for name, values in fields.items()
    }
