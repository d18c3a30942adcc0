"""TLS to real Asterisks: trust, error messages, and a storm of events."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.asterisk.raw import eventually as soon
from tests.asterisk.server import Asterisk, free_port
from tests.conftest import StartDaemon
from tests.daemon import BOUND_S, eventually
from tests.processes.process import Listener
from tests.processes.tls import certificate


class Secure:
    """An Asterisk whose manager speaks TLS on `port` too, with a certificate for `host`; its CA is `ca`."""

    def __init__(self, asterisk: Asterisk, folder: Path, host: str = "IP:127.0.0.1", made_at: str = "now") -> None:
        self.asterisk, self.port = asterisk, free_port()
        self.ca, key = certificate(folder, "manager", host, made_at)
        etc = asterisk.private / "etc"
        shutil.copy(self.ca, etc / "manager.pem")
        shutil.copy(key, etc / "manager.key")
        inside = f"/{etc.relative_to(asterisk.root)}"
        added = f"\n[general](+)\ntlsenable = yes\ntlsbindaddr = 127.0.0.1:{self.port}\n"
        added += f"tlscertfile = {inside}/manager.pem\ntlsprivatekey = {inside}/manager.key\n"
        (etc / "manager.conf").write_text((etc / "manager.conf").read_text() + added)
        asterisk.command("manager reload")
        soon(self._listens)

    def table(self, **keys: Any) -> dict[str, Any]:
        of = self.asterisk
        known = {"host": "127.0.0.1", "port": self.port, "username": of.username, "secret": of.secret, "tls": True}
        return {**known, "tls_ca": str(self.ca), "login_timeout": 2.0, **keys}

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
def secure(own_asterisk: Callable[[], Asterisk], tmp_path: Path) -> Callable[..., Secure]:
    return lambda **keys: Secure(own_asterisk(), tmp_path, **keys)


def test_calls_and_a_storm_of_events(secure: Callable[..., Secure], daemon_for: StartDaemon) -> None:
    """No event may remain in TLS's buffer until the next arrives."""
    daemon = daemon_for({"pbx1": secure().table()})
    with Listener(daemon, "pbx1") as listener:
        for number in range(1, 501):
            daemon.action("UserEvent", {"UserEvent": "Storm", "Number": number, "Padding": "x" * 900})
        numbers = [event["fields"]["Number"] for event in eventually(lambda: _storm(listener, 500), "all of the storm")]
    assert numbers == [str(number) for number in range(1, 501)] and listener.gaps() == 0
    assert len(daemon.action("ListCommands")["response"]) > 100


def _storm(listener: Listener, count: int) -> list[dict[str, Any]]:
    listener.heard()
    events = [event for event in listener.events if event["event"] == "UserEvent"]
    return events if len(events) == count else []


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "another host": ({"host": "DNS:pbx.example"}, {}, "valid for '127.0.0.1'; set host to a name in the certificate"),
    "another CA": ({}, {"tls_ca": None}, "self-signed certificate; set tls_ca to the certificate itself"),
    "expired": ({"made_at": "2020-01-01"}, {}, "certificate has expired; renew the certificate"),
}


@pytest.mark.parametrize(("certificate_is", "keys", "why"), REFUSED.values(), ids=REFUSED)
def test_a_wrong_certificate_is_refused_with_the_reason(
    secure: Callable[..., Secure], daemon_for: StartDaemon, certificate_is: dict[str, Any], keys: dict[str, Any], why: str
) -> None:
    table = {key: value for key, value in secure(**certificate_is).table(**keys).items() if value is not None}
    daemon = daemon_for({"pbx1": table}, start=False).start(wait=False)
    eventually(lambda: why in daemon.server("pbx1")["detail"], f"it says why not: {why}")
    assert why in daemon.log.read_text()


def test_ports_with_and_without_tls_are_distinguished(secure: Callable[..., Secure], daemon_for: StartDaemon) -> None:
    pbx = secure()
    plain_on_tls, tls_on_plain = pbx.table(tls=False), pbx.table(port=pbx.asterisk.port)
    del plain_on_tls["tls_ca"]
    daemon = daemon_for({"one": plain_on_tls, "two": tls_on_plain}, start=False).start(wait=False)
    for name, what in (("one", "tls = true"), ("two", "tls = false")):
        eventually(lambda name=name, what=what: what in daemon.server(name)["detail"], f"{name}: {what}")  # type: ignore[misc]


