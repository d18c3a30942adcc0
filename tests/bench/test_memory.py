"""The memory table of etc/doc/performance.md stays true, and a reader with nothing going on stays small."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.bench.memory import NAMES, READER_IDLE_MB, SITUATIONS, measured

PAGE = (Path(__file__).parents[2] / "etc/doc/performance.md").read_text()
MORE = 1.5
"""How much more than the table says is still the same figure, on another Python or allocator."""


@pytest.mark.parametrize("situation", SITUATIONS)
def test_no_process_takes_more_than_the_page_says(situation: str) -> None:
    row = re.search(rf"^\| {re.escape(situation)} \|(.*)\|$", PAGE, flags=re.M)
    assert row, f"the page's table has no row {situation!r}; python -m tests.bench.memory prints it"
    told = dict(zip(NAMES, map(float, row[1].split("|")), strict=True))
    peak = measured(situation).peak
    print(f"\n{situation}: {peak}")
    assert all(peak[name] < told[name] * MORE for name in NAMES), f"measured {peak}, told {told}"
    assert situation != "nothing going on" or peak["reader pbx1"] < READER_IDLE_MB
