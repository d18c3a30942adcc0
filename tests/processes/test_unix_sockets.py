"""Rules for every Unix socket of a running daemon."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from amid.cli import trace
from amid.errors import AmidError
from amid.process.unix_socket import SO_PASSRIGHTS
from amid.simulator import SimulatedPbx
from tests.conftest import StartDaemon
from tests.daemon import Daemon, eventually
from tests.processes.pbx import table
from tests.processes.test_subscriptions import SUBSCRIBER, still_open
from tests.processes.zmtp import RawPeer


def _kernel_can_refuse_descriptors() -> bool:
    with socket.socket(socket.AF_UNIX) as one:
        try:
            return bool(one.getsockopt(socket.SOL_SOCKET, SO_PASSRIGHTS))
        except OSError:
            return False


@pytest.mark.skipif(not _kernel_can_refuse_descriptors(), reason="SO_PASSRIGHTS needs Linux 6.16")
def test_no_socket_accepts_file_descriptors(daemon: Daemon) -> None:
    """A TCP socket with SO_LINGER and unsent data blocked the process that received it, when it was closed there."""
    paths = [path for path in daemon.run_dir.iterdir() if path.is_socket()]
    assert {path.name for path in paths} >= {"rpc", "readers", "events-pbx1", "stream-pbx1", "trace-pbx1"}
    for path in paths:
        _pass_descriptor(path)


def _pass_descriptor(path: Path) -> None:
    reading, writing = os.pipe()
    try:
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(path))
            with pytest.raises(PermissionError):
                socket.send_fds(peer, [b"\xff"], [reading])
    finally:
        os.close(reading)
        os.close(writing)


def test_a_local_caller_without_admin_cannot_trace(daemon_for: StartDaemon, pbx: SimulatedPbx) -> None:
    """It saw the packets of all callers where `local` had admin."""
    user = pwd.getpwnam("daemon")

    def configured(admin: bool) -> dict[str, Any]:
        return {"callers__local": {"admin": True}, "callers__wallboard": {"user": user.pw_name, "admin": admin}}

    daemon = daemon_for({"pbx1": table(pbx)}, **configured(admin=True))
    assert _mode(daemon) == 0o660
    with RawPeer(daemon.run_dir / "trace-pbx1", SUBSCRIBER) as connected:
        pid = daemon.pid("reader pbx1")
        daemon.configure({"pbx1": table(pbx)}, **configured(admin=False))
        daemon.signal("supervisor", signal.SIGHUP)
        eventually(lambda: _mode(daemon) == 0o600, "the socket is for amid's own user and root alone")
        eventually(lambda: not still_open(connected.socket), "and its connections are closed")
    assert daemon.pid("reader pbx1") == pid
    if os.geteuid() == 0:
        with pytest.raises(PermissionError):
            RawPeer.of_user(user.pw_uid, daemon.run_dir, name="trace-pbx1", properties=SUBSCRIBER)


def _mode(daemon: Daemon) -> int:
    path = daemon.run_dir / "trace-pbx1"
    return stat.S_IMODE(path.stat().st_mode) if path.exists() else 0


def test_the_command_says_why_it_cannot_trace(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: not path.endswith("trace-pbx1"))
    with pytest.raises(AmidError, match="only root and amid's own user may trace pbx1"):
        next(trace._packets(str(daemon.run_dir), None))
