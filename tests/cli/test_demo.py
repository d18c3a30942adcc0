"""`amid demo` displays untrusted caller names safely, and reports a PBX that cannot start."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from amid.cli.demo_pbx import running_pbx
from amid.cli.demo_view import _cells


@pytest.mark.parametrize("name", [r"\[link=http://example.com]here[/link]", "[link=http://example.com]x[/link]", "[red]x", "[/]"])
def test_a_callers_name_is_not_interpreted_as_markup(name: str) -> None:
    shown = io.StringIO()
    table = Table("caller", "to", "state", "for")
    table.add_row(*_cells({"who": name, "whom": name, "state": name, "for": "1s"}))
    Console(file=shown, force_terminal=True, width=300).print(table)
    assert shown.getvalue().count(name) == 3
    assert "\x1b]8" not in shown.getvalue()


def test_a_pbx_that_ends_before_it_listens_is_an_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    said = r"^amid: the simulated PBX has ended before it listened \(exit status 2\)"
    with pytest.raises(SystemExit, match=said), running_pbx(tmp_path, ["amid.simulator", "--unknown-option"]):
        pass
    assert "unrecognized arguments: --unknown-option" in capfd.readouterr().err


def test_a_callers_name_moves_no_cursor() -> None:
    (who, *_) = _cells({"who": "\x1b[2J", "whom": "", "state": "", "for": ""})
    assert "\x1b" not in who.plain
