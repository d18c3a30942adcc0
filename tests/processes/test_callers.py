"""Who a caller is: from the kernel on ipc, from its key over TCP, and never from its own word."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from amid.simulator import SimulatedPbx
from tests.conftest import StartDaemon
from tests.daemon import Daemon
from tests.processes.pbx import table
from tests.processes.test_tcp import make_keys
from tests.processes.zmtp import RawPeer


@pytest.fixture
def guarded(daemon_for: StartDaemon, pbx: SimulatedPbx) -> Daemon:
    """`local` may only Ping; `boss`, who has a key, may do everything."""
    daemon = daemon_for({}, start=False)
    public = make_keys(daemon.directory / "server.key")
    tables: dict[str, Any] = {"curve": {"secret_key_file": str(daemon.directory / "server.key")}}
    tables["callers__boss"] = {"key": public, "admin": True}
    daemon.configure({"pbx1": table(pbx)}, callers__local={"allow": ["Ping"]}, **tables)
    return daemon.start()


def ask(peer: RawPeer, method: str, params: dict[str, Any] | None = None, **members: Any) -> dict[str, Any]:
    peer.send(b"", json.dumps({"id": 1, "method": method, "params": params or {}, **members}).encode())
    reply: dict[str, Any] = json.loads(peer.receive()[-1])
    return reply


STATED = {"a caller": {"User-Id": b"boss"}, "a user": {"User-Id": b"boss", "Peer-Address": b"localhost:0:0:1", "__fd": b"0"}}


@pytest.mark.parametrize("properties", STATED.values(), ids=STATED)
def test_a_local_peer_cannot_state_who_it_is(guarded: Daemon, properties: dict[str, bytes]) -> None:
    with RawPeer(guarded.run_dir / "rpc", properties) as peer:
        assert ask(peer, "restart", {"server": "pbx1"})["error"]["data"]["kind"] == "denied"
        assert ask(peer, "action", {"action": "CoreStatus"})["error"]["data"]["kind"] == "denied"
        assert "result" in ask(peer, "action", {"action": "Ping"}), "it is `local`, and may Ping"


def test_the_gateway_says_on_whose_behalf_it_calls(daemon: Daemon) -> None:
    with RawPeer(daemon.run_dir / "rpc") as peer:
        assert "result" in ask(peer, "ping", on_behalf_of="crm")
        for wrong in ("x" * 65, "", 7, ["crm"]):
            assert ask(peer, "ping", on_behalf_of=wrong)["error"]["data"]["kind"] == "invalid_request"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_user_cannot_call_on_behalf_of_a_token(daemon: Daemon) -> None:
    with RawPeer.of_user(65533, daemon.run_dir) as peer:
        refused = ask(peer, "ping", on_behalf_of="crm")["error"]
        assert refused["data"]["kind"] == "denied" and "uid:65533" in refused["message"]
        assert "result" in ask(peer, "ping")
