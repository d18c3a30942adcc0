"""TCP: only with CURVE, only for configured keys, and each caller with its own rights."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from amid import AmidError, Client, Curve
from amid.broker.caller_sockets import MAX_TCP_MESSAGE_BYTES, REQUESTS_PER_PASS, open_caller_sockets
from amid.cli.main import run
from amid.config.tables import Caller as CallerTable
from amid.config.tables import Config, Rpc, Server
from amid.config.tables import Curve as CurveTable
from amid.process.settings import broker_settings
from amid.simulator import SimulatedPbx
from amid.simulator.session import User
from tests.asterisk.server import free_port
from tests.conftest import StartDaemon
from tests.daemon import BOUND_S, Daemon, eventually
from tests.processes.caller import Caller
from tests.processes.on_loop import Loop
from tests.processes.pbx import arm
from tests.processes.process import Listener, next_event, open_calls, pids, stop
from tests.simulator.faults import faulty_pbx


def make_keys(file: Path) -> str:
    """Carry out `amid keygen`: returns the public key; the secret key is in `file`."""
    with contextlib.redirect_stdout(io.StringIO()) as output:
        assert run(["keygen", str(file)]) == 0
    assert file.stat().st_mode & 0o777 == 0o600
    return output.getvalue().strip()


class Tcp:
    """A daemon on TCP with one caller, `crm`, who may do all but Command. It listens on `listen`, and is reached at `reached`."""

    def __init__(
        self,
        folder: Path,
        pbx: SimulatedPbx,
        daemon_for: StartDaemon,
        listen: str = "127.0.0.1",
        reached: str = "127.0.0.1",
        silence: float = 30.0,
        max_calls: int = 10_000,
        **server: Any,
    ) -> None:
        self.folder = folder
        self.server = make_keys(folder / "server.key")
        self.crm = make_keys(folder / "crm.key")
        rpc, events, stream = (f"tcp://{listen}:{free_port()}" for _ in range(3))
        self.rpc = rpc.replace(listen, reached)
        self.table = {"host": "127.0.0.1", "port": pbx.port, "username": "u", "secret": "s"}
        self.table |= {"events_listen": [events], "stream_listen": [stream], **server}
        self.tables: dict[str, dict[str, Any]] = {
            "rpc": {"listen": [rpc], "max_calls": max_calls},
            "curve": {"secret_key_file": str(folder / "server.key"), "silence": silence},
            "callers__crm": {"key": self.crm, "deny": ["Command"]},
        }
        self.daemon: Daemon = daemon_for({"pbx1": self.table}, **self.tables)

    def connect(self, caller: zmq.Socket[bytes]) -> None:
        """Connect a socket as `crm`."""
        Curve(self.server, self.crm, (self.folder / "crm.key").read_text().strip()).put_on(caller)
        caller.connect(self.rpc)

    def client(self, name: str = "crm") -> Client:
        public = self.crm if name == "crm" else make_keys(self.folder / f"{name}.key")
        secret = (self.folder / f"{name}.key").read_text().strip()
        return Client(endpoint=self.rpc, curve=Curve(self.server, public, secret))


def a_pbx() -> SimulatedPbx:
    return faulty_pbx(users=[User("u", "s")])


@pytest.fixture(scope="module")
def module_tcp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tcp]:
    folder = tmp_path_factory.mktemp("tcp")

    def start(servers: dict[str, dict[str, Any]], **tables: Any) -> Daemon:
        daemon = Daemon(tmp_path_factory.mktemp("amid"), servers, **tables)
        stack.callback(daemon.close)
        return daemon.start()

    with contextlib.ExitStack() as stack:
        pbx = stack.enter_context(a_pbx())
        yield Tcp(folder, pbx, start)


@pytest.fixture
def tcp(module_tcp: Tcp) -> Tcp:
    """Shared by the tests of a module, and its log empty; leave it as it was."""
    module_tcp.daemon.wait_up("pbx1")
    os.truncate(module_tcp.daemon.log, 0)
    return module_tcp


def test_a_known_key_can_call_and_subscribe(tcp: Tcp) -> None:
    with tcp.client() as client:
        assert client.action("Ping")["response"]["Ping"] == "Pong"
        [server] = client.servers()
        assert server["events"].startswith("tcp://") and server["stream"].startswith("tcp://")
        with client.events("UserEvent", timeout=5) as events:
            client.action("UserEvent", UserEvent="over-tcp")
            assert next_event(events)["UserEvent"] == "over-tcp"


def has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


IPV6 = pytest.param("[::1]", "[::1]", marks=pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6"))


@pytest.mark.parametrize(("listen", "reached"), [("*", "127.0.0.1"), ("*", "localhost"), IPV6])
def test_it_listens_on_ipv4_and_ipv6(tmp_path: Path, daemon_for: StartDaemon, listen: str, reached: str) -> None:
    with (
        a_pbx() as pbx,
        Tcp(tmp_path, pbx, daemon_for, listen, reached).client() as client,
        client.events("UserEvent", timeout=5) as named,
        client.events(timeout=5) as everything,
    ):
        client.action("UserEvent", UserEvent="heard")
        assert next_event(named)["UserEvent"] == "heard" and next_event(everything)["UserEvent"] == "heard"


@pytest.mark.parametrize("host", ["192.0.2.1", "pbx.invalid"])
def test_a_failed_bind_is_reported(tmp_path: Path, daemon_for: StartDaemon, host: str) -> None:
    """The log says why the daemon cannot listen there, and which key to change."""
    endpoint = f"tcp://{host}:{free_port()}"
    tables = {"rpc": {"listen": [endpoint]}, "curve": {"secret_key_file": str(tmp_path / "server.key")}}
    make_keys(tmp_path / "server.key")
    tables["callers__crm"] = {"key": make_keys(tmp_path / "crm.key")}
    daemon = daemon_for({"pbx1": {"host": "h", "username": "u", "secret": "s"}}, start=False, **tables)
    daemon.start(wait=False)
    words = f"cannot listen on {endpoint}: this machine does not have the address; change listen in [rpc]"
    eventually(lambda: words in daemon.log.read_text(), "the log says so")


def test_each_caller_has_its_own_rights(tcp: Tcp) -> None:
    with tcp.client() as client:
        for attempt in (lambda: client.command("core show version"), lambda: client.restart("pbx1")):
            with pytest.raises(AmidError) as denied:
                attempt()
            assert (denied.value.kind, denied.value.sent) == ("denied", False)
            assert "'crm'" in denied.value.message
    assert tcp.daemon.action("Command", {"Command": "core show version"})["output"], "local is not crm"


def test_unknown_keys_and_clients_without_keys_are_refused(tcp: Tcp) -> None:
    for client in (tcp.client("stranger"), Client(endpoint=tcp.rpc)):
        with client, pytest.raises(AmidError) as refused:
            client.ping()
        assert refused.value.kind == "unreachable" and "listen in [rpc]" in refused.value.message
    assert "its key is in no [callers.NAME]" in tcp.daemon.log.read_text()


@pytest.mark.parametrize(
    "text",
    ["the daemon's public key, in words for 40", "k" * 39, "k" * 41, "#" * 40, "\udce4" * 40],
    ids=["words", "39", "41", "over 2**32", "bytes"],
)
@pytest.mark.parametrize("wrong", ["server_public", "public", "secret"])
def test_an_invalid_key_is_named(tmp_path: Path, wrong: str, text: str) -> None:
    server, public = (make_keys(tmp_path / name) for name in ("server.key", "crm.key"))
    curve = Curve(server, public, (tmp_path / "crm.key").read_text().strip())
    invalid = curve._replace(**{wrong: text})
    with Client(endpoint="tcp://127.0.0.1:1", curve=invalid) as client, pytest.raises(AmidError, match=f"{wrong} is not a key"):
        client.ping()
    of_two_pairs = curve._replace(public=server)
    with Client(endpoint="tcp://127.0.0.1:1", curve=of_two_pairs) as client, pytest.raises(AmidError, match="printed for secret"):
        client.ping()


def test_no_tcp_without_a_key(tmp_path: Path, daemon_for: StartDaemon) -> None:
    tables = {"rpc": {"listen": ["tcp://127.0.0.1:1"]}}
    daemon = daemon_for({"pbx1": {"host": "h", "username": "u", "secret": "s"}}, start=False, **tables)
    daemon.start(wait=False)
    assert daemon.process is not None and daemon.process.wait(20) == 6
    assert "[rpc] listen: TCP needs a key" in daemon.log.read_text()


def test_keygen_overwrites_no_key(tmp_path: Path) -> None:
    make_keys(tmp_path / "key")
    secret = (tmp_path / "key").read_text()
    again = subprocess.run([sys.executable, "-m", "amid", "keygen", str(tmp_path / "key")], capture_output=True, text=True)
    assert again.returncode == 2 and f"{tmp_path}/key exists; choose another name" in again.stderr and not again.stdout
    assert (tmp_path / "key").read_text() == secret


def print_public(file: Path) -> tuple[int, str, str]:
    """The exit status and output of `amid keygen --public`."""
    argv = [sys.executable, "-m", "amid", "keygen", "--public", str(file)]
    done = subprocess.run(argv, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def test_keygen_prints_the_public_half_of_an_existing_key(tmp_path: Path) -> None:
    public = make_keys(tmp_path / "key")
    secret = (tmp_path / "key").read_text()
    assert print_public(tmp_path / "key") == (0, f"{public}\n", "")
    assert (tmp_path / "key").read_text() == secret


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "No such file or directory"),
        ("", "is empty"),
        ("a line of 39 characters, and so no key.", "has no secret key: its first line must be the 40 characters"),
        ("a line of forty characters, but no key. ", "has no secret key: its first line must be the 40 characters"),
    ],
)
def test_keygen_says_why_a_file_has_no_public_half(tmp_path: Path, content: str | None, why: str) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_text(content)
    status, out, err = print_public(file)
    assert (status, out) == (2, "") and err.startswith(f"amid: {file}") and why in err


def test_queued_calls_of_a_disconnected_caller_are_not_sent(tmp_path: Path, daemon_for: StartDaemon) -> None:
    """libzmq reports the end of a TCP connection through a monitor, unlike that of a local one."""
    with a_pbx() as pbx:
        tcp = Tcp(tmp_path, pbx, daemon_for, lanes=1)
        curve = Curve(tcp.server, tcp.crm, (tmp_path / "crm.key").read_text().strip())
        arm(tcp.daemon, "delay", "ListCommands", Seconds=1.0)
        with Listener(tcp.daemon, "pbx1") as listener, Caller(tcp.daemon) as bystander:
            with tcp.daemon.socket(zmq.DEALER) as leaving:
                curve.put_on(leaving)
                leaving.connect(tcp.rpc)
                event = {"action": "UserEvent", "fields": {"UserEvent": "Abandoned"}}
                for params in ({"action": "ListCommands"}, *([event] * 8)):
                    leaving.send_multipart([b"", json.dumps({"id": 1, "method": "action", "params": params}).encode()])
                eventually(lambda: open_calls(tcp.daemon) == 9, "one is in flight, and eight wait")
            eventually(lambda: open_calls(tcp.daemon) == 0, "its calls have ended")
            bystander.result(bystander.action("UserEvent", {"UserEvent": "Mine"}))

            def user_events() -> list[str]:
                listener.heard()
                return [one["fields"]["UserEvent"] for one in listener.events if one["event"] == "UserEvent"]

            assert eventually(user_events, "the first event") == ["Mine"]


def test_requests_that_have_arrived_at_shutdown_are_answered(tmp_path: Path, daemon_for: StartDaemon) -> None:
    """Also if the broker sends the last answers right before it closes its sockets."""
    with a_pbx() as pbx:
        tcp = Tcp(tmp_path, pbx, daemon_for)
        before = pids(tcp.daemon)
        with tcp.daemon.socket(zmq.DEALER) as caller:
            caller.set(zmq.SNDHWM, 0)
            tcp.connect(caller)
            caller.send_multipart([b"", b'{"id": 0, "method": "ping"}'])
            assert b"result" in caller.recv_multipart()[-1]
            stop(before["broker"])
            os.kill(before["supervisor"], signal.SIGTERM)
            eventually(lambda: "ending" in tcp.daemon.log.read_text(), "the supervisor ends")
            for number in range(1, 301):
                caller.send_multipart([b"", b'{"id": %d, "method": "action", "params": {"action": "Ping"}}' % number])
            os.kill(before["broker"], signal.SIGCONT)
            answered: list[int] = []
            while len(answered) < 300 and caller.poll(int(BOUND_S * 1000)):
                answered.append(json.loads(caller.recv_multipart()[-1])["id"])
        assert sorted(answered) == list(range(1, 301))
        assert tcp.daemon.process is not None and tcp.daemon.process.wait(BOUND_S) == 0
        assert "level=critical" not in tcp.daemon.log.read_text()


def test_a_call_that_is_open_at_the_end_of_drain_gets_an_error(tmp_path: Path, daemon_for: StartDaemon) -> None:
    """Its answer is the last thing that the broker does; it ended with a traceback."""
    with a_pbx() as pbx:
        tcp = Tcp(tmp_path, pbx, daemon_for)
        tcp.daemon.configure({"pbx1": tcp.table}, **tcp.tables, supervision={"drain": 0.1})
        tcp.daemon.signal("supervisor", signal.SIGHUP)
        eventually(lambda: "new configuration applied" in tcp.daemon.log.read_text(), "the broker has it")
        arm(tcp.daemon, "silence", "CoreStatus")
        with tcp.daemon.socket(zmq.DEALER) as caller:
            tcp.connect(caller)
            caller.send_multipart([b"", b'{"id": 1, "method": "action", "params": {"action": "CoreStatus", "timeout": 60}}'])
            eventually(lambda: open_calls(tcp.daemon) == 1, "it is open")
            assert tcp.daemon.stop() == 0
            error = json.loads(caller.recv_multipart()[-1])["error"]["data"]
            assert (error["kind"], error["sent"]) == ("connection_lost", True)
        assert "level=critical" not in tcp.daemon.log.read_text()


def test_a_reload_that_permits_more_calls_permits_their_answers(tmp_path: Path, daemon_for: StartDaemon) -> None:
    """The queue of a connection had the length that it had at the start."""
    with a_pbx() as pbx:
        tcp = Tcp(tmp_path, pbx, daemon_for, max_calls=4)
        with tcp.daemon.socket(zmq.DEALER) as caller:
            caller.set(zmq.RCVHWM, 0)
            tcp.connect(caller)
            caller.send_multipart([b"", b'{"id": 0, "method": "ping"}'])
            assert b"result" in caller.recv_multipart()[-1]
            tcp.tables["rpc"]["max_calls"] = 1000
            tcp.daemon.configure({"pbx1": tcp.table}, **tcp.tables)
            tcp.daemon.signal("supervisor", signal.SIGHUP)
            eventually(lambda: "new configuration applied" in tcp.daemon.log.read_text(), "the broker has it")
            for number in range(1, 1001):
                caller.send_multipart([b"", b'{"id": %d, "method": "events", "params": {"timeout": 1}}' % number])
            answered: set[int] = set()
            while len(answered) < 1000 and caller.poll(5000):
                answered.add(json.loads(caller.recv_multipart()[-1])["id"])
        assert len(answered) == 1000


@pytest.mark.parametrize("how", ["ipc", "tcp"])
def test_requests_that_are_no_calls_are_answered_however_few_calls_may_be_open(
    tmp_path: Path, daemon_for: StartDaemon, how: str
) -> None:
    with a_pbx() as pbx:
        tcp = Tcp(tmp_path, pbx, daemon_for, max_calls=1)
        with tcp.daemon.socket(zmq.DEALER) as caller:
            if how == "tcp":
                Curve(tcp.server, tcp.crm, (tmp_path / "crm.key").read_text().strip()).put_on(caller)
            caller.connect(tcp.rpc if how == "tcp" else tcp.daemon.rpc)
            for number in range(500):
                caller.send_multipart([b"", b'{"id": %d, "method": "ping"}' % number])
            answered: set[int] = set()
            while len(answered) < 500 and caller.poll(5000):
                answered.add(json.loads(caller.recv_multipart()[-1])["id"])
        assert len(answered) == 500


def test_a_pass_takes_few_requests(tmp_path: Path, loop: Loop) -> None:
    """As it does of local callers, who would otherwise wait for a flood over TCP."""
    server, crm = (make_keys(tmp_path / name) for name in ("server.key", "crm.key"))
    secrets = {name: (tmp_path / f"{name}.key").read_text().strip() for name in ("server", "crm")}
    endpoint = f"tcp://127.0.0.1:{free_port()}"
    config = Config(
        run_dir=str(tmp_path),
        servers={"pbx1": Server(host="h", username="u", secret="s")},
        callers={"crm": CallerTable(key=crm)},
        curve=CurveTable(secret_key=secrets["server"]),
        rpc=Rpc(listen=[endpoint]),
    )
    counts: list[int] = []
    came: list[bytes] = []

    def take(origin: object, request: bytes, fault: str) -> None:
        came.append(request)
        time.sleep(0.0005)  # the work for a request, in which others arrive

    async def receive() -> None:
        """Count the messages of each pass that had any."""
        sockets = open_caller_sockets(broker_settings(config), Counter())
        sockets.start(take, lambda _: None)
        sockets.listen([endpoint], lambda *_: None)
        end = time.monotonic() + BOUND_S
        try:
            while sum(counts) < 1 + 50 and time.monotonic() < end:
                await asyncio.sleep(0)
                if came:
                    counts.append(len(came))
                    came.clear()
                    if sum(counts) == 1:  # connected
                        for _ in range(50):
                            caller.send_multipart([b"", b"x"])
        finally:
            sockets.close()

    with zmq.Context() as context, context.socket(zmq.DEALER) as caller:
        caller.set(zmq.LINGER, 0)
        Curve(server, crm, secrets["crm"]).put_on(caller)
        caller.connect(endpoint)
        caller.send_multipart([b"", b"first"])
        loop.run(receive())
    assert sum(counts) == 1 + 50 and max(counts) <= 2 * REQUESTS_PER_PASS, counts


STOPPED = """
import os, signal, sys, zmq
from amid import Client, Curve
from amid.client.curve import connect
server, public, secret, rpc, stream = sys.argv[1:]
curve = Curve(server, public, secret)
client = Client(endpoint=rpc, curve=curve)
client.ping()
events = zmq.Context.instance().socket(zmq.SUB)
events.subscribe(b"")
connect(events, stream, curve)
events.recv()  # a tick at the latest
os.kill(os.getpid(), signal.SIGSTOP)
"""


def established(*ports: int) -> list[str]:
    """The connections to these local ports (proc(5), /proc/net/tcp)."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    wanted = {f"{port:04X}" for port in ports}
    return [local for _, local, _, state, *_ in lines if state == "01" and local.rpartition(":")[2] in wanted]


