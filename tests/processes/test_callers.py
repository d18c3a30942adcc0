"""The identity of callers: from the kernel on ipc, from the key over TCP, never from the caller's
own claim."""

from __future__ import annotations

import grp
import json
import os
import pwd
import signal
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import zmq

from amid import Curve
from tests.conftest import StartDaemon
from tests.daemon import Daemon, eventually
from tests.processes.conftest import Lend
from tests.processes.pbx import simulated, table
from tests.processes.process import refusal
from tests.processes.test_tcp import Tcp, make_keys, module_tcp, tcp
from tests.processes.zmtp import GREETING_2, RawPeer

__all__ = ["module_tcp", "tcp"]

root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")


@pytest.fixture
def daemon(lend: Lend) -> Daemon:
    return lend()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """`local` may only Ping; `boss`, who has a key, may do everything; `crm`, a Unix user, and
    `wallboard`, a group, may only CoreStatus. Shared: leave it as it was."""
    folder = tmp_path_factory.mktemp("amid")
    make_keys(folder / "server.key")
    callers = {
        "local": {"allow": ["Ping"]},
        "boss": {"key": make_keys(folder / "boss.key"), "admin": True},
        "crm": {"user": "daemon", "allow": ["CoreStatus"]},
        "wallboard": {"group": "games", "allow": ["CoreStatus"]},
    }
    tables = {f"callers__{name}": keys for name, keys in callers.items()}
    with simulated() as pbx:
        daemon = Daemon(folder, {"pbx1": table(pbx)}, curve={"secret_key_file": str(folder / "server.key")}, **tables)
        with closing(daemon.start()):
            yield daemon


def ask(peer: RawPeer, method: str, params: dict[str, Any] | None = None, **members: Any) -> dict[str, Any]:
    peer.send(b"", json.dumps({"id": 1, "method": method, "params": params or {}, **members}).encode())
    reply: dict[str, Any] = json.loads(peer.receive()[-1])
    return reply


STATED = {"a caller": {"User-Id": b"boss"}, "a user": {"User-Id": b"boss", "Peer-Address": b"localhost:0:0:1", "__fd": b"0"}}


@pytest.mark.parametrize("properties", STATED.values(), ids=STATED)
def test_a_local_caller_cannot_choose_its_identity(guarded: Daemon, properties: dict[str, bytes]) -> None:
    with RawPeer(guarded.run_dir / "rpc", properties) as peer:
        assert ask(peer, "restart", {"server": "pbx1"})["error"]["data"]["kind"] == "denied"
        assert ask(peer, "action", {"action": "CoreStatus"})["error"]["data"]["kind"] == "denied"
        assert "result" in ask(peer, "action", {"action": "Ping"}), "it is `local`, and may Ping"


def test_the_gateway_calls_on_behalf_of_its_tokens(daemon: Daemon) -> None:
    with RawPeer(daemon.run_dir / "rpc") as peer:
        assert "result" in ask(peer, "ping", on_behalf_of="crm")
        for wrong in ("x" * 65, "", 7, ["crm"]):
            assert ask(peer, "ping", on_behalf_of=wrong)["error"]["data"]["kind"] == "invalid_request"


@root
def test_another_user_cannot_call_on_behalf_of_a_token(daemon: Daemon) -> None:
    with RawPeer.of_user(65533, daemon.run_dir) as peer:
        refused = ask(peer, "ping", on_behalf_of="crm")["error"]
        assert refused["data"]["kind"] == "denied" and "uid:65533" in refused["message"]
        assert "result" in ask(peer, "ping")


# ── Unix users and groups ──


def may(peer: RawPeer, action: str) -> bool:
    return "result" in ask(peer, "action", {"action": action})


@root
def test_a_local_caller_is_identified_by_its_unix_user(guarded: Daemon) -> None:
    with RawPeer.of_user(pwd.getpwnam("daemon").pw_uid, guarded.run_dir) as crm, RawPeer.of_user(65533, guarded.run_dir) as other:
        assert (may(crm, "CoreStatus"), may(crm, "Ping")) == (True, False)
        assert (may(other, "CoreStatus"), may(other, "Ping")) == (False, True)


@root
def test_a_local_caller_is_identified_by_a_group(guarded: Daemon) -> None:
    """By the group of its process, by its user's primary group, and by the members in the group
    database."""
    games = grp.getgrnam("games").gr_gid
    (guarded.run_dir / "rpc").chmod(0o666)
    guarded.run_dir.chmod(0o755)
    by_first = pwd.getpwnam("games").pw_uid
    with RawPeer.of_user(65533, guarded.run_dir, games) as by_process, RawPeer.of_user(by_first, guarded.run_dir) as by_user:
        assert may(by_process, "CoreStatus") and may(by_user, "CoreStatus")
        assert not may(by_process, "Ping")


def test_the_user_comes_from_the_kernel_not_from_the_handshake(guarded: Daemon) -> None:
    uid = pwd.getpwnam("daemon").pw_uid
    with RawPeer(guarded.run_dir / "rpc", {"Peer-Address": f"localhost:{uid}:{uid}:1".encode()}) as peer:
        assert (may(peer, "CoreStatus"), may(peer, "Ping")) == (False, True)


