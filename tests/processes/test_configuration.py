"""The configuration in a running daemon: options and environment are checked like the file,
warnings are logged, and SIGHUP reads every named file again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from amid.simulator import SimulatedPbx
from tests.conftest import StartDaemon
from tests.daemon import BOUND_S, Daemon, eventually
from tests.processes.pbx import SECRET, table
from tests.processes.process import pids
from tests.processes.test_reload import reload, replaced
from tests.processes.tls import TlsFront, certificate

# ── options and environment ──

LONG = "/" + "x" * 95


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "amid.toml"
    file.touch(0o600)
    file.write_text('[servers.pbx1]\nhost = "127.0.0.1"\nport = 1\nusername = "u"\nsecret = "geheim"\n')
    return file


def amid(*argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `amid run` in some way that must fail."""
    line = [sys.executable, "-m", "amid", *argv]
    return subprocess.run(line, env={**os.environ, **environment}, capture_output=True, text=True, timeout=BOUND_S)


@pytest.mark.parametrize("command", ["run", "check"])
@pytest.mark.parametrize(
    "way", ["the file", "--run-dir", "AMID_RUN_DIR", "--run-dir without a file", "AMID_RUN_DIR without a file"]
)
def test_a_too_long_run_dir_is_refused_from_every_source(file: Path, command: str, way: str) -> None:
    if way == "the file":
        file.write_text(f'run_dir = "{LONG}"\n{file.read_text()}')
    argv = ["--run-dir", LONG] if way.startswith("--run-dir") else []
    argv += [command, "-c", str(file)]
    if way.endswith("without a file"):
        (file.parent / "secret").touch(0o600)
        (file.parent / "secret").write_text("geheim\n")
        argv = [*argv[:-3], "run", "--server", "127.0.0.1:1", "--username", "u", "--secret-file", str(file.parent / "secret")]
    refused = amid(*argv, **({"AMID_RUN_DIR": LONG} if way.startswith("AMID_RUN_DIR") else {}))
    where = {"the file": f"{file}: run_dir"}.get(way, f"{way.split()[0]} {LONG}")
    assert refused.returncode == 6
    path = f"{LONG}/events-pbx1"
    assert f"{where}: too long: a socket's path may have 107 bytes, and {path} has {len(path)}" in refused.stderr


def test_the_demo_checks_its_run_dir() -> None:
    refused = amid("--run-dir", LONG, "demo", "--seconds", "1")
    assert refused.returncode == 6 and f"--run-dir {LONG}: too long" in refused.stderr


@pytest.mark.parametrize("way", ["--run-dir", "AMID_RUN_DIR"])
def test_a_run_dir_below_a_writable_directory_is_refused(file: Path, way: str) -> None:
    (file.parent / "open").mkdir()
    (file.parent / "open").chmod(0o777)
    run_dir = str(file.parent / "open/run")
    argv = ["--run-dir", run_dir] if way == "--run-dir" else []
    refused = amid(*argv, "run", "-c", str(file), **({"AMID_RUN_DIR": run_dir} if way == "AMID_RUN_DIR" else {}))
    assert refused.returncode == 6
    assert f"{way} {run_dir}: others may write in {file.parent}/open; chmod go-w" in refused.stderr
    assert not os.path.exists(run_dir)


@pytest.mark.parametrize(
    ("option", "value"), [("--server", "127.0.0.1:99999"), ("--server", "[::1"), ("--name", "a b"), ("--username", "")]
)
def test_options_are_checked_like_keys(file: Path, option: str, value: str) -> None:
    options = {"--server": "127.0.0.1:1", "--username": "u", "--secret-file": str(file), option: value}
    refused = amid("--run-dir", str(file.parent / "run"), "run", *(word for pair in options.items() for word in pair))
    assert refused.returncode in (2, 6) and "Traceback" not in refused.stderr
    assert "must be" in refused.stderr or "a name is" in refused.stderr


# ── warnings ──


def test_warnings_are_logged_once_and_printed_by_check(daemon_for: StartDaemon, pbx: SimulatedPbx) -> None:
    daemon = daemon_for({"pbx1": table(pbx, auth="plain")}, start=False)
    daemon.file.chmod(0o644)
    daemon.start()
    said = ['[servers.pbx1] auth: is \\"plain\\" without TLS', "holds a secret and can be read by everybody"]
    lines = daemon.log.read_text().splitlines()
    assert [sum(what in line and "level=warning" in line for line in lines) for what in said] == [1, 1]
    check = subprocess.run(daemon.argv("check"), capture_output=True, text=True, check=True)
    assert all(f"amid: warning: {daemon.file}" in check.stderr and what.replace("\\", "") in check.stderr for what in said)


