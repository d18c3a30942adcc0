"""`amid demo` displays untrusted caller names safely."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.table import Table

from amid.cli.demo import _cells
from amid.cli.livecalls import Row


@pytest.mark.parametrize("name", [r"\[link=http://example.com]here[/link]", "[link=http://example.com]x[/link]", "[red]x", "[/]"])
def test_a_callers_name_is_not_interpreted_as_markup(name: str) -> None:
    shown = io.StringIO()
    table = Table("caller", "to", "state", "seconds")
    table.add_row(*_cells(Row(name, name, name, 0.0), 1.0))
    Console(file=shown, force_terminal=True, width=300).print(table)
    assert shown.getvalue().count(name) == 3
    assert "\x1b]8" not in shown.getvalue()
