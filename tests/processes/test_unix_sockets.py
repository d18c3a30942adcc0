"""What holds for every Unix socket of a running daemon."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from amid.process.unix_socket import SO_PASSRIGHTS
from tests.daemon import Daemon


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
