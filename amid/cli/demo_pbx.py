"""The simulated PBX of `amid demo`, a child process: with random calls, or with those of a recorded day."""

from __future__ import annotations

import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import click

from amid.playback.recording import Recording, RecordingError

CALLS_PER_MINUTE = 15.0


def pbx_command(recorded: Path | None, speed: float | None, calls_per_minute: float | None) -> list[str]:
    """The module of the PBX and its arguments. Raises `click.UsageError`."""
    if recorded is None:
        if speed is not None:
            raise click.UsageError("--speed needs --recorded FILE")
        return ["amid.simulator", "--calls-per-minute", str(calls_per_minute or CALLS_PER_MINUTE)]
    if calls_per_minute is not None:
        raise click.UsageError("--calls-per-minute is for random calls, not for --recorded")
    try:
        Recording(recorded)
    except RecordingError as error:
        raise click.BadParameter(str(error), param_hint="--recorded") from None
    return ["amid.playback", "--recorded", str(recorded.absolute()), "--speed", str(speed or 1.0)]


def simulated_pbx(folder: Path, calls_per_minute: float) -> AbstractContextManager[dict[str, Any]]:
    """Run a PBX with random calls. Yields its table in the configuration of a daemon."""
    return running_pbx(folder, pbx_command(None, None, calls_per_minute))


@contextmanager
def running_pbx(folder: Path, calls: list[str], on_end: Callable[[str], object] = lambda _: None) -> Iterator[dict[str, Any]]:
    """Run the PBX as a child process. calls: its module and arguments. on_end: called in a thread
    when the PBX ends too early, with how. Yields its table in the configuration of a daemon."""
    secret_file = folder / "secret"
    secret_file.touch(mode=0o600)
    secret_file.write_text(secrets.token_hex(16))
    argv = [sys.executable, "-m", *calls, "--port", "0", "--username", "demo", "--secret-file", str(secret_file), "--with-stdin"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, process_group=0) as simulator:
        assert simulator.stdout is not None
        line = simulator.stdout.readline()
        if not line:
            sys.exit(f"amid: the simulated PBX has ended before it listened (exit status {simulator.wait()}); its error is above")
        host, _, port = line.removeprefix("listening ").strip().rpartition(":")
        leaving = threading.Event()
        threading.Thread(target=_watch, args=(simulator, leaving, on_end), name="pbx", daemon=True).start()
        table = {"host": host, "port": int(port), "username": "demo", "secret_file": str(secret_file)}
        try:
            yield table
        finally:
            leaving.set()
            simulator.kill()  # it may hang


def _watch(pbx: subprocess.Popen[str], leaving: threading.Event, on_end: Callable[[str], object]) -> None:
    """Wait for the end of the PBX, and report it unless it was asked to end."""
    status = pbx.wait()
    if not leaving.is_set():
        on_end(f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}")
