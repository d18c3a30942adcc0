"""TLS to the PBX: only certificates of the configured CA are trusted."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from amid.simulator import SimulatedPbx
from tests.conftest import StartDaemon
from tests.daemon import Daemon, eventually
from tests.processes.pbx import arm, table
from tests.processes.process import Listener
from tests.processes.tls import TlsFront, certificate


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    for name, host in (("pbx", "IP:127.0.0.1,DNS:localhost"), ("other", "IP:127.0.0.1"), ("elsewhere", "DNS:pbx.example")):
        certificate(folder, name, host)
    return folder


@pytest.fixture
def front(pbx: SimulatedPbx, folder: Path) -> Iterator[TlsFront]:
    with TlsFront(pbx.port, folder / "pbx.pem", folder / "pbx.key") as front:
        yield front


def over_tls(pbx: SimulatedPbx, front: TlsFront, **keys: Any) -> dict[str, Any]:
    return table(pbx, **{"port": front.port, "tls": True, "host": "127.0.0.1", **keys})


def refused(daemon: Daemon) -> str:
    def detail() -> str:
        view = daemon.server("pbx1")
        assert view["state"] != "up"
        return view["detail"] if view["detail"] != "not connected yet" and "report" not in view["detail"] else ""

    return eventually(detail, "it says why not").lower()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_certificate_of_the_given_ca_is_trusted(
    daemon_for: StartDaemon, pbx: SimulatedPbx, front: TlsFront, folder: Path, host: str
) -> None:
    daemon = daemon_for({"pbx1": over_tls(pbx, front, host=host, tls_ca=str(folder / "pbx.pem"))})
    assert daemon.action("Ping")["response"]["Ping"] == "Pong"


def test_events_larger_than_a_read_are_complete(daemon_for: StartDaemon, pbx: SimulatedPbx, front: TlsFront, folder: Path) -> None:
    """TLS records and reads have different boundaries."""
    daemon = daemon_for({"pbx1": over_tls(pbx, front, tls_ca=str(folder / "pbx.pem"))})
    with Listener(daemon, "pbx1") as listener:
        arm(daemon, "burst", "*", Count=3000)
        eventually(lambda: listener.heard() and bursts(listener) and bursts(listener)[-1] == 3000, "the last of the burst")
        assert bursts(listener) == list(range(1, 3001))
        assert listener.gaps() == 0


def bursts(listener: Listener) -> list[int]:
    return [int(event["fields"]["Number"]) for event in listener.events if event["event"] == "UserEvent"]


def test_a_certificate_of_another_ca_is_refused(daemon_for: StartDaemon, pbx: SimulatedPbx, front: TlsFront, folder: Path) -> None:
    daemon = daemon_for({"pbx1": over_tls(pbx, front, tls_ca=str(folder / "other.pem"))}, start=False).start(wait=False)
    detail = refused(daemon)
    assert "certificate" in detail and "self-signed" in detail
    assert pbx.connected == [], "nothing was said to it"


def test_an_untrusted_certificate_is_refused(daemon_for: StartDaemon, pbx: SimulatedPbx, front: TlsFront) -> None:
    daemon = daemon_for({"pbx1": over_tls(pbx, front)}, start=False).start(wait=False)
    assert "certificate" in refused(daemon)


def test_a_certificate_of_another_host_is_refused(daemon_for: StartDaemon, pbx: SimulatedPbx, folder: Path) -> None:
    with TlsFront(pbx.port, folder / "elsewhere.pem", folder / "elsewhere.key") as front:
        keys = over_tls(pbx, front, tls_ca=str(folder / "elsewhere.pem"))
        daemon = daemon_for({"pbx1": keys}, start=False).start(wait=False)
        assert "127.0.0.1" in refused(daemon)


def test_without_verification_any_certificate_is_accepted(daemon_for: StartDaemon, pbx: SimulatedPbx, front: TlsFront) -> None:
    daemon = daemon_for({"pbx1": over_tls(pbx, front, tls_verify=False)})
    assert daemon.action("Ping")["response"]["Ping"] == "Pong"


def test_amid_presents_its_client_certificate(daemon_for: StartDaemon, pbx: SimulatedPbx, folder: Path) -> None:
    with TlsFront(pbx.port, folder / "pbx.pem", folder / "pbx.key", client_ca=folder / "other.pem") as front:
        own = {"tls_cert": str(folder / "other.pem"), "tls_key": str(folder / "other.key")}
        daemon = daemon_for({"pbx1": over_tls(pbx, front, tls_ca=str(folder / "pbx.pem"), **own)})
        assert daemon.action("Ping")["response"]["Ping"] == "Pong"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("shown", ["none", "elsewhere"])
def test_a_missing_client_certificate_is_reported(
    daemon_for: StartDaemon, pbx: SimulatedPbx, folder: Path, version: ssl.TLSVersion, shown: str
) -> None:
    """In TLS 1.3 the refusal comes after the handshake."""
    own = {} if shown == "none" else {"tls_cert": str(folder / f"{shown}.pem"), "tls_key": str(folder / f"{shown}.key")}
    with TlsFront(pbx.port, folder / "pbx.pem", folder / "pbx.key", folder / "other.pem", version) as front:
        table = over_tls(pbx, front, tls_ca=str(folder / "pbx.pem"), **own)
        assert "tls_cert" in refused(daemon_for({"pbx1": table}, start=False).start(wait=False))


@pytest.mark.parametrize("notify", [True, False], ids=["close_notify", "FIN alone"])
def test_an_ended_stream_loses_only_open_actions(
    daemon_for: StartDaemon, pbx: SimulatedPbx, front: TlsFront, folder: Path, notify: bool
) -> None:
    daemon = daemon_for({"pbx1": over_tls(pbx, front, tls_ca=str(folder / "pbx.pem"))})
    with Listener(daemon, "pbx1") as listener, ThreadPoolExecutor() as pool:
        arm(daemon, "silence", "Ping")
        call = pool.submit(daemon.failure, "Ping")
        eventually(lambda: daemon.server("pbx1")["lanes"]["busy"], "the call is in flight")
        front.hang_up(notify)
        assert call.result()["data"] | {"kind": "connection_lost", "sent": True} == call.result()["data"]
        eventually(lambda: listener.heard() and "amid:connected" in [event["event"] for event in listener.events], "it is up again")
        daemon.wait_up("pbx1")
        assert daemon.action("CoreStatus")["response"]["Response"] == "Success"  # the PBX may not have read the Ping


def test_a_pbx_without_tls_is_recognised(daemon_for: StartDaemon, pbx: SimulatedPbx) -> None:
    daemon = daemon_for({"pbx1": table(pbx, tls=True)}, start=False).start(wait=False)
    assert "does not speak tls" in refused(daemon)