# ── SIGHUP ──


def test_a_renewed_certificate_authority_is_used(daemon_for: StartDaemon, pbx: SimulatedPbx, tmp_path: Path) -> None:
    """amid.toml was unchanged, and so the file was not read again."""
    certificate(tmp_path, "pbx")
    certificate(tmp_path, "other")
    named = tmp_path / "authority.pem"
    named.write_bytes((tmp_path / "other.pem").read_bytes())
    with TlsFront(pbx.port, tmp_path / "pbx.pem", tmp_path / "pbx.key") as front:
        keys = {"port": front.port, "tls": True, "tls_ca": str(named)}
        daemon = daemon_for({"pbx1": table(pbx, **keys)}, start=False).start(wait=False)
        eventually(lambda: "certificate" in daemon.server("pbx1")["detail"], "it is not trusted")
        named.write_bytes((tmp_path / "pbx.pem").read_bytes())
        reload(daemon)
        daemon.wait_up("pbx1")


def test_a_renewed_secret_is_used(daemon_for: StartDaemon, pbx: SimulatedPbx, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.touch(0o600)
    secret.write_text("another\n")
    server = {**table(pbx), "secret_file": str(secret)}
    del server["secret"]
    daemon = daemon_for({"pbx1": server}, start=False).start(wait=False)
    eventually(lambda: daemon.server("pbx1")["state"] == "rejected", "it is not let in")
    secret.write_text(f"{SECRET}\n")
    reload(daemon)
    daemon.wait_up("pbx1")


BROKEN: dict[str, Any] = {
    "it is gone": lambda file: file.unlink(),
    "a directory": lambda file: (file.unlink(), file.mkdir()),
    "bytes": lambda file: file.write_bytes(b"\xff\xfe\0"),
    "empty": lambda file: file.write_bytes(b""),
    "a circle of links": lambda file: (file.unlink(), file.symlink_to(file.name)),
    "without end": lambda file: (file.unlink(), file.symlink_to("/dev/zero")),
    "everybody may write it": lambda file: file.chmod(0o666),
}


def _refusals(daemon: Daemon) -> int:
    return daemon.log.read_text().count("nothing was changed")


def _has_refused(daemon: Daemon, times: int) -> bool:
    return _refusals(daemon) >= times


@pytest.mark.parametrize("which", ["amid.toml", "secret"])
def test_unreadable_files_do_not_end_the_daemon(daemon_for: StartDaemon, pbx: SimulatedPbx, tmp_path: Path, which: str) -> None:
    secret = tmp_path / "secret"
    server = {**table(pbx), "secret_file": str(secret)}
    del server["secret"]
    daemon = daemon_for({"pbx1": server}, start=False)
    files = {secret: f"{SECRET}\n".encode(), daemon.file: daemon.file.read_bytes()}
    whole(files)
    daemon.start()
    before = pids(daemon)
    for name, spoil in BROKEN.items():
        spoil(daemon.file if which == "amid.toml" else secret)
        refused = _refusals(daemon)
        daemon.signal("supervisor", signal.SIGHUP)
        eventually(partial(_has_refused, daemon, refused + 1), f"{name} is refused")
        whole(files)
    reload(daemon)
    assert daemon.action("Ping")["response"]["Ping"] == "Pong"
    assert pids(daemon) == before and replaced(daemon, before) == {}


def whole(files: dict[Path, bytes]) -> None:
    """Write the files as they should be, whatever is in their place."""
    for file, data in files.items():
        if file.is_dir():
            file.rmdir()
        file.unlink(missing_ok=True)
        file.touch(0o600)
        file.write_bytes(data)


def test_a_removed_credentials_directory_does_not_end_the_daemon(
    daemon_for: StartDaemon, pbx: SimulatedPbx, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "pbx1.secret").write_text(f"{SECRET}\n")
    (credentials / "pbx1.secret").chmod(0o400)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    server = table(pbx)
    del server["secret"]
    daemon: Daemon = daemon_for({"pbx1": server})
    credentials.rename(tmp_path / "moved")
    credentials.write_text("a file in its place")
    reload(daemon)
    assert "nothing was changed" in daemon.log.read_text()
    assert daemon.action("Ping")["response"]["Ping"] == "Pong"
