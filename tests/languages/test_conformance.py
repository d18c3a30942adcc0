"""Every client does everything that the contract asks of it, on the simulated PBX and on a real Asterisk 22.

The results make one table, which the run prints and which stands in clients/README.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import pytest

from tests.languages.harness import COMMANDS, Harness, why_not
from tests.languages.table import README, table
from tests.languages.trials import TRIALS
from tests.languages.vectors import FILE, written
from tests.languages.world import World, world

PBXS = ("simulated", "asterisk-22")


class Results:
    """What each trial found, made when the first test asks for it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._found = cache(self._try)

    def of(self, language: str, trial: str) -> str:
        """What went wrong, or ""."""
        return self._found(trial).get(language, "")

    def _try(self, trial: str) -> dict[str, str]:
        there = [language for language in COMMANDS if not why_not(language)]
        harnesses = {language: Harness(language, self._world.daemon.run_dir) for language in there}
        try:
            failed = TRIALS[trial](self._world, harnesses)
        except Exception as error:  # the trial itself: tried once, and told of for every language
            failed = dict.fromkeys(there, f"{type(error).__name__}: {error}")
        for language, harness in harnesses.items():
            if why := harness.close():
                failed.setdefault(language, why)
        return failed


@pytest.fixture(scope="module", params=PBXS)
def results(request: pytest.FixtureRequest) -> Iterator[Results]:
    with world(request.param) as made:
        yield Results(made)


@pytest.mark.parametrize("language", COMMANDS)
@pytest.mark.parametrize("trial", TRIALS)
def test_client(results: Results, trial: str, language: str, needs: Callable[[str], None]) -> None:
    needs(language)
    assert results.of(language, trial) == ""


def test_the_vectors_are_what_the_daemon_says() -> None:
    assert FILE.read_text() == written(), "python -m tests.languages.vectors writes them anew"


def test_the_readme_has_the_table() -> None:
    assert table() in README.read_text(), f"clients/README.md should have\n{table()}"
