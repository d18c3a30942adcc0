"""The start of a daemon: notifications to systemd, files, permissions, and secrets."""

from __future__ import annotations

import json
import os
import pty
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from amid.simulator import SimulatedPbx
from tests.conftest import StartDaemon
from tests.daemon import BOUND_S, Daemon, eventually
from tests.processes.conftest import Lend
from tests.processes.pbx import SECRET, table
from tests.processes.process import Notified, has_all_sockets, pids, sockets


@pytest.fixture
def daemon(lend: Lend) -> Daemon:
    return lend()


def amid(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "amid", *argv], capture_output=True, text=True, timeout=BOUND_S)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_second_daemon_is_refused_in_one_line(daemon: Daemon) -> None:
    before = pids(daemon)
    second = amid("run", "-c", str(daemon.file))
    assert second.returncode == 6
    (line,) = second.stderr.splitlines()
    assert str(daemon.run_dir) in line and str(before["supervisor"]) in line
    assert daemon.action("Ping")["response"]["Ping"] == "Pong"
    assert pids(daemon) == before


def test_an_invalid_configuration_is_refused_before_anything_starts(tmp_path: Path) -> None:
    file = tmp_path / "amid.toml"
    file.write_text(f'run_dir = "{tmp_path}/run"\n[servers.pbx1]\nhost = "h"\nusernane = "u"\nsecret = "s"\n')
    refused = amid("run", "-c", str(file))
    assert refused.returncode == 6
    assert f"{file}: [servers.pbx1] usernane: unknown key; did you mean 'username'?" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "run").exists()


def test_an_unusable_run_dir_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    file = tmp_path / "amid.toml"
    file.write_text(f'run_dir = "{tmp_path}/file/run"\n[servers.pbx1]\nhost = "h"\nusername = "u"\nsecret = "s"\n')
    refused = amid("run", "-c", str(file))
    assert (refused.returncode, len(refused.stderr.splitlines())) == (6, 1)
    assert "--run-dir" in refused.stderr


class Bare(Daemon):
    """`amid run` without a file. `secret` says where its secret comes from."""

    secret = "a file"

    def start(self, wait: bool = True) -> Daemon:
        (server,) = self.servers.values()
        file = self.directory / "secret"
        file.touch(0o600)
        file.write_text(server["secret"])
        where = f"{server['host']}:{server['port']}"
        line = [sys.executable, "-m", "amid", "--run-dir", str(self.run_dir), "run"]
        line += ["--server", where, "--username", server["username"]]
        line += {"a file": ["--secret-file", str(file)], "stdin": ["--secret-file", "/dev/stdin"]}.get(self.secret, [])
        typed, terminal = pty.openpty()
        with self.log.open("ab") as log, file.open() as stdin:
            asked = terminal if self.secret == "a terminal" else stdin
            self.process = subprocess.Popen(line, stdin=asked, stdout=log, stderr=log, start_new_session=True)
        if self.secret == "a terminal":
            eventually(lambda: "Secret of amid" in self.log.read_text(), "it asks")
            os.write(typed, server["secret"].encode() + b"\n")
        self.wait_up("pbx1")
        for descriptor in (typed, terminal):
            os.close(descriptor)
        return self


@pytest.fixture(params=["a file", "stdin", "a terminal"])
def bare(request: pytest.FixtureRequest, tmp_path: Path, pbx: SimulatedPbx) -> Iterator[Daemon]:
    daemon = Bare(tmp_path, {"pbx1": table(pbx)})
    daemon.secret = request.param
    daemon.file.unlink()
    try:
        yield daemon.start()
    finally:
        daemon.close()


def test_a_missing_secret_without_a_terminal_is_refused() -> None:
    argv = [sys.executable, "-m", "amid", "run", "--server", "127.0.0.1", "--username", "amid"]
    refused = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BOUND_S)
    assert refused.returncode == 2 and "name its file with --secret-file" in refused.stderr


