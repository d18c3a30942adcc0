"""Attacks from the network, from the same machine, and by callers with few rights."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zmq

from amid import AmidError, Client, Curve, wire
from amid.cli.main import run
from amid.simulator import SimulatedPbx
from tests.conftest import StartDaemon
from tests.daemon import BOUND_S, Daemon, eventually
from tests.gateway.conftest import TOKENS, with_gateway
from tests.processes.pbx import SECRET, table
from tests.processes.process import Listener, next_event, pids
from tests.processes.test_tcp import Tcp, make_keys, module_tcp, tcp

__all__ = ["module_tcp", "tcp"]

# ── callers with limited rights ──

INJECTED = "x\r\n\r\nAction: UserEvent\r\nUserEvent: injected"
PLACES: dict[str, dict[str, Any]] = {
    "the action": {"action": "Ping" + INJECTED},
    "a header's name": {"action": "Ping", "fields": {"A: b" + INJECTED: "x"}},
    "a value": {"action": "Ping", "fields": {"A": INJECTED}},
    "a value in bytes": {"action": "Ping", "fields": {"A": INJECTED.encode()}},
    "a value with LF alone": {"action": "Ping", "fields": {"A": INJECTED.replace("\r", "")}},
    "one of several values": {"action": "Ping", "fields": {"A": ["x", INJECTED]}},
    "the caller's ActionID": {"action": "Ping", "fields": {"ActionID": INJECTED}},
    "until": {"action": "Ping", "until": INJECTED},
    "the server": {"action": "Ping", "server": "pbx1" + INJECTED},
}


@pytest.mark.parametrize("params", PLACES.values(), ids=PLACES)
def test_no_value_can_become_a_packet(shared_daemon: Daemon, params: dict[str, Any]) -> None:
    with Listener(shared_daemon, "pbx1") as listener, shared_daemon.socket(zmq.REQ) as caller:
        caller.connect(shared_daemon.rpc)
        caller.send(msgpack.packb({"id": 1, "method": "action", "params": params}))
        assert caller.poll(int(BOUND_S * 1000))
        reply = wire.unpack(caller.recv())
        shared_daemon.action("UserEvent", {"UserEvent": "fence"})
        eventually(lambda: listener.heard() and "fence" in str(listener.events), "what came after it")
        assert "injected" not in [event["fields"].get("UserEvent") for event in listener.events]
    # a caller's own ActionID is never sent, so it cannot harm; it is only returned to the caller
    assert "result" in reply if "ActionID" in str(params) else reply["error"]["data"]["sent"] is False


LISTS: dict[str, dict[str, list[str]]] = {
    "a server's": {"server": ["Command: core stop*", "Originate: *System", "Getvar: *(*)"]},
    "a caller's": {"caller": ["Command: core stop*", "Originate: *System", "Getvar: *(*)"]},
}
FORBIDDEN: list[tuple[str, dict[str, Any]]] = [
    ("COMMAND", {"command": ' Core  st"o"p\tnow'}),
    ("Originate", {"Channel": "Local/1@x", "aPPLICATION": "\x01TrySystem", "Data": "id"}),
    ("Getvar", {"Variable": "SHELL(id)"}),
]


@pytest.mark.parametrize("lists", LISTS.values(), ids=LISTS)
def test_rules_check_the_target_of_an_action(daemon_for: StartDaemon, pbx: SimulatedPbx, lists: dict[str, list[str]]) -> None:
    server = table(pbx, deny=lists.get("server", []))
    daemon = daemon_for({"pbx1": server}, callers__local={"deny": lists.get("caller", [])})
    for action, fields in FORBIDDEN:
        failure = daemon.failure(action, fields)
        assert (failure["data"]["kind"], failure["data"]["sent"]) == ("denied", False), failure
    twice = daemon.failure("Originate", {"Channel": "Local/1@x", "Application": ["Dial", "System"]})
    assert twice["data"]["kind"] == "invalid_params" and "give it once" in twice["message"]
    assert daemon.action("Command", {"Command": "core show version"})["output"]


# ── from the network ──


def test_unauthenticated_tcp_bytes_do_not_reach_the_broker(tcp: Tcp) -> None:
    """Bytes that are not ZeroMQ, ZeroMQ without CURVE, and CURVE with another daemon's key: none
    reaches the broker's code."""
    broker = tcp.daemon.pid("broker")
    host, port = tcp.rpc.removeprefix("tcp://").split(":")
    for said in (b"GET / HTTP/1.1\r\n\r\n", b"\xff\0\0\0\0\0\0\0\1\x7f\3\0NULL" + bytes(48), os.urandom(4096)):
        with socket.create_connection((host, int(port)), BOUND_S) as stranger:
            stranger.sendall(said)
    public = make_keys(tcp.folder / "another.key")
    curve = Curve(public, tcp.crm, (tcp.folder / "crm.key").read_text().strip())
    with Client(endpoint=tcp.rpc, curve=curve) as misled, pytest.raises(AmidError) as refused:
        misled.ping(timeout=0.5)
    assert refused.value.kind == "unreachable"
    with tcp.client() as client:
        assert client.ping() == {}
        assert not [name for name in client.status()["counters"] if name.startswith("answers_") and name != "answers_ok"]
    assert tcp.daemon.pid("broker") == broker


