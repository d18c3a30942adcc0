"""SIP calls, made by sipp: the events of PJSIP channels come, and the lists show the calls."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.asterisk.server import Asterisk, free_port
from tests.conformance.listeners import Listener
from tests.conformance.pbx import SERVER, of
from tests.conftest import StartDaemon
from tests.daemon import BOUND_S
from tests.need import need_programs

CALLS = 5


@pytest.fixture
def sipp() -> str:
    need_programs("sipp", of="ASTERISK")
    return shutil.which("sipp") or ""


@pytest.fixture
def callers(asterisk: Asterisk, sipp: str, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """sipp, calling: each call is answered, lasts a second, and is hung up by the caller."""
    port = free_port(socket.SOCK_DGRAM)
    where = ["-i", "127.0.0.1", "-p", str(port), "-s", "answer", f"127.0.0.1:{asterisk.sip_port}"]
    how = ["-sn", "uac", "-m", str(CALLS), "-r", "20", "-d", "3000", "-nostdin", "-timeout", "15"]
    process = subprocess.Popen([sipp, *how, *where], cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    yield process
    process.kill()
    process.wait(BOUND_S)


def test_sip_calls(asterisk: Asterisk, daemon_for: StartDaemon, request: pytest.FixtureRequest) -> None:
    daemon = daemon_for({SERVER: of(asterisk).table})
    with Listener(daemon, "stream", f"stream.{SERVER}.") as stream:
        process: subprocess.Popen[bytes] = request.getfixturevalue("callers")
        stream.until(lambda listener: len(answered(listener)) == CALLS, "all calls are answered")
        listed = {channel["Channel"] for channel in daemon.action("CoreShowChannels")["events"]}
        assert listed == answered(stream)
        stream.until(lambda listener: len(listener.named("Hangup")) == CALLS, "all calls are over")
        assert process.wait(BOUND_S) == 0, "sipp says that a call failed"
    for name in ("Newchannel", "Hangup"):
        assert sorted(event["fields"]["Channel"] for event in stream.named(name)) == sorted(listed)


def answered(listener: Listener) -> set[str]:
    """The channels that a caller's SIP call has come to, once they are up."""
    states = [event["fields"] for event in listener.named("Newstate")]
    up = {state["Channel"] for state in states if state["ChannelStateDesc"] == "Up"}
    return {channel for channel in up if channel.startswith("PJSIP/sipp-")}