@pytest.mark.parametrize(
    ("callers", "said"),
    [
        ({"crm": {"user": "no-such-user"}}, "[callers.crm] user: user 'no-such-user' does not exist"),
        ({"crm": {"group": "no-such-group"}}, "[callers.crm] group: group 'no-such-group' does not exist"),
        ({"crm": {"user": "daemon"}, "erp": {"user": "daemon"}}, "[callers.erp] user: 'daemon' is already used in [callers.crm]"),
        ({"crm": {"user": "nobody"}}, "[callers.crm] user: 'nobody' also stands for every user outside the container"),
        ({"local": {"user": "daemon"}}, "[callers.local] user: `local` stands for all local callers"),
    ],
)
def test_check_refuses_an_invalid_user(
    daemon_for: StartDaemon, capsys: pytest.CaptureFixture[str], callers: dict[str, dict[str, Any]], said: str
) -> None:
    tables = {f"callers__{name}": keys for name, keys in callers.items()}
    daemon = daemon_for({"pbx1": {"host": "h", "username": "u", "secret": "s"}}, start=False, **tables)
    assert said in refusal(daemon, capsys)


# ── keys that were taken out, routing ids, frames ──


def test_a_removed_key_has_no_rights(tcp: Tcp) -> None:
    requests: dict[str, dict[str, Any]] = {name: {} for name in ("ping", "servers", "status", "actions")}
    requests["events"] = {"after": {"epoch": tcp.daemon.server("pbx1")["epoch"], "seq": 0}}
    requests["action"] = {"action": "Ping"}
    with tcp.daemon.socket(zmq.DEALER) as caller:
        Curve(tcp.server, tcp.crm, (tcp.folder / "crm.key").read_text().strip()).put_on(caller)
        caller.connect(tcp.rpc)

        def reply(method: str, params: dict[str, Any]) -> dict[str, Any]:
            caller.send_multipart([b"", json.dumps({"id": 1, "method": method, "params": params}).encode()])
            answer: dict[str, Any] = json.loads(caller.recv_multipart()[-1])
            return answer

        assert [method for method, params in requests.items() if "error" in reply(method, params)] == []
        reply("state", {"timeout": 20})
        for number, params in ((2, {}), (3, {"kinds": ["conferences"]})):
            waiting = {"id": number, "method": "events", "params": {**params, "timeout": 60}}
            caller.send_multipart([b"", json.dumps(waiting).encode()])
        both = {"name": "key:crm", "open_calls": 2}
        eventually(lambda: both in tcp.daemon.result("status")["callers"], "both wait")
        tcp.tables["callers__crm"] = {"key": make_keys(tcp.folder / "new.key")}
        tcp.daemon.configure({"pbx1": tcp.table}, **tcp.tables)
        assert tcp.daemon.process is not None
        tcp.daemon.process.send_signal(signal.SIGHUP)
        ended = [json.loads(caller.recv_multipart()[-1]) for _ in range(2)]
        assert {one["id"]: one["error"]["data"]["kind"] for one in ended} == {2: "denied", 3: "denied"}
        replies = {method: reply(method, params) for method, params in requests.items()}
    assert {method: one["error"]["data"]["kind"] for method, one in replies.items()} == dict.fromkeys(requests, "denied")


def test_a_routing_id_that_a_client_sets_is_refused(daemon: Daemon) -> None:
    """Two clients with one routing id: libzmq never reads from the second, whose answers would go to the first."""
    with daemon.socket(zmq.DEALER) as first:
        first.set(zmq.ROUTING_ID, b"crm")
        first.connect(daemon.rpc)
        first.send_multipart([b"", b'{"id": 1, "method": "ping"}'])
        assert first.poll(10_000)
        refused = json.loads(first.recv_multipart()[-1])["error"]
    assert refused["data"]["kind"] == "invalid_request" and "ZMQ_ROUTING_ID" in refused["message"]
    eventually(lambda: "the socket sets a routing id" in daemon.log.read_text(), "the log says so")
    assert daemon.result("ping") == {}


def test_the_size_of_reply_envelopes_is_limited(daemon: Daemon) -> None:
    with RawPeer(daemon.run_dir / "rpc") as peer:
        peer.send(b"proxy", b"", b'{"id": 1, "method": "ping"}')
        assert peer.receive()[:2] == [b"proxy", b""]
        peer.send(b"x" * 1025, b"", b'{"id": 1, "method": "ping"}')
        empty, refused = peer.receive()
        assert empty == b"" and "before the empty delimiter" in json.loads(refused)["error"]["message"]


def test_a_caller_without_a_known_user_has_no_rights(daemon: Daemon) -> None:
    """A peer of ZMTP 2.0 (RFC 15) is disconnected."""
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        RawPeer(daemon.run_dir / "rpc", greeting=GREETING_2)
    assert daemon.result("ping") == {}
