"""The table of results, language by row: what the run prints, and what clients/README.md has."""

from __future__ import annotations

from collections.abc import Mapping

from tests.languages.harness import COMMANDS, ROOT
from tests.languages.trials import TRIALS

README = ROOT / "clients" / "README.md"
GREEN, RED, NONE = "✓", "✗", "–"

Outcomes = Mapping[tuple[str, str], bool]
"""By language and trial: whether it passed on every PBX that it was tried on."""


def table(outcomes: Outcomes | None = None) -> str:
    """The table; with every cell green when there are no outcomes, and a dash for cells that were
    not tried."""
    lines = [f"| | {' | '.join(TRIALS)} |", f"|---|{'---|' * len(TRIALS)}"]
    for language in COMMANDS:
        cells = [_cell(language, trial, outcomes) for trial in TRIALS]
        lines.append(f"| {language} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(language: str, trial: str, outcomes: Outcomes | None) -> str:
    if outcomes is None:
        return GREEN
    passed = outcomes.get((language, trial))
    return NONE if passed is None else GREEN if passed else RED
