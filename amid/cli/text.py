"""Packets as text for people: every value made harmless, and tables that never cut anything off.

Values come from strangers (a caller chooses their caller id), so whatever is not printable is shown escaped, on a terminal
and in a pipe, since that may end on one too; for the exact bytes there is --json.
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
"""Headers that say nothing to a person: they belong to the protocol, or stand in the table's title."""


def decoded(text: Any) -> str:
    """A name or value as text; bytes that are not UTF-8 become lone surrogates."""
    return text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else str(text)


def time_of_day(time_s: float, digits: int) -> str:
    """Local time with up to six digits of a second, cut off and not rounded: rounding can carry into the second, or go back."""
    seconds, micros = divmod(round(time_s * 1_000_000), 1_000_000)
    return time.strftime("%H:%M:%S", time.localtime(seconds)) + f".{micros:06}"[: digits + 1]


def lines_of(value: Any) -> list[Any]:
    """The values of a header, however often it occurs."""
    return value if isinstance(value, list) else [value]


def printable(value: Any, keep: str = "") -> str:
    r"""Text that is safe on a terminal: what is not printable is escaped, and a byte that is not UTF-8 shows as `\xe9`."""
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
    """Columns of the terminal; None when stdout is none, and lines may be as long as they like."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def pairs(packet: Row) -> list[str]:
    """The headers of one packet in two columns."""
    shown = [(printable(name), printable(v)) for name, value in packet.items() if name not in HIDDEN for v in lines_of(value)]
    width = max((_width(name) for name, _ in shown), default=0)
    return [f"{click.style(_pad(name, width), fg='cyan')}  {value}" for name, value in shown]


def lists(packets: Iterable[Row], columns: int | None) -> list[str]:
    """A list's items in their order, each run of the same event under its name."""
    lines: list[str] = []
    for name, run in groupby(packets, key=lambda packet: packet.get("Event", "")):
        rows = list(run)
        lines += ["", click.style(f"{printable(name)} ({len(rows)})", bold=True), *table(rows, columns)]
    return lines


def table(rows: list[Row], columns: int | None, paint: Callable[[str, str], str] | None = None) -> list[str]:
    """Rows under the names of their headers, or as blocks when that is wider than `columns`. paint: (name, cell) -> styled."""
    names = list(dict.fromkeys(name for row in rows for name in row if name not in HIDDEN))
    cells = [[_cell(row.get(name, "")) for name in names] for row in rows]
    titles = [printable(name) for name in names]
    widths = [max(map(_width, column)) for column in zip(titles, *cells, strict=True)]
    if columns is not None and sum(widths) + 2 * (len(widths) - 1) > columns:
        return _blocks(rows)
    widths[-1:] = [0]  # nothing stands behind the last column
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
    """Each row as headers in two columns, with an empty line between."""
    return [line for number, row in enumerate(rows) for line in ([""] if number else []) + pairs(row)]


def _pad(text: str, width: int) -> str:
    return text + " " * (width - _width(text))


def _width(text: str) -> int:
    """Columns on a terminal: East Asian wide characters take two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(_columns(c) for c in text)


def _columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