def test_it_runs_without_a_configuration_file(bare: Daemon) -> None:
    assert bare.action("Ping")["response"]["Ping"] == "Pong"
    bare.signal("supervisor", signal.SIGHUP)
    eventually(lambda: "SIGHUP ignored" in bare.log.read_text(), "SIGHUP is answered in the log")
    assert bare.stop() == 0


def test_sockets_are_for_owner_and_group_in_a_directory_that_others_cannot_enter(daemon: Daemon) -> None:
    assert mode(daemon.run_dir) == 0o750
    eventually(lambda: has_all_sockets(daemon), "it has its sockets")
    modes = dict.fromkeys(sockets(daemon), 0o660) | {"readers": 0o600}  # between the daemon's own processes
    assert {name: mode(daemon.run_dir / name) for name in sockets(daemon)} == modes
    assert all(not mode(file) & stat.S_IRWXO for file in daemon.run_dir.iterdir())


def test_the_secret_appears_nowhere_else(own_daemon: Daemon, pbx: SimulatedPbx) -> None:
    daemon = own_daemon
    daemon.action("Ping")
    daemon.signal("supervisor", signal.SIGHUP)
    daemon.configure({"pbx1": table(pbx, secret="falsch-" + SECRET)})
    daemon.signal("supervisor", signal.SIGHUP)
    eventually(lambda: daemon.server("pbx1")["state"] == "rejected", "a wrong secret is reported")
    secret = SECRET.encode()
    for name, pid in pids(daemon).items():
        for file in ("cmdline", "environ"):
            assert secret not in Path(f"/proc/{pid}/{file}").read_bytes(), (name, file)
    assert SECRET not in daemon.log.read_text()
    assert SECRET not in json.dumps([daemon.result("status"), daemon.result("servers")])
    assert not any(secret in file.read_bytes() for file in daemon.run_dir.iterdir() if file.is_file())
    checked = amid("check", "-c", str(daemon.file))
    assert checked.returncode == 0 and SECRET not in checked.stdout + checked.stderr


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Notified]:
    systemd = Notified(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", str(systemd.path))
    monkeypatch.setenv("WATCHDOG_USEC", "400000")
    yield systemd
    systemd.close()


def test_systemd_is_notified(systemd: Notified, daemon_for: StartDaemon, pbx: SimulatedPbx) -> None:
    daemon = daemon_for({"pbx1": table(pbx)}, start=False).start(wait=False)
    eventually(lambda: "READY=1" in systemd.said(), "it is ready")
    assert daemon.request("ping")["result"] == {}, "and it is"
    watchdogs = systemd.said().count("WATCHDOG=1")
    eventually(lambda: systemd.said().count("WATCHDOG=1") >= watchdogs + 3, "it shows again and again that it lives")
    daemon.signal("supervisor", signal.SIGHUP)
    eventually(lambda: systemd.said().count("READY=1") == 2, "ready again after it read its file")
    assert systemd.said().index("RELOADING=1") > systemd.said().index("READY=1")
    assert "STOPPING=1" not in systemd.said()
    assert daemon.stop() == 0
    assert "STOPPING=1" in systemd.said()


def test_an_unavailable_systemd_does_no_harm(
    daemon_for: StartDaemon, pbx: SimulatedPbx, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    assert daemon_for({"pbx1": table(pbx)}).stop() == 0


@pytest.mark.skipif(os.getuid() != 0, reason="only root can change its user")
def test_a_user_without_access_to_run_dir_cannot_call(daemon: Daemon) -> None:
    code = f"import os, sys; os.setgid(65534); os.setuid(65534); os.listdir({str(daemon.run_dir)!r})"
    refused = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert refused.returncode == 1 and "PermissionError" in refused.stderr


def test_it_runs_without_uvloop(
    daemon_for: StartDaemon, pbx: SimulatedPbx, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "uvloop.py").write_text("raise ImportError('there is no build of it')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    daemon = daemon_for({"pbx1": table(pbx)})
    maps = Path(f"/proc/{daemon.pid('broker')}/maps").read_text()
    assert "uvloop" not in maps
    assert daemon.action("Ping")["response"]["Ping"] == "Pong"
    assert daemon.stop() == 0
