"""Events over HTTP: streams, reconnection, and slow browsers."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from amid.simulator import SimulatedPbx
from tests.bench.setting import resident
from tests.conftest import StartDaemon
from tests.daemon import BOUND_S, eventually
from tests.gateway.conftest import TOKENS, Gateway, listening, with_gateway
from tests.processes.pbx import table


class Stream:
    """Server-Sent Events, parsed by the rules of the standard."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self.last_id = ""

    def next(self) -> tuple[str, Any]:
        """The type and data of the next event."""
        kind, data = "message", ""
        for line in self._lines:
            if line.startswith("id: "):
                self.last_id = line[4:]
            elif line.startswith("event: "):
                kind = line[7:]
            elif line.startswith("data: "):
                data += line[6:]
            elif not line and data:
                return kind, json.loads(data)
        raise AssertionError("the stream has ended")

    def comment(self) -> None:
        """Read up to the next comment and return its id."""
        while not next(self._lines).startswith(":"):
            pass
        self.last_id = next(self._lines).removeprefix("id: ")

    def mark(self, token: str) -> Any:
        """Read up to the UserEvent with this token; earlier events are in `passed`."""
        self.passed: list[tuple[str, Any]] = []
        while True:
            kind, data = self.next()
            if kind == "message" and data["fields"].get("Token") == token:
                return data
            self.passed.append((kind, data))


@contextmanager
def stream(gateway: Gateway, query: str = "", last: str = "", name: str = "operator") -> Iterator[Stream]:
    headers = {"Last-Event-ID": last} if last else {}
    with gateway.as_(name) as http, http.stream("GET", f"/v1/events?{query}", headers=headers) as answer:
        assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert next(lines) == "retry: 1000"
        yield Stream(lines)


@contextmanager
def web_socket(gateway: Gateway, query: str = "", name: str = "operator") -> Iterator[ClientConnection]:
    headers = {"Authorization": f"Bearer {TOKENS[name]}"}
    url = gateway.url.replace("http", "ws", 1)
    with connect(f"{url}/v1/events?{query}", additional_headers=headers, proxy=None) as opened:
        yield opened


def send_mark(gateway: Gateway, token: str, name: str = "Said") -> None:
    gateway.daemon.action("UserEvent", {"UserEvent": name, "Token": token}, server="pbx1")


def test_events_are_streamed_as_they_occur(gateway: Gateway) -> None:
    with stream(gateway, "server=pbx1") as events:
        send_mark(gateway, "one")
        event = events.mark("one")
    assert event["event"] == "UserEvent" and event["server"] == "pbx1"
    assert events.last_id == f"pbx1:{event['epoch']}:{event['seq']}"


def test_only_requested_events_are_streamed(gateway: Gateway) -> None:
    with stream(gateway, "server=pbx1&event=UserEvent&event=Hangup&where=Token~wanted") as events:
        gateway.daemon.action("Setvar", {"Variable": "X", "Value": "1"}, server="pbx1")
        send_mark(gateway, "other")
        send_mark(gateway, "wanted-1")
        assert events.mark("wanted-1") and events.passed == []


def test_a_token_receives_only_allowed_events(gateway: Gateway) -> None:
    with stream(gateway, "server=pbx1", name="wallboard") as events:
        gateway.daemon.action("Setvar", {"Variable": "X", "Value": "1"}, server="pbx1")
        send_mark(gateway, "mine")
        assert events.mark("mine") and events.passed == []


def test_a_reconnecting_browser_receives_missed_events(gateway: Gateway) -> None:
    with stream(gateway, "server=pbx1") as events:
        send_mark(gateway, "before")
        events.mark("before")
    for number in range(30):
        send_mark(gateway, f"missed-{number}")
    with stream(gateway, "server=pbx1&event=UserEvent", last=events.last_id) as events:
        send_mark(gateway, "after")
        events.mark("after")
    assert [data["fields"]["Token"] for _, data in events.passed] == [f"missed-{number}" for number in range(30)]


def test_an_id_has_a_cursor_for_each_server(gateway: Gateway) -> None:
    with stream(gateway) as events:
        send_mark(gateway, "before")
        events.mark("before")
        assert sorted(part.split(":")[0] for part in events.last_id.split(",")) == ["away", "pbx1", "pbx2"]
    send_mark(gateway, "between")
    with stream(gateway, "event=UserEvent", last=events.last_id) as events:
        send_mark(gateway, "after")
        passed = []
        for _ in ("pbx1", "pbx2"):  # one PBX under two names: each has its own "after", and neither waits for the other
            events.mark("after")
            passed += events.passed
    missed = {(data["server"], data["fields"]["Token"]) for _, data in passed}
    assert {("pbx1", "between"), ("pbx2", "between")} <= missed


