"""The environment of the trials: one PBX, and a daemon that has it under several names, so that a
call can have every outcome."""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conformance.pbx import Pbx, running
from tests.daemon import Daemon, eventually

KEPT = 200_000
"""Bytes of events that the forgetful server's reader holds."""


@dataclass(frozen=True)
class World:
    """`pbx1` is the server of most tests, `spare` one to restart. `narrow` has a lane and a queue of one, `small` takes short
    answers only, `forgetful` holds few events, `away` is not there. `empty` is a directory without a daemon, `dead` has
    a socket left over."""

    pbx: Pbx
    daemon: Daemon
    empty: Path
    dead: Path


@contextmanager
def world(name: str) -> Iterator[World]:
    with running(name) as pbx, tempfile.TemporaryDirectory(prefix="amid-") as directory:
        quiet = {**pbx.table, "events": "off"}
        servers: dict[str, dict[str, Any]] = {
            "pbx1": {**pbx.table, "deny": ["ModuleLoad"], "lanes": 16},
            "spare": quiet,
            "narrow": {**quiet, "lanes": 1, "queue": 1},
            "small": {**quiet, "max_reply_bytes": 1024, "lanes": 16},
            "forgetful": {**pbx.table, "replay_bytes": KEPT, "events": "user,dialplan,system"},
            "away": {**quiet, "host": "127.0.0.1", "port": 1},
        }
        places = [Path(directory, name) for name in ("amid", "empty", "dead")]
        for place in places:
            place.mkdir()
        _leave_a_socket(places[2] / "rpc")
        daemon = Daemon(places[0], servers, callers__local={"admin": True})
        try:
            daemon.start(wait=False)
            for server in set(servers) - {"away"}:
                daemon.wait_up(server)
            yield World(pbx, daemon, *places[1:])
        finally:
            daemon.close()


def slow(server: str, seconds: int, timeout: float) -> dict[str, Any]:
    """The params of an action that takes so long: an Originate, not Async, to an extension that rings."""
    fields = {"Channel": "Local/noanswer@calls/n", "Application": "Wait", "Data": "1", "Timeout": seconds * 1000}
    return {"action": "Originate", "server": server, "fields": fields, "timeout": timeout}


def hang_up(world: World) -> None:
    """Ends the slow ones."""

    def none_left() -> bool:
        world.daemon.action("Hangup", {"Channel": "/^Local/"}, server="pbx1")
        return not world.daemon.action("CoreShowChannels", server="pbx1")["events"]

    eventually(none_left, "no channels are left")


def flood(pbx: Pbx, count: int) -> None:
    """UserEvents with the tokens 1 to `count`, as fast as the PBX makes them, over a session that no daemon has to do with."""
    with socket.create_connection((pbx.host, pbx.port)) as session:
        session.sendall(_packet(Action="Login", Username=pbx.username, Secret=pbx.secret, Events="off"))
        for first in range(1, count + 1, 100):
            tokens = range(first, min(first + 100, count + 1))
            session.sendall(b"".join(_packet(Action="UserEvent", UserEvent="Flood", Token=str(token)) for token in tokens))
            _read_answers(session, len(tokens))


def _read_answers(session: socket.socket, count: int) -> None:
    data = b""
    end = time.monotonic() + 10
    while data.count(b"Event Sent") < count:
        assert time.monotonic() < end, "the PBX does not answer"
        data += session.recv(65536)


def _packet(**headers: str) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode() + b"\r\n"


def _leave_a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
