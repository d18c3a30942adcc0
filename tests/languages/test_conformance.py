"""Every client does what the contract requires, on the simulated PBX and on a real Asterisk 22.

The results form one table, which the run prints and clients/README.md contains.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from itertools import product

import pytest

from tests.languages.harness import COMMANDS, Harness, missing_prerequisite
from tests.languages.table import README, table
from tests.languages.trials import TRIALS
from tests.languages.vectors import FILE, written
from tests.languages.world import World, world

PBXS = ("simulated", "asterisk-22")


class Results:
    """What each trial found with these languages, made when the first test asks for it."""

    def __init__(self, world: World, languages: list[str]) -> None:
        self._world = world
        self._languages = languages
        self._found = cache(self._try)

    def of(self, language: str, trial: str) -> str:
        """What went wrong, or ""."""
        return self._found(trial).get(language, "")

    def _try(self, trial: str) -> dict[str, str]:
        there = [one for one in self._languages if not missing_prerequisite(one)]
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
    selected = {item.callspec.params.get("language") for item in request.session.items if hasattr(item, "callspec")}
    with world(request.param) as made:
        yield Results(made, [language for language in COMMANDS if language in selected])


@pytest.mark.parametrize("trial, language", list(product(TRIALS, COMMANDS)))
def test_client(results: Results, trial: str, language: str, needs: Callable[[str], None]) -> None:
    needs(language)
    assert results.of(language, trial) == ""


def test_the_vectors_equal_the_daemons_messages() -> None:
    assert FILE.read_text() == written(), "generate them with python -m tests.languages.vectors"


def test_the_readme_has_the_table() -> None:
    assert table() in README.read_text(), f"clients/README.md should have\n{table()}"
