"""Faults of the recorder. In their worlds its files are judged beside the load (recorded.py)."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing

from amid.recorder.archive import Archive
from tests.daemon import eventually
from tests.faults.faults import fault
from tests.faults.world import SERVER, World
from tests.processes.process import stop

RECORDER = "recorder"


@fault("recorder", "SIGKILL")
def recorder_killed(world: World) -> None:
    """It is replaced and continues after the last event on disk. Nothing is missing in the recordings as
    long as the reader still has it (`replay_bytes`); other callers notice nothing."""
    world.replaced(RECORDER, world.signal(RECORDER, signal.SIGKILL))


@fault("recorder", "SIGSTOP")
def recorder_stopped(world: World) -> None:
    """The same after 2 s without a heartbeat."""
    old = world.daemon.pid(RECORDER)
    stop(old)
    world.replaced(RECORDER, old)


@fault("recorder", "its file cannot be written: another program has locked it")
def recorder_locked_out(world: World) -> None:
    """Recording stops after 5 s, with the reason in the log, and is retried every 5 s: it continues
    after the last event on disk. Calls and events notice nothing."""
    said = world.daemon.log.stat().st_size

    def logged(text: bytes) -> bool:
        return text in world.daemon.log.read_bytes()[said:]

    file = eventually(lambda: Archive(world.recordings, SERVER).files(), "events are recorded")[-1]
    with closing(sqlite3.connect(file, isolation_level=None, timeout=10.0)) as db:
        db.execute("BEGIN IMMEDIATE")
        eventually(lambda: logged(b"recording has stopped"), "it reports that it cannot write")
        world.load.well()
        db.execute("ROLLBACK")
    eventually(lambda: logged(b"recording resumed"), "it writes again")