def test_expired_events_are_a_gap(gateway: Gateway) -> None:
    with stream(gateway, "server=pbx1", last="5:6") as events:
        kind, gap = events.next()
    assert kind == "gap" and (gap["epoch"], gap["after"], gap["missed"]) == (5, 6, None)


@pytest.mark.parametrize(("query", "status"), [("server=pbx9", 404), ("evnt=X", 400), ("where=X", 400), ("where=Exten=+1555", 400)])
def test_an_invalid_query_is_an_error(gateway: Gateway, query: str, status: int) -> None:
    with gateway.http as http:
        assert http.head(f"/v1/events?{query}").status_code == status
    with pytest.raises(InvalidStatus) as refused, web_socket(gateway, query):
        pass
    assert refused.value.response.status_code == status


def test_events_over_a_websocket(gateway: Gateway) -> None:
    with web_socket(gateway, "server=pbx1&event=UserEvent") as opened:
        send_mark(gateway, "socket")
        said = json.loads(opened.recv(timeout=BOUND_S))
    assert said["event"]["fields"]["Token"] == "socket"
    assert said["id"] == f"pbx1:{said['event']['epoch']}:{said['event']['seq']}"
    send_mark(gateway, "between")
    with web_socket(gateway, f"server=pbx1&event=UserEvent&after={said['id']}") as opened:
        assert json.loads(opened.recv(timeout=BOUND_S))["event"]["fields"]["Token"] == "between"


@pytest.mark.parametrize("last", ["nonsense", "9:9", "gone:1:2", "pbx1:1:2", f"pbx1:{10**17}:1", "x" * 5000])
def test_an_unknown_id_is_a_gap_not_an_error(gateway: Gateway, last: str) -> None:
    """A browser repeats the id automatically and treats an error as the end."""
    with stream(gateway, last=last) as events:
        gaps = {events.next()[0] for _ in range(2)}
        send_mark(gateway, "goes on")
        events.mark("goes on")
    assert gaps >= {"gap"}


def test_the_last_id_remains_valid_when_a_server_is_added(
    tmp_path: Path, daemon_for: StartDaemon, shared_pbx: SimulatedPbx
) -> None:
    keys = with_gateway(tmp_path)
    own = listening(daemon_for({"pbx1": table(shared_pbx)}, gateway=keys), keys)
    with stream(own) as events:
        send_mark(own, "before")
        events.mark("before")
    own.daemon.configure({"pbx1": table(shared_pbx), "pbx2": table(shared_pbx)}, gateway=keys)
    own.daemon.signal("supervisor", signal.SIGHUP)
    eventually(lambda: own.daemon.wait_up("pbx2"), "the new server is there")
    own.daemon.action("UserEvent", {"UserEvent": "Said", "Token": "new"}, server="pbx2")
    epoch, _, seq = events.last_id.partition(":")[2].partition(":")

    def goes_on(last: str) -> list[tuple[str, Any]]:
        with stream(own, "event=UserEvent&event=none", last=last) as later:
            send_mark(own, "after")
            passed, ended = [], set[str]()
            while ended != {"pbx1", "pbx2"}:  # both are sessions of one PBX, and either may come first
                ended.add(later.mark("after")["server"])
                passed += later.passed
            return [(kind, data["server"]) for kind, data in passed]

    passed = eventually(lambda: goes_on(events.last_id), "the browser goes on")
    assert ("message", "pbx1") in passed and ("gap", "pbx1") not in passed, "pbx1 goes on where it was"
    assert passed.index(("gap", "pbx2")) < passed.index(("message", "pbx2")), "nothing of pbx2 is missing in silence"
    assert ("gap", "pbx1") in goes_on(f"{epoch}:{seq}"), "an id without a server may be of any of them"


def test_a_quiet_stream_of_a_busy_server_keeps_its_id_recent(gateway: Gateway) -> None:
    """Otherwise a browser would restart far behind, and a proxy would close the stream."""
    over = threading.Event()

    def talk() -> None:
        while not over.wait(0.2):
            send_mark(gateway, "passes")

    with stream(gateway, "server=pbx1&event=Never") as events, ThreadPoolExecutor(1) as pool:
        talking = pool.submit(talk)
        try:
            events.comment()
            first = events.last_id
            events.comment()
        finally:
            over.set()
        talking.result()
    assert int(events.last_id.split(":")[2]) > int(first.split(":")[2])


