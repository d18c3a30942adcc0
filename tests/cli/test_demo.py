"""`amid demo` displays untrusted caller names safely."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.table import Table

from amid.cli.demo import _cells


@pytest.mark.parametrize("name", [r"\[link=http://example.com]here[/link]", "[link=http://example.com]x[/link]", "[red]x", "[/]"])
def test_a_callers_name_is_not_interpreted_as_markup(name: str) -> None:
    shown = io.StringIO()
    table = Table("caller", "to", "state", "for")
    table.add_row(*_cells({"who": name, "whom": name, "state": name, "for": "1s"}))
    Console(file=shown, force_terminal=True, width=300).print(table)
    assert shown.getvalue().count(name) == 3
    assert "\x1b]8" not in shown.getvalue()


def test_a_callers_name_moves_no_cursor() -> None:
    (who, *_) = _cells({"who": "\x1b[2J", "whom": "", "state": "", "for": ""})
    assert "\x1b" not in who.plain
