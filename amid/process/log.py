"""The log of every process of the daemon: one `key=value` line per record on stderr; under systemd,
fields in the journal.

Repeated records are rate-limited and counted, secrets are hidden, and no value can start a new
line. SIGUSR1 switches to level debug, SIGUSR2 back to the configured level. Both affect this
process only; the supervisor forwards them to its children.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

from amid.process.log_writer import LogWriter

log = logging.getLogger("amid.log")

JOURNAL = "/run/systemd/journal/socket"
LEVEL_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2)

MAX_PER_WINDOW = 10
WINDOW_S = 60.0
"""Records of one kind within a window of so many seconds, debug records excepted."""

MIN_SECRET_LENGTH = 6
"""In characters. Hiding a shorter secret would hide half of the log and reveal it by the gaps."""

MAX_VALUE_LENGTH = 16_384
"""In characters. A datagram to the journal must fit into a socket buffer of 200 KB."""

_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
"""Levels as numbered by syslog(3)."""


class Limit(logging.Filter):
    """Passes `MAX_PER_WINDOW` records of one kind in `WINDOW_S`. The last one announces the limit,
    and the next one after the window has the count of omitted records.

    A kind is a message before its values are inserted, and for one child where the record names it.
    The time is the record's.
    """

    def __init__(self) -> None:
        super().__init__()
        self._windows: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno <= logging.DEBUG or hasattr(record, "audit"):  # the audit trail has its own limits
            return True
        kind = (str(record.msg), getattr(record, "child", ""))
        began, count = self._windows.get(kind, (record.created, 0))
        if not began <= record.created < began + WINDOW_S:  # over, or the clock was set back
            record.left_out = max(0, count - MAX_PER_WINDOW)
            began, count = record.created, 0
        self._windows[kind] = (began, count + 1)
        if count + 1 == MAX_PER_WINDOW:
            record.limit = f"further records like this are left out for {WINDOW_S - record.created + began:.0f} s"
        return count < MAX_PER_WINDOW


class Fields(logging.Formatter):
    """Formats a record as fields, and fields as a line. common:
    fields of each record of this process."""

    def __init__(self, common: Mapping[str, str]) -> None:
        super().__init__()
        self._common = common
        self._secrets: tuple[str, ...] = ()

    def hide(self, secrets: Iterable[str | None]) -> None:
        """Replace these texts with `***` everywhere."""
        self._secrets = tuple(secret for secret in secrets if secret and len(secret) >= MIN_SECRET_LENGTH)

    def fields(self, record: logging.LogRecord) -> dict[str, str]:
        """The record as field name -> text, without secrets."""
        own = {name: str(value) for name in ("child", "limit", "left_out") if (value := getattr(record, name, None))}
        fields = {**self._common, **own, **getattr(record, "audit", {}), "message": record.getMessage()}
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return {name: self._hidden(value)[:MAX_VALUE_LENGTH] for name, value in fields.items()}

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        fields = {"time": when, "level": record.levelname.lower(), **self.fields(record)}
        return " ".join(f"{name}={_quoted(value)}" for name, value in fields.items())

    def _hidden(self, value: str) -> str:
        for secret in self._secrets:
            value = value.replace(secret, "***")
        return value


class Stderr(logging.Handler):
    """Writes a line per record to descriptor 2, whatever `sys.stderr` is.

    Never blocks; see `log_writer`.
    """

    def __init__(self, fields: Fields) -> None:
        super().__init__()
        self.setFormatter(fields)
        self._writer = LogWriter(2, self._loss)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._writer.write(self._line(record))
        except Exception as error:  # the message and its values do not match: a bug of amid, which must not end a loop
            self._writer.write(f"cannot log {record.msg!r}: {error!r}\n".encode("utf-8", "backslashreplace"))

    def close(self) -> None:
        self._writer.close()
        super().close()

    def _loss(self, lines: int) -> bytes:
        record = logging.LogRecord(log.name, logging.WARNING, "", 0, "lines were left out: stderr was not writable", (), None)
        record.left_out = lines
        return self._line(record)

    def _line(self, record: logging.LogRecord) -> bytes:
        return self.format(record).encode("utf-8", "backslashreplace") + b"\n"


class Journal(Stderr):
    """Sends fields to journald (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/), or lines to stderr,
    which journald reads too, if its socket does not accept them."""

    def __init__(self, fields: Fields, path: str = JOURNAL) -> None:
        super().__init__(fields)
        self._fields = fields
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            fields = self._fields.fields(record)
            priority = str(_PRIORITIES.get(record.levelno, 6))
            entry = {"MESSAGE": fields.pop("message"), "PRIORITY": priority, "SYSLOG_IDENTIFIER": "amid"}
            entry |= {f"AMID_{name.upper()}": value for name, value in fields.items()}
            self._socket.sendto(b"".join(_field(name, value) for name, value in entry.items()), self._path)
        except Exception:  # the socket does not accept it, or the record cannot be formatted
            super().emit(record)

    def close(self) -> None:
        self._socket.close()
        super().close()


def _field(name: str, value: str) -> bytes:
    """One field of the journal's protocol. A value with line ends is preceded by its length."""
    data = value.encode("utf-8", "backslashreplace")
    if b"\n" in data:
        return name.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n"
    return name.encode() + b"=" + data + b"\n"


