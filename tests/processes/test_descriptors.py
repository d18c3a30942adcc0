"""Unread descriptors do not block a running loop; and a start without descriptors 0 to 2."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from amid.process import log_writer
from amid.simulator import SimulatedPbx
from tests.conftest import StartDaemon
from tests.daemon import BOUND_S, Daemon, eventually
from tests.processes.pbx import table
from tests.processes.process import Notified


class Piped(Daemon):
    """A daemon whose stderr is a full pipe that the test reads on demand."""

    reading = -1

    def launch(self, arguments: list[str]) -> None:
        self.reading, writing = os.pipe()
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
        os.set_blocking(writing, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writing, b"\n" * 512)
        os.set_blocking(writing, True)
        self.process = subprocess.Popen([sys.executable, *arguments], stdout=writing, stderr=writing)
        os.close(writing)

    def drain(self) -> str:
        """What the pipe holds now."""
        data = b""
        while select.select([self.reading], [], [], 0)[0] and (piece := os.read(self.reading, 65536)):
            data += piece
        return data.decode().strip("\n")


@pytest.fixture
def piped(tmp_path: Path, pbx: SimulatedPbx) -> Iterator[Piped]:
    daemon = Piped(tmp_path, {"pbx1": table(pbx)})
    daemon.log.touch()
    yield daemon
    daemon.close()
    os.close(daemon.reading)


def test_an_unread_log_blocks_nothing(piped: Piped) -> None:
    piped.start()
    assert piped.action("Ping")["response"]["Ping"] == "Pong"
    killed = piped.kill("reader pbx1")
    eventually(lambda: piped.pid("reader pbx1") not in (0, killed), "the supervisor replaces a reader")
    piped.wait_up("pbx1")
    assert piped.stop() == 0


class Closed(Daemon):
    """Started without the descriptors `closed`."""

    closed: tuple[int, ...] = ()

    def launch(self, arguments: list[str]) -> None:
        closing = " ".join(f"{descriptor}>&-" for descriptor in self.closed)
        self.process = subprocess.Popen(["sh", "-c", f'exec "$@" {closing}', "sh", sys.executable, *arguments])


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
def test_it_starts_without_descriptors_0_to_2(closed: tuple[int, ...], tmp_path: Path, pbx: SimulatedPbx) -> None:
    daemon = Closed(tmp_path, {"pbx1": table(pbx)})
    daemon.closed = closed
    daemon.log.touch()
    try:
        daemon.start()
        assert daemon.action("Ping")["response"]["Ping"] == "Pong"
        pid, _ = (daemon.run_dir / "lock").read_text().split()
        assert daemon.process is not None and int(pid) == daemon.process.pid, "no log line is in the lock file"
        daemon.kill("reader pbx1")
        daemon.wait_up("pbx1")
        assert daemon.stop() == 0
    finally:
        daemon.close()


def test_without_stderr_errors_go_to_syslog(tmp_path: Path) -> None:
    """For a failed start, which the exit status shows too."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog:
        syslog.bind(str(tmp_path / "log"))
        syslog.settimeout(BOUND_S)
        code = f"import amid.process.descriptors as d, amid.__main__ as m; d.SYSLOG = {syslog.getsockname()!r}; m.main()"
        run = ["sh", "-c", 'exec "$@" 0>&- 1>&- 2>&-', "sh", sys.executable, "-c", code, "run", "-c", str(tmp_path / "none.toml")]
        assert subprocess.run(run, timeout=BOUND_S).returncode == 6
        said = b""
        while b"none.toml" not in said:
            said += syslog.recv(65536)
    assert b"No such file or directory" in said


@pytest.fixture
def reading() -> Iterator[tuple[int, int]]:
    pipe = os.pipe()
    yield pipe
    for end in pipe:
        os.close(end)


def test_the_log_buffer_is_bounded_and_dropped_lines_are_counted(reading: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    there, here = reading
    monkeypatch.setattr(log_writer, "BUFFER_BYTES", 1000)
    fcntl.fcntl(here, fcntl.F_SETPIPE_SZ, 4096)
    writer = log_writer.LogWriter(here, lambda lines: b"left_out=%d\n" % lines)
    sent = [b"%03d" % number + b"." * 96 + b"\n" for number in range(200)]
    for line in sent:
        writer.write(line)
    received = b""
    while b"left_out" not in received:
        assert select.select([there], [], [], BOUND_S)[0], received
        received += os.read(there, 65536)
    *lines, report, _ = received.split(b"\n")
    assert lines == [line[:-1] for line in sent[: len(lines)]]
    assert report == b"left_out=%d" % (len(sent) - len(lines)) and len(lines) < len(sent)
    writer.write(b"again\n")
    assert os.read(there, 100) == b"again\n"
    writer.close()


def test_ready_is_repeated_until_systemd_receives_it(
    daemon_for: StartDaemon, pbx: SimulatedPbx, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    systemd = Notified(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other, contextlib.suppress(BlockingIOError):
        other.setblocking(False)
        while True:
            other.sendto(b"x", str(systemd.path))
    monkeypatch.setenv("NOTIFY_SOCKET", str(systemd.path))
    daemon = daemon_for({"pbx1": table(pbx)}, start=False).start()
    assert daemon.action("Ping")["response"]["Ping"] == "Pong"
    eventually(lambda: "READY=1" in systemd.said(), "it says so again")
    systemd.close()
