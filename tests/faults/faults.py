"""The list of faults: each is a test of the campaign, may be chosen by the soak, and is a row of
the table in README.md.

A fault is a function that takes a `World`, breaks one thing in it, waits until the effect is
visible, repairs it, and asserts its specific consequences; its docstring says what users see. `row`
adds a plain test to the table when the check does not fit into a world. `python -m
tests.faults.faults` prints the table.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from tests.faults.world import World

Test = TypeVar("Test", bound=Callable[..., Any])

PARTS = ("reader", "broker", "listener", "recorder", "supervisor", "asterisk", "network", "slow actions", "clients", "machine")
"""What can break, in the order of the table."""


class Row(NamedTuple):
    """`check` is the function that shows it, as module and name."""

    part: str
    name: str
    sees: str
    check: str


class Fault(NamedTuple):
    part: str
    name: str
    soak: bool
    act: Callable[[World], None]

    @property
    def title(self) -> str:
        return f"{self.part}: {self.name}"


FAULTS: list[Fault] = []
ROWS: list[Row] = []


def fault(part: str, name: str, soak: bool = True) -> Callable[[Callable[[World], None]], Callable[[World], None]]:
    """Register a fault of the campaign. soak: whether the soak may draw it."""

    def register(act: Callable[[World], None]) -> Callable[[World], None]:
        row(part, name, inspect.getdoc(act) or "")(act)
        FAULTS.append(Fault(part, name, soak, act))
        return act

    return register


def row(part: str, name: str, sees: str) -> Callable[[Test], Test]:
    """Add a plain test to the table. sees: what users see."""

    def register(test: Test) -> Test:
        assert part in PARTS, f"{part!r} is no part; the parts are {', '.join(PARTS)}"
        assert sees, f"{part}, {name}: say what the user sees"
        assert all((one.part, one.name) != (part, name) for one in ROWS), f"there are two rows {part}, {name}"
        ROWS.append(Row(part, name, sees, f"{test.__module__.rpartition('.')[2]}.{test.__qualname__}"))
        return test

    return register


def load_all() -> list[Fault]:
    """All faults: those of the modules `on_*.py` in this directory."""
    for file in sorted(Path(__file__).parent.glob("on_*.py")):
        importlib.import_module(f"tests.faults.{file.stem}")
    return FAULTS


def table() -> str:
    """All rows as a table in Markdown."""
    load_all()
    for file in sorted(Path(__file__).parent.glob("test_*.py")):
        importlib.import_module(f"tests.faults.{file.stem}")
    importlib.import_module("tests.processes.test_run_dir")
    lines = ["| part | fault | what the user sees | checked by |", "|---|---|---|---|"]
    for one in sorted(ROWS, key=lambda one: (PARTS.index(one.part), one.check)):
        lines.append(f"| {one.part} | {one.name} | {' '.join(one.sees.split())} | `{one.check}` |")
    return "\n".join(lines)


if __name__ == "__main__":
    from tests.faults import faults  # not this module, which is __main__ and has a registry of its own

    print(faults.table())
