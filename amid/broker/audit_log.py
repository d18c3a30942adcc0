"""Writes the audit trail to the log, whatever its level; under systemd each member is a field of the journal, as AMID_OUTCOME."""

from __future__ import annotations

import logging
from typing import Any

import msgspec

from amid.errors import AmidError
from amid.process.loop import clock
from amid.rpc.audit import Asked, AuditRecord, AuditTrail

log = logging.getLogger("amid.audit")
log.setLevel(logging.INFO)


def write_record(record: AuditRecord) -> None:
    members = {name: _plain(value) for name, value in msgspec.to_builtins(record).items() if name != "time"}
    level = logging.WARNING if record.outcome == "denied" else logging.INFO
    log.log(level, "audit", extra={"audit": {name: text for name, text in members.items() if text}})


def _plain(value: Any) -> str:
    """A member as text; "" for one that says nothing."""
    match value:
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:.6f}"
        case _:
            return str(value or "")


class AuditLog:
    """`records_all`: whether requests are recorded that were allowed."""

    def __init__(self) -> None:
        self._trail = AuditTrail()
        self.configure(False, [])

    def configure(self, records_all: bool, servers: list[str]) -> None:
        self.records_all = records_all
        self._only_server = servers[0] if len(servers) == 1 else ""

    def write_reply(self, asked: Asked, error: AmidError | None) -> None:
        """The request was answered."""
        outcome, sent = (error.kind, error.sent) if error is not None else ("ok", asked.method == "action")
        if asked.acts or outcome == "denied":
            self._write(asked, outcome, sent)

    def write_abandoned(self, asked: Asked | None, sent: bool) -> None:
        """The caller has gone before the answer."""
        if asked is not None and asked.acts:
            self._write(asked, "abandoned", sent)

    def page(self, after: int, limit: int) -> dict[str, Any]:
        """The result of `audit`."""
        records = [msgspec.to_builtins(record) for record in self._trail.after(after, limit)]
        return {"records": records, "seq": self._trail.seq, "left_out": self._trail.left_out}

    def _write(self, asked: Asked, outcome: str, sent: bool) -> None:
        record = self._trail.add(asked, self._only_server, outcome, sent, clock.monotonic(), clock.wall())
        if record is not None:
            write_record(record)