class Peer:
    """An `openssl s_server` on a free port, whose standard input is what it says: a manager played by hand."""

    def __init__(self, folder: Path, *options: str) -> None:
        cert, key = certificate(folder, "peer")
        self.ca, self.port = cert, free_port()
        argv = ["stdbuf", "-oL", "openssl", "s_server", "-accept", f"127.0.0.1:{self.port}", "-naccept", "1"]
        argv += ["-cert", str(cert), "-key", str(key), *options]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def send(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def read_line(self, word: str) -> str:
        """The next line that has `word`."""
        assert self.process.stdout is not None
        return next(line for line in map(bytes.decode, self.process.stdout) if word in line)

    def close(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=BOUND_S)


@pytest.mark.parametrize(("version", "asks", "ends"), [("-tls1_2", "R", "Q"), ("-tls1_3", "K", "Q"), ("-tls1_3", "k", "killed")])
def test_new_keys_during_a_session_lose_nothing(
    tmp_path: Path, daemon_for: StartDaemon, version: str, asks: str, ends: str
) -> None:
    """A renegotiation of TLS 1.2, an update of keys in TLS 1.3 with or without one in return: nothing is lost around it. Then the
    peer closes its half with a close_notify, or the stream ends without one."""
    peer = Peer(tmp_path, version)
    try:
        table = {"host": "127.0.0.1", "port": peer.port, "username": "amid", "secret": "s", "auth": "plain"}
        daemon = daemon_for({"pbx1": {**table, "tls": True, "tls_ca": str(peer.ca), "lanes": 1}}, start=False).start(wait=False)
        peer.read_line("CIPHER")
        peer.send("Asterisk Call Manager/11.0.0\r\n")
        action_id = peer.read_line("ActionID").split()[1]
        peer.read_line("Events")
        peer.send(f"Response: Success\r\nActionID: {action_id}\r\nMessage: Authentication accepted\r\n\r\n")
        with Listener(daemon, "pbx1") as listener:
            eventually(lambda: daemon.server("pbx1")["seq"] > 0, "the event session is up")
            peer.send("Event: UserEvent\r\n")
            for number in range(1, 21):  # each is said with the next one's first line: the keys change in the middle of a packet
                peer.send(f"Number: {number}\r\n\r\nEvent: UserEvent\r\n")
                if number % 5 == 0:
                    eventually(lambda number=number: _storm(listener, number), "all events")  # type: ignore[misc]
                    peer.send(f"{asks}\n")
                    peer.read_line("SSL_do_handshake -> 1")
            assert [event["fields"]["Number"] for event in _storm(listener, 20)] == [str(number) for number in range(1, 21)]
        if ends == "killed":
            peer.process.kill()
        else:
            peer.send(f"{ends}\n")
        eventually(lambda: "refused" in daemon.server("pbx1")["detail"], "its end is noticed, and the port is closed")
    finally:
        peer.close()


@pytest.mark.parametrize(
    ("said", "drop"),
    [(b"", b""), (b"\x16\x03\x03\x00\x7a\x02", b""), (b"\x16\x03\x03\x3f\xff\x02", b"\0")],
    ids=["silent", "stops in its hello", "drips"],
)
def test_a_peer_without_a_handshake_does_not_block_the_reader(daemon_for: StartDaemon, said: bytes, drop: bytes) -> None:
    """The reader's loop continues: it sends heartbeats and reports the reason."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        table = {
            "host": "127.0.0.1",
            "port": mute.getsockname()[1],
            "username": "amid",
            "secret": "s",
            "tls": True,
            "login_timeout": 1.0,
        }
        daemon = daemon_for({"mute": table}, start=False).start(wait=False)
        peer, _ = mute.accept()
        with peer:
            peer.sendall(said)
            pid = eventually(lambda: daemon.pid("reader mute"), "its reader runs")

            def given_up() -> bool:
                with suppress(OSError):  # it has hung up
                    peer.sendall(drop)
                return "no connection within" in daemon.server("mute")["detail"]

            eventually(given_up, "the handshake is given up")
            assert daemon.pid("reader mute") == pid
