"""The log of every process of the daemon: one line a record, as `key=value`, on stderr; under systemd, fields in the journal.

What repeats is rate-limited and counted, what is secret is hidden, and no value can begin a line of its own. SIGUSR1 shows all,
SIGUSR2 goes back to the configured level, in this process alone; the supervisor hands both on to its children.
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

BURST = 10
WINDOW_S = 60.0
"""Records of one kind, debug ones aside, that are let through in so many seconds."""

SHORTEST = 6
"""Characters; a shorter secret would hide half of the log, and show itself by what is missing."""

LONGEST = 16_384
"""Characters of one value. The journal's datagram must fit into a socket's buffer, 200 KB."""

_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
"""Levels as syslog(3) numbers them."""


class Limit(logging.Filter):
    """Lets `BURST` records of one kind through in `WINDOW_S`; the last says that others are left out, the next how many were.

    A kind is a message before its values are put in, for one child where it speaks of one. The time is the record's own.
    """

    def __init__(self) -> None:
        super().__init__()
        self._windows: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno <= logging.DEBUG or hasattr(record, "audit"):  # the audit trail has limits of its own
            return True
        kind = (str(record.msg), getattr(record, "child", ""))
        began, count = self._windows.get(kind, (record.created, 0))
        if not began <= record.created < began + WINDOW_S:  # over, or the clock was set back
            record.left_out = max(0, count - BURST)
            began, count = record.created, 0
        self._windows[kind] = (began, count + 1)
        if count + 1 == BURST:
            record.limit = f"others like it are left out for {WINDOW_S - record.created + began:.0f} s"
        return count < BURST


class Fields(logging.Formatter):
    """A record as its fields, and those as a line. `common`: what stands in each record of this process."""

    def __init__(self, common: Mapping[str, str]) -> None:
        super().__init__()
        self._common = common
        self._secrets: tuple[str, ...] = ()

    def hide(self, secrets: Iterable[str | None]) -> None:
        """Show `***` wherever one of these would stand."""
        self._secrets = tuple(secret for secret in secrets if secret and len(secret) >= SHORTEST)

    def fields(self, record: logging.LogRecord) -> dict[str, str]:
        own = {name: str(value) for name in ("child", "limit", "left_out") if (value := getattr(record, name, None))}
        fields = {**self._common, **own, **getattr(record, "audit", {}), "message": record.getMessage()}
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return {name: self._hidden(value)[:LONGEST] for name, value in fields.items()}

    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        fields = {"time": when, "level": record.levelname.lower(), **self.fields(record)}
        return " ".join(f"{name}={_quoted(value)}" for name, value in fields.items())

    def _hidden(self, value: str) -> str:
        for secret in self._secrets:
            value = value.replace(secret, "***")
        return value


class Stderr(logging.Handler):
    """A line a record on descriptor 2, whatever `sys.stderr` has become. It never blocks; see `log_writer`."""

    def __init__(self, fields: Fields) -> None:
        super().__init__()
        self.setFormatter(fields)
        self._writer = LogWriter(2, self._loss)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._writer.write(self._line(record))
        except Exception as error:  # a message and its values do not fit: a fault of amid's, which must not end a loop
            self._writer.write(f"cannot log {record.msg!r}: {error!r}\n".encode("utf-8", "backslashreplace"))

    def close(self) -> None:
        self._writer.close()
        super().close()

    def _loss(self, lines: int) -> bytes:
        record = logging.LogRecord(log.name, logging.WARNING, "", 0, "lines were left out: stderr could not be written", (), None)
        record.left_out = lines
        return self._line(record)

    def _line(self, record: logging.LogRecord) -> bytes:
        return self.format(record).encode("utf-8", "backslashreplace") + b"\n"


class Journal(Stderr):
    """Fields to journald (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/), or a line on stderr, which it reads too, if it is away."""

    def __init__(self, fields: Fields, path: str = JOURNAL) -> None:
        super().__init__(fields)
        self._fields = fields
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)

    def emit(self, record: logging.LogRecord) -> None:
        fields = self._fields.fields(record)
        entry = {"MESSAGE": fields.pop("message"), "PRIORITY": str(_PRIORITIES.get(record.levelno, 6)), "SYSLOG_IDENTIFIER": "amid"}
        entry |= {f"AMID_{name.upper()}": value for name, value in fields.items()}
        try:
            self._socket.sendto(b"".join(_field(name, value) for name, value in entry.items()), self._path)
        except OSError:
            super().emit(record)

    def close(self) -> None:
        self._socket.close()
        super().close()


def _field(name: str, value: str) -> bytes:
    """One field of the journal's protocol: a value with line ends goes with its length in front."""
    data = value.encode("utf-8", "backslashreplace")
    if b"\n" in data:
        return name.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n"
    return name.encode() + b"=" + data + b"\n"


def _quoted(value: str) -> str:
    """As it is, or in quotes and escaped as in JSON where it would run into its neighbours or begin a line."""
    if value and value.isprintable() and not set(value) & set(' "='):
        return value
    text = json.dumps(value, ensure_ascii=False)
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


def _is_journal() -> bool:
    """Whether stderr is the journal: systemd says which file that would be (systemd.exec(5), $JOURNAL_STREAM)."""
    with contextlib.suppress(OSError):
        stderr = os.fstat(2)
        return os.environ.get("JOURNAL_STREAM") == f"{stderr.st_dev}:{stderr.st_ino}"
    return False


def _log_what_python_prints() -> None:
    """Tracebacks and warnings, which Python writes to stderr itself and would wait for."""

    def unhandled(found: Any, *_: Any) -> None:
        error = found if isinstance(found, BaseException) else found.exc_value
        if not isinstance(error, KeyboardInterrupt):
            log.critical("unhandled %s", type(error).__name__, exc_info=error)

    sys.excepthook = lambda kind, error, trace: unhandled(error)
    sys.unraisablehook = threading.excepthook = unhandled
    logging.captureWarnings(True)


class Log:
    """The process's log, from when it is made."""

    def __init__(self, level: str, secrets: Iterable[str | None] = (), **common: str) -> None:
        """secrets: what no line may show. common: fields of every record, such as `process`."""
        fields = Fields(common)
        self.hide = fields.hide
        self.hide(secrets)
        handler = Journal(fields) if _is_journal() else Stderr(fields)
        handler.addFilter(Limit())
        self._configured = ""
        logging.basicConfig(handlers=[handler])
        _log_what_python_prints()
        self.configure(level)

    def configure(self, level: str) -> bool:
        """Take the level of a new configuration; True when it is another. One that is not leaves what a signal has set."""
        changed, self._configured = level != self._configured, level
        if changed:
            self._show(level)
        return changed

    def hear(self, number: int) -> None:
        """Take a signal; one that is not of `LEVEL_SIGNALS` is none of the log's business."""
        if number in LEVEL_SIGNALS:
            self._show("debug" if number == signal.SIGUSR1 else self._configured)

    def _show(self, level: str) -> None:
        root = logging.getLogger()
        root.setLevel(min(root.level, logging.getLevelName(level.upper())))  # whichever shows more tells of the change
        log.debug("the log shows %s", level)
        root.setLevel(level.upper())
