"""The audit trail: who asked for which action on which server with which target, and what came of it.

The broker keeps the last records for `amid audit` and writes each to the log, which is what outlasts it. One caller that is denied
without end neither fills the log nor pushes the records of others out: what is over its share is counted instead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from msgspec import Struct

from amid.ami.action import InvalidAction
from amid.ami.targets import targets_of
from amid.ami.trace import hidden
from amid.rpc.requests import ActionParams, Params

KEPT = 5000
"""Records in memory."""

SHARE, WINDOW_S = 200, 10.0
"""Records of one principal in so many seconds."""

LONGEST = 300
"""Characters of a target."""

ACTING = ("action", "restart", "cancel")
"""Methods that are recorded when they were allowed, where the configuration says so. Each is recorded when it was denied."""

TARGETS = ("channel", "queue", "mailbox", "conference", "exten")
"""Headers that say what an action is about, where no rule looks into it."""


class Asked(NamedTuple):
    """A request that was understood. caller: the NAME of its [callers.NAME], or a token's. began: on the monotonic clock."""

    caller: str
    principal: str
    method: str
    params: Params
    began: float

    @property
    def acts(self) -> bool:
        return self.method in ACTING


class AuditRecord(Struct, frozen=True):
    """time: when it was answered, in seconds since 1970. outcome: "ok", "abandoned", or an
    error's kind. sent: whether Asterisk may have received it. elapsed: seconds. left_out: records of this principal before this
    one that were over its share."""

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
    """`left_out` counts what was over the shares of callers."""

    def __init__(self) -> None:
        self.left_out = 0
        self.seq = 0
        self._records: deque[AuditRecord] = deque(maxlen=KEPT)
        self._windows: dict[str, tuple[float, int]] = {}

    def add(self, asked: Asked, only_server: str, outcome: str, sent: bool, now: float, wall: float) -> AuditRecord | None:
        """Keep the record of a request that was answered; None when it is over its caller's share. only_server: the one that is
        meant by a request that names none. wall: seconds since 1970."""
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
        """At most `limit` of the records after number `seq` that are kept."""
        return islice((record for record in self._records if record.seq > seq), limit)

    def _left_out_before(self, principal: str, now: float) -> int | None:
        """How many records of this principal were left out before one that may be added now; None when it may not."""
        began, count = self._windows.get(principal, (now, 0))
        before = 0
        if now >= began + WINDOW_S:
            before, began, count = max(0, count - SHARE), now, 0
            self._forget(now)
        self._windows[principal] = began, count + 1
        return before if count < SHARE else None

    def _forget(self, now: float) -> None:
        """The principals without a record lately, those aside of which some were left out and are still to be told."""
        kept = {name: (began, count) for name, (began, count) in self._windows.items() if count > SHARE or now < began + WINDOW_S}
        self._windows = kept


def target_of(params: Params) -> str:
    """What an action is about, secrets hidden."""
    if not isinstance(params, ActionParams):
        return ""
    try:
        texts = [target.text for target in targets_of(params.action, params.fields) if target.text]
    except InvalidAction:
        return ""
    texts = texts or [str(value) for name, value in params.fields.items() if str(name).lower() in TARGETS]
    text = ", ".join(texts)[:LONGEST].encode("utf-8", "surrogateescape")
    return hidden(text).decode("utf-8", "backslashreplace")
