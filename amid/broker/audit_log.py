"""Writes the audit trail to the log at any log level.

Under systemd each member is a field of the journal, such as AMID_OUTCOME.
"""

from __future__ import annotations

import logging
from typing import Any

import msgspec

from amid.errors import AmidError
from amid.process.loop import clock
from amid.rpc.audit import AuditedRequest, AuditRecord, AuditTrail

log = logging.getLogger("amid.audit")
log.setLevel(logging.INFO)


def write_record(record: AuditRecord) -> None:
    """Log one record, as a warning if it was denied."""
    members = {name: _plain(value) for name, value in msgspec.to_builtins(record).items() if name != "time"}
    level = logging.WARNING if record.outcome == "denied" else logging.INFO
    log.log(level, "audit", extra={"audit": {name: text for name, text in members.items() if text}})


def _plain(value: Any) -> str:
    """A member as text; "" for an empty value."""
    match value:
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:.6f}"
        case _:
            return str(value or "")


class AuditLog:
    """records_all: whether allowed requests are recorded too."""

    def __init__(self) -> None:
        self._trail = AuditTrail()
        self.configure(False, [])

    def configure(self, records_all: bool, servers: list[str]) -> None:
        """Apply a configuration with these servers."""
        self.records_all = records_all
        self._only_server = servers[0] if len(servers) == 1 else ""

    def write_reply(self, asked: AuditedRequest, error: AmidError | None) -> None:
        """Record a request that was answered."""
        outcome, sent = (error.kind, error.sent) if error is not None else ("ok", asked.method == "action")
        if asked.acts or outcome == "denied":
            self._write(asked, outcome, sent)

    def write_abandoned(self, asked: AuditedRequest | None, sent: bool) -> None:
        """Record a request whose caller disconnected before the answer."""
        if asked is not None and asked.acts:
            self._write(asked, "abandoned", sent)

    def page(self, after: int, limit: int) -> dict[str, Any]:
        """The result of `audit`."""
        records = [msgspec.to_builtins(record) for record in self._trail.after(after, limit)]
        return {"records": records, "seq": self._trail.seq, "left_out": self._trail.left_out}

    def _write(self, asked: AuditedRequest, outcome: str, sent: bool) -> None:
        record = self._trail.add(asked, self._only_server, outcome, sent, clock.monotonic(), clock.wall())
        if record is not None:
            write_record(record)