def test_a_killed_reader_is_a_gap_and_the_stream_continues(own_gateway: Gateway) -> None:
    with stream(own_gateway) as events:
        send_mark(own_gateway, "before")
        before = events.mark("before")
        old = own_gateway.daemon.server("pbx1")["epoch"]
        own_gateway.daemon.signal("reader pbx1", signal.SIGKILL)
        eventually(lambda: own_gateway.daemon.server("pbx1")["epoch"] > old, "a new epoch")
        own_gateway.daemon.wait_up("pbx1")
        send_mark(own_gateway, "after")
        after = events.mark("after")
    assert [data["missed"] for kind, data in events.passed if kind == "gap"] == [None]
    seqs = [data["seq"] for kind, data in events.passed if kind == "message" and data["epoch"] == after["epoch"]]
    assert seqs == list(range(1, after["seq"])) and before["epoch"] == old


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=lambda how: how.name)
def test_a_failed_gateway_is_replaced_and_streams_continue(own_gateway: Gateway, how: signal.Signals) -> None:
    with stream(own_gateway) as events:
        send_mark(own_gateway, "before")
        events.mark("before")
        pid = own_gateway.daemon.signal("gateway", how)
    send_mark(own_gateway, "meanwhile")
    eventually(lambda: own_gateway.daemon.pid("gateway") not in (0, pid), "it is replaced")

    def again() -> bool:
        with stream(own_gateway, "event=UserEvent", last=events.last_id) as later:
            return bool(later.mark("meanwhile")) and later.passed == []

    eventually(again, "the browser goes on")
    assert own_gateway.daemon.action("Ping")["response"]["Ping"] == "Pong"


def test_a_replaced_broker_ends_no_stream(own_gateway: Gateway) -> None:
    with stream(own_gateway) as events:
        send_mark(own_gateway, "before")
        events.mark("before")
        pid = own_gateway.daemon.kill("broker")
        eventually(lambda: own_gateway.daemon.pid("broker") not in (0, pid), "it is replaced")
        send_mark(own_gateway, "after")
        assert events.mark("after") and not [data for kind, data in events.passed if kind == "gap"]


def test_a_slow_browser_uses_bounded_memory_and_delays_no_other(own_gateway: Gateway) -> None:
    """It subscribes to everything and reads nothing, while another browser receives all."""
    host, _, port = own_gateway.url.removeprefix("http://").partition(":")
    request = f"GET /v1/events HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {TOKENS['operator']}\r\n\r\n"
    with socket.create_connection((host, int(port))) as slow, stream(own_gateway, "event=UserEvent") as events:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.sendall(request.encode())
        send_mark(own_gateway, "begin")
        events.mark("begin")
        before = resident(own_gateway.daemon.pid("gateway"))
        for _ in range(60):
            own_gateway.daemon.action("SimFault", {"Kind": "burst", "Count": 500}, timeout=30)
        began = time.monotonic()
        send_mark(own_gateway, "end", name="Last")
        events.mark("end")
        assert [data["fields"].get("Number") for _, data in events.passed if data["fields"]["UserEvent"] == "Burst"] == [
            str(number) for number in range(1, 501)
        ] * 60
        assert time.monotonic() - began < BOUND_S
        grown = resident(own_gateway.daemon.pid("gateway")) - before
    assert grown < 40, f"{grown:.0f} MB more for one that does not read 30,000 events"


def test_the_number_of_streams_is_limited(gateway: Gateway) -> None:
    """Ended streams free their places."""
    with gateway.http as http:
        eventually(lambda: "amid_gateway_streams 0.0" in http.get("/metrics").text, "those of other tests have ended")
        with stream(gateway), stream(gateway):
            assert "amid_gateway_streams 2.0" in http.get("/metrics").text
        send_mark(gateway, "wake")
        eventually(lambda: "amid_gateway_streams 0.0" in http.get("/metrics").text, "both have ended")


def test_disconnecting_clients_are_not_logged_as_errors(own_gateway: Gateway) -> None:
    """Clients of WebSockets, closed cleanly or not, and of bodies; also a refused WebSocket."""
    host, _, port = own_gateway.url.removeprefix("http://").partition(":")
    request = f"POST /rpc HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKENS['operator']}\r\nContent-Length: 9\r\n\r\n{{"
    with web_socket(own_gateway), web_socket(own_gateway) as aborted, socket.create_connection((host, int(port))) as halfway:
        aborted.socket.shutdown(socket.SHUT_RDWR)
        halfway.sendall(request.encode())
    with pytest.raises(InvalidStatus), web_socket(own_gateway, "server=pbx9"):
        pass
    send_mark(own_gateway, "wake")
    with own_gateway.http as http:
        eventually(lambda: "amid_gateway_streams 0.0" in http.get("/metrics").text, "the streams have ended")
    own_gateway.daemon.stop()
    log = own_gateway.daemon.log.read_text()
    assert "Traceback" not in log and "ERROR amid gateway" not in log


def test_a_head_request_for_events_ends(gateway: Gateway) -> None:
    with gateway.http as http:
        assert [http.head("/v1/events").status_code, http.get("/healthz").status_code] == [200, 200]