def test_a_silent_peer_is_disconnected(tmp_path: Path, daemon_for: StartDaemon) -> None:
    """It is stopped, so its kernel still acknowledges data."""
    with a_pbx() as pbx:
        tcp = Tcp(tmp_path, pbx, daemon_for, silence=1.0)
        ports = [int(endpoint.rpartition(":")[2]) for endpoint in (tcp.rpc, *tcp.table["events_listen"])]
        argv = [sys.executable, "-c", STOPPED, tcp.server, tcp.crm, (tmp_path / "crm.key").read_text().strip(), tcp.rpc]
        argv += tcp.table["events_listen"]
        with subprocess.Popen(argv) as stopped:
            try:
                os.waitpid(stopped.pid, os.WUNTRACED)
                assert len(established(*ports)) == 2, "one for requests, one for events"
                eventually(lambda: not established(*ports), "the daemon has closed both")
            finally:
                stopped.kill()
        with tcp.client() as client:
            assert client.ping() == {}


def test_a_connection_closed_by_libzmq_for_a_too_large_message_is_logged_and_counted(tcp: Tcp) -> None:
    """libzmq reports no reason, so nothing was logged."""
    curve = Curve(tcp.server, tcp.crm, (tcp.folder / "crm.key").read_text().strip())
    with tcp.daemon.socket(zmq.REQ) as honest, tcp.daemon.socket(zmq.REQ) as caller:
        for peer in (honest, caller):
            curve.put_on(peer)
            peer.connect(tcp.rpc)
        honest.send(b'{"id": 1, "method": "ping"}')
        assert b"result" in honest.recv()
        before = tcp.daemon.result("status")["counters"].get("connections_without_request", 0)
        caller.send(b" " * (MAX_TCP_MESSAGE_BYTES + 1))
        said = f"or sent a message over {MAX_TCP_MESSAGE_BYTES:,} bytes"
        eventually(lambda: said in tcp.daemon.log.read_text(), "it is logged")
        assert tcp.daemon.result("status")["counters"]["connections_without_request"] == before + 1
