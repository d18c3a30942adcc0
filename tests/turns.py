"""Exclusive turns for pytest-xdist workers: no other test runs beside a test marked `alone`, which
measures time.

Each test locks the room, shared, or exclusively if marked `alone`, and holds the door while it
waits. A waiting exclusive test therefore waits only for tests that already run.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from pathlib import Path

import pytest

DOOR = Path(__file__)
ROOM = Path(__file__).with_name("conftest.py")
"""Files that every worker finds. Only their locks are used, which end with the process that holds them."""


@pytest.hookimpl(wrapper=True, tryfirst=True)  # the wait for a turn is no part of the test's own time
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    if not hasattr(item.config, "workerinput"):
        return (yield)
    with DOOR.open() as door, ROOM.open() as room:
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH)
        fcntl.flock(door, fcntl.LOCK_UN)
        return (yield)
