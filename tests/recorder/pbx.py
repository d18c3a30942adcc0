"""A simulated PBX with 3,000 calls a minute."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from amid.cli.demo_pbx import simulated_pbx

CALLS_PER_MINUTE = 3000


@contextmanager
def simulated() -> Iterator[dict[str, Any]]:
    """Run the PBX. Yields its table in the configuration of a daemon."""
    with tempfile.TemporaryDirectory() as folder, simulated_pbx(Path(folder), CALLS_PER_MINUTE) as table:
        yield table
