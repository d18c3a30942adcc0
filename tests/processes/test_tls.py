"""TLS to the PBX: only certificates of the configured CA are trusted."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from amid.simulator import SimulatedPbx
from tests.daemon import Daemon, eventually
from tests.processes.pbx import arm, simulated, table
from tests.processes.process import Listener
from tests.processes.tls import TlsFront, certificate

VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
SHOWN = ("none", "elsewhere")
"""The certificates of clients that the PBX refuses."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    for name, host in (("pbx", "IP:127.0.0.1,DNS:localhost"), ("other", "IP:127.0.0.1"), ("elsewhere", "DNS:pbx.example")):
        certificate(folder, name, host)
    return folder


class Fronts:
    """A PBX, and in front of it one that speaks TLS for each kind of certificate.

    refused_pbx: behind those that amid must refuse."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack, self._folder = stack, folder
        self.pbx, self.refused_pbx = (stack.enter_context(simulated()) for _ in range(2))
        self.main = self.front(self.pbx)

    def front(self, pbx: SimulatedPbx, name: str = "pbx", **keys: Any) -> TlsFront:
        return self._stack.enter_context(TlsFront(pbx.port, self.file(f"{name}.pem"), self.file(f"{name}.key"), **keys))

    def file(self, name: str) -> Path:
        return self._folder / name

    def client(self, name: str) -> dict[str, str]:
        return {"tls_cert": str(self.file(f"{name}.pem")), "tls_key": str(self.file(f"{name}.key"))}

    def server(self, front: TlsFront, ca: str = "pbx", **keys: Any) -> dict[str, Any]:
        """The table of a server that is reached through this front."""
        return table(self.pbx, **{"port": front.port, "tls": True, "tls_ca": str(self.file(f"{ca}.pem")), **keys})

    def trusted(self) -> dict[str, dict[str, Any]]:
        unverified = self.server(self.front(self.pbx), tls_verify=False)
        del unverified["tls_ca"]
        return {
            "by-address": self.server(self.main, host="127.0.0.1"),
            "by-name": self.server(self.front(self.pbx), host="localhost"),
            "unverified": unverified,
            "client-cert": self.server(self.front(self.pbx, client_ca=self.file("other.pem")), **self.client("other")),
        }

    def refused(self) -> dict[str, dict[str, Any]]:
        untrusted = self.server(self.front(self.refused_pbx))
        del untrusted["tls_ca"]
        servers = {
            "other-ca": self.server(self.front(self.refused_pbx), ca="other"),
            "untrusted": untrusted,
            "other-host": self.server(self.front(self.refused_pbx, "elsewhere"), ca="elsewhere"),
            "no-tls": table(self.pbx, tls=True),
        }
        for version in VERSIONS:
            front = self.front(self.pbx, client_ca=self.file("other.pem"), newest=version)
            for shown in SHOWN:
                servers[f"{version.name.lower()}-{shown}"] = self.server(front, **({} if shown == "none" else self.client(shown)))
        return servers


@pytest.fixture(scope="module")
def fronts(folder: Path) -> Iterator[Fronts]:
    with ExitStack() as stack:
        yield Fronts(stack, folder)


@pytest.fixture(scope="module")
def daemon(fronts: Fronts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One server for each kind of certificate. Shared: leave it as it was."""
    trusted = fronts.trusted()
    with closing(Daemon(tmp_path_factory.mktemp("amid"), {**trusted, **fronts.refused()})) as daemon:
        daemon.start(wait=False)
        for name in trusted:
            daemon.wait_up(name)
        yield daemon


def refused(daemon: Daemon, server: str) -> str:
    def detail() -> str:
        view = daemon.server(server)
        assert view["state"] != "up"
        return view["detail"] if not view["detail"].startswith("connecting to") and "report" not in view["detail"] else ""

    return eventually(detail, "it says why not").lower()


def answers(daemon: Daemon, server: str) -> bool:
    return bool(daemon.action("Ping", server=server)["response"]["Ping"] == "Pong")


@pytest.mark.parametrize("server", ["by-address", "by-name"])
def test_a_certificate_of_the_given_ca_is_trusted(daemon: Daemon, server: str) -> None:
    assert answers(daemon, server)


def test_events_larger_than_a_read_are_complete(daemon: Daemon) -> None:
    """TLS records and reads have different boundaries."""
    with Listener(daemon, "by-address") as listener:
        arm(daemon, "burst", "*", Count=3000, server="by-address")
        eventually(lambda: listener.heard() and bursts(listener) and bursts(listener)[-1] == 3000, "the last of the burst")
        assert bursts(listener) == list(range(1, 3001))
        assert listener.gaps() == 0


def bursts(listener: Listener) -> list[int]:
    return [int(event["fields"]["Number"]) for event in listener.events if event["event"] == "UserEvent"]


def test_a_certificate_of_another_ca_is_refused(daemon: Daemon, fronts: Fronts) -> None:
    detail = refused(daemon, "other-ca")
    assert "certificate" in detail and "self-signed" in detail and "tls_ca" in detail
    assert fronts.refused_pbx.connected == [], "nothing was said to it"


def test_an_untrusted_certificate_is_refused(daemon: Daemon) -> None:
    assert "certificate" in refused(daemon, "untrusted")


def test_a_certificate_of_another_host_is_refused(daemon: Daemon) -> None:
    """Another tls_ca would not help."""
    detail = refused(daemon, "other-host")
    assert "127.0.0.1" in detail and "set host to a name in the certificate" in detail and "tls_ca" not in detail


def test_without_verification_any_certificate_is_accepted(daemon: Daemon) -> None:
    assert answers(daemon, "unverified")


def test_amid_presents_its_client_certificate(daemon: Daemon) -> None:
    assert answers(daemon, "client-cert")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("shown", SHOWN)
def test_a_missing_client_certificate_is_reported(daemon: Daemon, version: ssl.TLSVersion, shown: str) -> None:
    """In TLS 1.3 the refusal comes after the handshake."""
    assert "tls_cert" in refused(daemon, f"{version.name.lower()}-{shown}")


@pytest.mark.parametrize("notify", [True, False], ids=["close_notify", "FIN alone"])
def test_an_ended_stream_loses_only_open_actions(daemon: Daemon, fronts: Fronts, notify: bool) -> None:
    server = "by-address"
    with Listener(daemon, server) as listener, ThreadPoolExecutor() as pool:
        arm(daemon, "silence", "MailboxCount", server=server)
        fronts.main.requested = b""
        call = pool.submit(daemon.failure, "MailboxCount", server=server)
        eventually(lambda: b"Action: MailboxCount" in fronts.main.requested, "the call is in flight")
        fronts.main.hang_up(notify)
        assert call.result()["data"] | {"kind": "connection_lost", "sent": True} == call.result()["data"]
        eventually(lambda: listener.heard() and "amid:connected" in [event["event"] for event in listener.events], "it is up again")
        daemon.wait_up(server)
        assert answers(daemon, server)


def test_a_pbx_without_tls_is_recognised(daemon: Daemon) -> None:
    assert "does not speak tls" in refused(daemon, "no-tls")