def test_an_unauthenticated_tcp_client_receives_no_event(tcp: Tcp) -> None:
    (endpoint,) = tcp.table["events_listen"]
    public = make_keys(tcp.folder / "stranger.key")
    stranger = tcp.daemon.socket(zmq.SUB)
    Curve(tcp.server, public, (tcp.folder / "stranger.key").read_text().strip()).put_on(stranger)
    stranger.subscribe("")
    stranger.connect(endpoint)
    with stranger, tcp.client() as client, client.events("UserEvent", timeout=BOUND_S) as events:
        eventually(lambda: "refused a connection from" in tcp.daemon.log.read_text(), "the stranger was turned away")
        client.action("UserEvent", UserEvent="private")
        assert next_event(events)["UserEvent"] == "private"
        assert not stranger.poll(0)


# ── from the same machine ──


def test_no_secret_is_visible_to_other_users(daemon_for: StartDaemon, pbx: SimulatedPbx, tmp_path: Path) -> None:
    """Secrets of every kind are searched in argv and environment of all processes, the log,
    run_dir, `status`, `servers` and `check`."""
    make_keys(tmp_path / "server.key")
    tables = {"gateway": with_gateway(tmp_path), "curve": {"secret_key_file": str(tmp_path / "server.key")}}
    daemon = daemon_for({"pbx1": table(pbx)}, **tables)
    seen = [daemon.log.read_bytes(), json.dumps([daemon.result("status"), daemon.result("servers")]).encode()]
    seen += [file.read_bytes() for file in daemon.run_dir.iterdir() if file.is_file()]
    seen += [Path(f"/proc/{pid}/{file}").read_bytes() for pid in pids(daemon).values() for file in ("cmdline", "environ")]
    seen.append(subprocess.run(daemon.argv("check"), capture_output=True, check=True).stdout)
    secrets = [SECRET, (tmp_path / "server.key").read_text().strip(), *TOKENS.values()]
    assert not [secret for secret in secrets for text in seen if secret.encode() in text]


@pytest.mark.parametrize("key", ["secret", "secret_key"])
def test_check_warns_about_a_secret_in_a_file_readable_by_everybody(
    tmp_path: Path, daemon_for: StartDaemon, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    (tmp_path / "file").touch(0o600)
    (tmp_path / "file").write_text("geheim")
    server = {"host": "h", "username": "u", **({"secret": "s"} if key == "secret" else {"secret_file": str(tmp_path / "file")})}
    daemon = daemon_for({"pbx1": server}, start=False, **({"curve": {"secret_key": "0" * 40}} if key == "secret_key" else {}))
    for mode, warned in ((0o644, True), (0o640, False)):
        daemon.file.chmod(mode)
        assert run(["check", "-c", str(daemon.file)]) == 0
        assert ("holds a secret and can be read by everybody" in capsys.readouterr().err) is warned


def test_a_crash_leaves_no_core_dump(daemon_for: StartDaemon, pbx: SimulatedPbx, tmp_path: Path, monkeypatch: Any) -> None:
    limits = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (limits[1], limits[1]))
    monkeypatch.chdir(tmp_path)
    try:
        daemon = daemon_for({"pbx1": table(pbx)})
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, limits)
    for pid in pids(daemon).values():
        assert resource.prlimit(pid, resource.RLIMIT_CORE) == (0, 0)
    old = daemon.signal("reader pbx1", signal.SIGABRT)
    eventually(lambda: daemon.pid("reader pbx1") != old, "a new reader")
    assert list(tmp_path.glob("*core*")) == []