def _quoted(value: str) -> str:
    """The value, quoted and escaped as JSON if it could be mistaken
    for another field or a new line."""
    if value and value.isprintable() and not set(value) & set(' "='):
        return value
    text = json.dumps(value, ensure_ascii=False)
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


def _is_journal() -> bool:
    """Whether stderr is the journal (systemd.exec(5), $JOURNAL_STREAM)."""
    with contextlib.suppress(OSError):
        stderr = os.fstat(2)
        return os.environ.get("JOURNAL_STREAM") == f"{stderr.st_dev}:{stderr.st_ino}"
    return False


def _log_what_python_prints() -> None:
    """Log tracebacks and warnings, which Python would write to stderr itself and wait for."""

    def unhandled(found: Any, *_: Any) -> None:
        error = found if isinstance(found, BaseException) else found.exc_value
        if not isinstance(error, KeyboardInterrupt):
            log.critical("unhandled %s", type(error).__name__, exc_info=error)

    sys.excepthook = lambda kind, error, trace: unhandled(error)
    sys.unraisablehook = threading.excepthook = unhandled
    logging.captureWarnings(True)


class Log:
    """The log of this process.

    secrets: texts that no line may show. common: fields of every record, such as `process`.
    """

    def __init__(self, level: str, secrets: Iterable[str | None] = (), **common: str) -> None:
        fields = Fields(common)
        self.hide = fields.hide
        self.hide(secrets)
        handler = Journal(fields) if _is_journal() else Stderr(fields)
        handler.addFilter(Limit())
        self._configured = ""
        self.level_signal: int = signal.SIGUSR2
        """The last one received since the level was configured."""
        logging.basicConfig(handlers=[handler])
        _log_what_python_prints()
        self.configure(level)

    def configure(self, level: str) -> None:
        """Apply the level of a new configuration. An unchanged level keeps the one that a signal has set."""
        if level != self._configured:
            self._configured, self.level_signal = level, signal.SIGUSR2
            self._show(level)

    def receive_signal(self, number: int) -> None:
        """Apply a signal of `LEVEL_SIGNALS`."""
        self.level_signal = number
        self._show("debug" if number == signal.SIGUSR1 else self._configured)

    def _show(self, level: str) -> None:
        root = logging.getLogger()
        root.setLevel(min(root.level, logging.getLevelName(level.upper())))  # the more verbose level shows the next line
        log.debug("log level is now %s", level)
        root.setLevel(level.upper())
