"""Reads files: bytes, UTF-8 text and TOML, with limits, and one exception for every failure.

Text is UTF-8 whatever the locale: what is sent to Asterisk must not depend on who starts amid. A
byte-order mark, which some editors write, is not part of the text. SIGHUP reads all files while
calls are open, so every failure is an `UnreadableError`.
"""

from __future__ import annotations

import os
import pwd
import re
import select
import time
import tomllib
from pathlib import Path
from typing import Any

MAX_FILE_BYTES = 16 * 1024 * 1024
"""The largest file in bytes; a configuration with a thousand servers has under 1 MiB. Devices such
as /dev/zero are endless."""

_PLACE = re.compile(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)")
"""An error of tomllib."""
_STATEMENT = re.compile(r"\s*(?:(\[[\w. -]+\])|([\w.-]+)\s*=\s*(.*))")
"""A line with a table, or with a key and a value."""
_WORD = re.compile(r"[^\s\"'\[\]{},#]+\s*(#.*)?")
"""A value without quotes and blanks."""

WAIT_S = 1.0
"""Timeout in seconds for reading a pipe; the supervisor waits for it at SIGHUP."""
PIECE_BYTES = 1024 * 1024


class UnreadableError(Exception):
    """A file cannot be read. The message names the file and the reason."""


class MissingFileError(UnreadableError):
    """The file does not exist."""


def read_bytes(file: Path) -> bytes:
    """Raises `UnreadableError`."""
    try:
        data = _read(file, MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: an invalid path
        missing = isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError)
        raise (MissingFileError if missing else UnreadableError)(f"{file}: {reason(error)}") from None
    if len(data) > MAX_FILE_BYTES:
        raise UnreadableError(f"{file}: larger than {MAX_FILE_BYTES} bytes")
    return data


def _read(file: Path, most: int) -> bytes:
    """Read up to `most` bytes. The wait for a pipe or device is limited, because it may have no
    writer."""
    data = b""
    end = time.monotonic() + WAIT_S
    with open(file, "rb", buffering=0, opener=_open_without_waiting) as opened:
        poll = select.poll()
        poll.register(opened, select.POLLIN)
        while len(data) < most:
            if not poll.poll(max(0.0, end - time.monotonic()) * 1000):
                raise OSError(f"no data within {WAIT_S:g} s; use a regular file, or a pipe that is written to at once")
            piece = opened.read(min(most - len(data), PIECE_BYTES))
            if not piece:
                break
            data += piece
    return data


def _open_without_waiting(file: str, flags: int) -> int:
    return os.open(file, flags | os.O_NONBLOCK)


def read_text(file: Path) -> str:
    """Raises `UnreadableError`."""
    try:
        return read_bytes(file).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableError(f"{file}: not UTF-8 (byte {error.start + 1} is 0x{error.object[error.start]:02x})") from None


def read_toml(file: Path) -> dict[str, Any]:
    """Raises `UnreadableError`."""
    text = read_text(file)
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also numbers with thousands of digits, and deep nesting
        raise UnreadableError(f"{file}: {_describe(str(error), text)}") from None


def _describe(error: str, text: str) -> str:
    """The parser's error, with the key instead of the parser's terms where that helps. No value is
    shown: it may be a secret."""
    place = _PLACE.fullmatch(error)
    if not place:
        return f"not TOML: {error}"
    lines = text.split("\n")
    what, number = place[1], int(place[2] or len(lines))
    statement = _STATEMENT.match(lines[number - 1])
    table, key, value = statement.groups("") if statement else ("", "", "")
    if what.startswith("Cannot "):  # overwrite, declare, redefine, mutate
        return f"line {number}: {table or key or 'the value that ends here'} is already defined above"
    unquoted = value[:1] not in ("", *"\"'[{") if what == "Invalid value" else _WORD.fullmatch(value)
    if key and unquoted:
        return f'line {number}: the value of {key} is not a number, true or false; text needs quotes: {key} = "…"'
    return f"not TOML: {error}"


def read_first_line(file: Path) -> str:
    """The first line, which must not be empty. Raises `UnreadableError`."""
    line = read_text(file).partition("\n")[0].removesuffix("\r")
    if not line:
        raise UnreadableError(f"{file} is empty")
    return line


def _user() -> str:
    """The name of the user of this process."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def reason(error: Exception) -> str:
    """The reason of a failure as text."""
    if isinstance(error, PermissionError):
        return f"the user {_user()} may not read it"
    return getattr(error, "strerror", None) or str(error)