def test_symlinks_in_the_run_dir_are_not_followed(daemon_for: StartDaemon, pbx: SimulatedPbx, tmp_path: Path) -> None:
    daemon = daemon_for({"pbx1": table(pbx)}, start=False)
    daemon.run_dir.mkdir(0o750)
    victims = {name: tmp_path / name for name in ("rpc", "events-pbx1", "status.json", ".status.json")}
    for name, victim in victims.items():
        victim.write_text("precious")
        (daemon.run_dir / name).symlink_to(victim)
    daemon.start()
    assert daemon.stop() == 0
    assert {name: victim.read_text() for name, victim in victims.items()} == dict.fromkeys(victims, "precious")


def test_a_symlink_in_place_of_the_lock_is_refused(daemon_for: StartDaemon, pbx: SimulatedPbx, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    daemon = daemon_for({"pbx1": table(pbx)}, start=False)
    daemon.run_dir.mkdir(0o750)
    (daemon.run_dir / "lock").symlink_to(victim)
    daemon.start(wait=False)
    assert daemon.process is not None and daemon.process.wait(BOUND_S) == 6
    assert "cannot use run_dir" in daemon.log.read_text() and victim.read_text() == "precious"


def test_a_run_dir_writable_by_others_is_refused(daemon_for: StartDaemon, pbx: SimulatedPbx) -> None:
    daemon = daemon_for({"pbx1": table(pbx)}, start=False)
    daemon.run_dir.mkdir()
    daemon.run_dir.chmod(0o777)
    daemon.start(wait=False)
    assert daemon.process is not None and daemon.process.wait(BOUND_S) == 6
    assert f"chmod go-w {daemon.run_dir}" in daemon.log.read_text()


root = pytest.mark.skipif(os.getuid() != 0, reason="only root can change its user")


@root
def test_a_run_dir_of_another_user_is_refused(daemon_for: StartDaemon, pbx: SimulatedPbx) -> None:
    daemon = daemon_for({"pbx1": table(pbx)}, start=False)
    daemon.run_dir.mkdir(0o700)
    os.chown(daemon.run_dir, 65534, 65534)
    daemon.start(wait=False)
    assert daemon.process is not None and daemon.process.wait(BOUND_S) == 6
    assert "belongs to user 65534" in daemon.log.read_text()


@root
def test_a_member_of_the_group_cannot_replace_a_socket(daemon: Daemon) -> None:
    """Members may call, but cannot write to the directory or open the readers' socket."""
    member = f"import os, socket; os.setgroups([]); os.setgid({daemon.run_dir.stat().st_gid}); os.setuid(65533); "
    unix = "socket.socket(socket.AF_UNIX)"
    tries = {
        f"{unix}.connect('rpc')": 0,
        f"{unix}.connect('readers')": 1,
        f"{unix}.bind('other')": 1,
        "os.unlink('rpc')": 1,
        "os.rename('rpc', 'old')": 1,
    }
    for attempt, status in tries.items():
        tried = subprocess.run([sys.executable, "-c", member + attempt], cwd=daemon.run_dir, capture_output=True, text=True)
        assert (tried.returncode, "PermissionError" in tried.stderr) == (status, bool(status)), (attempt, tried.stderr)
    assert daemon.action("Ping")["response"]["Ping"] == "Pong"


def test_a_replaced_socket_is_bound_again(daemon: Daemon) -> None:
    rpc = daemon.run_dir / "rpc"
    broker = daemon.pid("broker")
    rpc.unlink()
    with socket.socket(socket.AF_UNIX) as impostor:
        impostor.bind(str(rpc))
        impostor.listen()
        os.kill(broker, signal.SIGKILL)
        eventually(lambda: daemon.request("ping", wait=0.2)["result"] == {}, "the next broker has the name again")
