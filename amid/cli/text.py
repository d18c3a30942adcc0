"""Packets as text for people: escaped values, and tables that never truncate.

Values come from strangers (callers choose their caller ID), so unprintable characters are escaped,
in a pipe too, because its output may reach a terminal. Use --json for the exact bytes.
"""

from __future__ import annotations

import shutil
import sys
import time
import unicodedata
from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any

import click

Row = dict[Any, Any]
HIDDEN = frozenset({"ActionID", "EventList", "Event"})
"""Headers that are not shown: they belong to the protocol or are in the table's title."""


def decoded(text: Any) -> str:
    """A name or value as text; invalid UTF-8 becomes lone surrogates."""
    return text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else str(text)


def time_of_day(time_s: float, digits: int) -> str:
    """Local time with up to six digits of a second, truncated: rounding could carry into the next
    second."""
    seconds, micros = divmod(round(time_s * 1_000_000), 1_000_000)
    return time.strftime("%H:%M:%S", time.localtime(seconds)) + f".{micros:06}"[: digits + 1]


def lines_of(value: Any) -> list[Any]:
    """The values of a header as a list."""
    return value if isinstance(value, list) else [value]


def printable(value: Any, keep: str = "") -> str:
    r"""Text that is safe on a terminal: unprintable characters are escaped, and a byte that is not
    UTF-8 is shown as `\xe9`."""
    text = decoded(value)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else _escaped(c) for c in text)


def _escaped(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return repr(char)[1:-1]


def limit() -> int | None:
    """The columns of the terminal; None without one, where lines have no limit."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def pairs(packet: Row) -> list[str]:
    """The headers of one packet in two columns."""
    shown = [(printable(name), printable(v)) for name, value in packet.items() if name not in HIDDEN for v in lines_of(value)]
    width = max((_width(name) for name, _ in shown), default=0)
    return [f"{click.style(_pad(name, width), fg='cyan')}  {value}" for name, value in shown]


def lists(packets: Iterable[Row], columns: int | None) -> list[str]:
    """A list's items in order, with a title for each run of equal events."""
    lines: list[str] = []
    for name, run in groupby(packets, key=lambda packet: packet.get("Event", "")):
        rows = list(run)
        lines += ["", click.style(f"{printable(name)} ({len(rows)})", bold=True), *table(rows, columns)]
    return lines


def table(rows: list[Row], columns: int | None, paint: Callable[[str, str], str] | None = None) -> list[str]:
    """Rows below the names of their headers, or as blocks when a row is wider than `columns`.
    paint: (name, cell) to styled cell."""
    names = list(dict.fromkeys(name for row in rows for name in row if name not in HIDDEN))
    cells = [[_cell(row.get(name, "")) for name in names] for row in rows]
    titles = [printable(name) for name in names]
    widths = [max(map(_width, column)) for column in zip(titles, *cells, strict=True)]
    if columns is not None and sum(widths) + 2 * (len(widths) - 1) > columns:
        return _blocks(rows)
    widths[-1:] = [0]  # the last column is not padded
    lines = [_line([click.style(_pad(t, w), fg="cyan") for t, w in zip(titles, widths, strict=True)])]
    for row in cells:
        padded = [_pad(cell, width) for cell, width in zip(row, widths, strict=True)]
        lines.append(_line([paint(n, p) for n, p in zip(titles, padded, strict=True)] if paint else padded))
    return lines


def _cell(value: Any) -> str:
    return ", ".join(printable(v) for v in lines_of(value))


def _line(cells: list[str]) -> str:
    return "  ".join(cells).rstrip()


def _blocks(rows: list[Row]) -> list[str]:
    """Each row as headers in two columns, with an empty line between rows."""
    return [line for number, row in enumerate(rows) for line in ([""] if number else []) + pairs(row)]


def _pad(text: str, width: int) -> str:
    return text + " " * (width - _width(text))


def _width(text: str) -> int:
    """Columns on a terminal: East Asian wide characters have two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(_columns(c) for c in text)


def _columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
