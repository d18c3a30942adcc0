"""Rights over HTTP, and the protections of a browser."""

from __future__ import annotations

import os
import signal
import socket
import time
from typing import Any

import httpx
import pytest

from tests.daemon import BOUND_S, eventually
from tests.gateway.conftest import TOKENS, Gateway

PATHS = [
    "/v1/servers", "/v1/status", "/v1/events", "/v1/servers/pbx1/actions", "/metrics",
    "/v1/servers/pbx1/state", "/v1/state?server=pbx1", "/v1/samples", "/v1/rights?action=Hangup", "/v1/calls", "/v1/calls/1.1",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_every_path_requires_a_token(gateway: Gateway, path: str) -> None:
    with gateway.anonymous as http:
        answer = http.get(path)
    assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
    assert set(answer.json()) == {"error"} and "a token is needed" in answer.json()["error"]


def test_wrong_and_missing_tokens_are_distinguished(gateway: Gateway) -> None:
    with gateway.anonymous as http:
        wrong = http.get("/v1/status", headers={"Authorization": "Bearer nonsense"})
        other = http.get("/v1/status", headers={"Authorization": "Basic b3BlcmF0b3I6eA=="})
        ended = http.get("/v1/status", headers={"Amid-Session": "nonsense"})
    assert wrong.json() == {"error": "unknown token: it is in no table of the tokens file"}
    assert wrong.headers["www-authenticate"] == 'Bearer error="invalid_token"', "RFC 6750, section 3.1"
    assert "a token is needed" in other.json()["error"] and other.headers["www-authenticate"] == "Bearer"
    assert ended.json() == {"error": "this log-in session has ended: log in again"}
    assert {wrong.status_code, other.status_code, ended.status_code} == {401}


@pytest.mark.parametrize(
    "header", ["Bearer nonsense", "Basic b3BlcmF0b3I6eA==", "Bearer", f"Basic {TOKENS['operator']}", "Bearer \xff"]
)
def test_a_wrong_token_is_refused(gateway: Gateway, header: str) -> None:
    with gateway.anonymous as http:
        assert http.post("/rpc", json={"method": "ping"}, headers={b"Authorization": header.encode("latin-1")}).status_code == 401


def test_guesses_are_delayed_and_counted(own_gateway: Gateway) -> None:
    waits = []
    with own_gateway.anonymous as http:
        for number in range(4):
            began = time.monotonic()
            headers = {"Authorization": "Bearer guess", "X-Forwarded-For": f"192.0.2.{number}"}
            assert http.get("/v1/status", headers=headers).status_code == 401
            waits.append(time.monotonic() - began)
    assert waits[-1] >= 0.8 > waits[0]
    with own_gateway.http as http:
        assert "amid_gateway_refused_tokens_total 4.0" in http.get("/metrics").text


NOT_FOR_THE_WALLBOARD: list[dict[str, Any]] = [
    {},
    {"names": None},
    {"names": ["Newchannel"]},
    {"names": ["Hangup", "Newchannel"]},
    {"names": ["usersecret"]},
    {"names": ["U\u017ferSecret"]},
    {"names": ["*"]},
]


def test_a_token_has_the_rights_of_its_lists(gateway: Gateway) -> None:
    with gateway.as_("wallboard") as http:
        assert http.post("/v1/servers/pbx1/actions/QueueStatus").status_code == 200
        for path in ("/v1/servers/pbx1/actions/Originate", "/v1/servers/pbx1/actions/%20Originate"):
            assert http.post(path).status_code in (400, 403)
        for command, status in (("core show version", 200), ("core stop now", 403)):
            assert http.post("/v1/servers/pbx1/actions/Command", data={"Command": command}).status_code == status
        for method, more in (("restart", {}), *(("events", names) for names in NOT_FOR_THE_WALLBOARD)):
            answer = http.post("/rpc", json={"method": method, "params": {"server": "pbx1", **more}})
            assert (answer.status_code, answer.json()["error"]["data"]["kind"]) == (403, "denied"), more
        assert http.get("/v1/servers/pbx1/actions").status_code == 403
        for names, status in ((["Newchannel"], 403), (["Newchannel", "Hangup"], 200)):
            assert http.head("/v1/events", params={"event": names}).status_code == status, "403 if it would never send one"
        denied = http.post("/rpc", json={"method": "audit"})
        assert denied.status_code == 403 and "admin = true in [wallboard]" in denied.json()["error"]["message"]
        assert http.post("/rpc", json={"method": "cancel", "params": {"id": 1}}).status_code == 404, "ids are the gateway's own"


def test_a_token_with_event_lists_pulls_only_those(gateway: Gateway) -> None:
    def pull(http: httpx.Client, **params: Any) -> dict[str, Any]:
        answer = http.post("/rpc", json={"method": "events", "params": {"server": "pbx1", "timeout": 10, **params}})
        assert answer.status_code == 200, answer.text
        page: dict[str, Any] = answer.json()["result"]
        return page

    with gateway.as_("wallboard") as wallboard, gateway.http as operator:
        now = pull(operator, timeout=0)
        after = {"epoch": now["epoch"], "seq": now["seq"]}
        assert pull(wallboard, after=None, names=["Hangup"], timeout=0)["events"] == []
        originate = {"Channel": "Local/answer@calls", "Application": "Hangup", "Async": "true"}
        operator.post("/v1/servers/pbx1/actions/Originate", data=originate).raise_for_status()
        operator.post("/v1/servers/pbx1/actions/UserEvent", data={"UserEvent": "X"}).raise_for_status()
        eventually(lambda: "Hangup" in [event["event"] for event in pull(operator, after=after)["events"]], "the call is over")
        page = pull(wallboard, after=after, names=["userevent", "Hangup"])
        assert {event["event"] for event in page["events"]} == {"UserEvent", "Hangup"} and page["missed"] == 0


def test_denials_of_the_gateway_are_in_the_audit_trail(gateway: Gateway) -> None:
    with gateway.as_("wallboard") as http:
        assert http.post("/v1/servers/pbx1/actions/Hangup", data={"Channel": "Audited/1"}).status_code == 403
    eventually(lambda: "target=Audited/1" in gateway.daemon.log.read_text(), "the log has it")
    (line,) = [line for line in gateway.daemon.log.read_text().splitlines() if "target=Audited/1" in line]
    assert all(part in line for part in ("process=gateway", "principal=token:wallboard", "action=Hangup", "outcome=denied"))


@pytest.mark.parametrize("address", ["192.0.2.1", "nonsense", ""])
def test_health_through_a_proxy_requires_a_token(gateway: Gateway, address: str) -> None:
    with gateway.anonymous as http:
        for path in ("/healthz", "/readyz"):
            assert http.get(path, headers={"X-Forwarded-For": address}).status_code == 401


def test_behind_a_tls_proxy_the_cookie_is_secure(gateway: Gateway) -> None:
    host = gateway.url.removeprefix("http://")
    with gateway.anonymous as http:
        answer = http.post("/login", content=TOKENS["wallboard"].encode(), headers={"Origin": f"https://{host}"})
    assert "; secure" in answer.headers["set-cookie"].lower()


LINES = "x\r\nAction: Logoff"
PARTS: dict[str, tuple[str, dict[str, Any]]] = {
    "the path": ("/v1/servers/pbx1/actions/Ping%0d%0aAction:%20Logoff", {}),
    "the query": ("/v1/servers/pbx1/actions/Ping", {"params": {"until": LINES}}),
    "a form's value": ("/v1/servers/pbx1/actions/Ping", {"data": {"A": LINES}}),
    "a form's name": ("/v1/servers/pbx1/actions/Ping", {"data": {LINES: "x"}}),
    "a value in JSON": ("/v1/servers/pbx1/actions/Ping", {"json": {"A": ["x", LINES]}}),
    "a request": ("/rpc", {"json": {"method": "action", "params": {"action": "Ping", "fields": {"A": LINES}}}}),
}


@pytest.mark.parametrize(("path", "sent"), PARTS.values(), ids=PARTS)
def test_no_part_of_a_request_becomes_a_packet(gateway: Gateway, path: str, sent: dict[str, Any]) -> None:
    with gateway.http as http:
        answer = http.post(path, **sent)
    assert answer.status_code == 400 and '"kind":"invalid_params"' in answer.text.replace(" ", ""), answer.text


def log_in(http: httpx.Client, name: str = "wallboard") -> str:
    """The page's half of a new session; the client keeps the cookie's."""
    answer = http.post("/login", content=TOKENS[name].encode())
    assert answer.status_code == 200
    key: str = answer.json()["session"]
    return key


def test_the_page_logs_in_with_a_cookie_that_no_script_reads(gateway: Gateway) -> None:
    with gateway.anonymous as http:
        assert http.get("/session").json() == {"name": None}
        assert http.post("/login", content=b"nonsense").status_code == 401
        answer = http.post("/login", content=TOKENS["wallboard"].encode())
        assert (answer.json()["name"], answer.json()["admin"]) == ("wallboard", False)
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie and "samesite=strict" in cookie and "max-age" not in cookie and "path=" not in cookie
        http.headers["Amid-Session"] = answer.json()["session"]
        assert http.get("/session").json() == {"name": "wallboard"}
        assert http.get("/v1/servers").status_code == 200
        assert http.post("/logout").status_code == 204
        assert not http.cookies and http.get("/v1/servers").status_code == 401


def test_the_cookie_alone_is_useless(gateway: Gateway) -> None:
    """A browser sends cookies to every port of a host."""
    with gateway.anonymous as http:
        key = log_in(http)
        cookies = dict(http.cookies)
    assert not [word for word in TOKENS.values() if word in str(cookies)]
    with gateway.anonymous as other:
        for half in ({"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}, {"Amid-Session": key}):
            assert other.get("/v1/servers", headers=half).status_code == 401
            assert other.get("/session", headers=half).json() == {"name": None}


def test_a_session_ends_at_logout(gateway: Gateway) -> None:
    with gateway.anonymous as http:
        headers = {"Amid-Session": log_in(http)}
        headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in http.cookies.items())
        assert http.post("/logout", headers=headers).status_code == 204
    with gateway.anonymous as other:
        assert other.get("/v1/servers", headers=headers).status_code == 401


def test_an_event_stream_takes_the_session_from_a_header_only(gateway: Gateway) -> None:
    """Proxies log addresses."""
    with gateway.anonymous as http:
        key = log_in(http)
        with http.stream("GET", "/v1/events", headers={"Amid-Session": key}) as stream:
            assert stream.status_code == 200
        assert http.head("/v1/events", headers={"Amid-Session": "x" + key}).status_code == 401
        assert http.head("/v1/events", params={"session": key}).status_code == 401


def test_two_gateways_on_one_host_do_not_log_each_other_out(gateway: Gateway, own_gateway: Gateway) -> None:
    with gateway.anonymous as browser:
        keys = {one.url: log_in_at(browser, one) for one in (gateway, own_gateway)}
        for url, key in keys.items():
            assert browser.get(f"{url}/session", headers={"Amid-Session": key}).json() == {"name": "operator"}, url


def log_in_at(browser: httpx.Client, gateway: Gateway) -> str:
    key: str = browser.post(f"{gateway.url}/login", content=TOKENS["operator"].encode()).json()["session"]
    return key


def test_a_session_outlives_the_gateway_but_not_its_token(own_gateway: Gateway) -> None:
    daemon, tokens = own_gateway.daemon, own_gateway.tokens_file
    with own_gateway.anonymous as http:
        http.headers["Amid-Session"] = log_in(http)
        file = daemon.run_dir / "gateway-sessions"
        assert file.stat().st_mode & 0o777 == 0o600 and http.headers["Amid-Session"].encode() not in file.read_bytes()
        killed = daemon.kill("gateway")

        def name() -> Any:
            return http.get("/session").json()["name"]

        eventually(lambda: daemon.pid("gateway") not in (0, killed), "the gateway is replaced")
        assert eventually(name, "the new gateway answers") == "wallboard"
        tokens.write_text(tokens.read_text().replace(TOKENS["wallboard"], "another-0123456789abcdef"))
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGHUP)
        eventually(lambda: name() is None, "the session has ended with its token")


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
def test_another_sites_requests_are_refused(gateway: Gateway, origin: str) -> None:
    with gateway.http as http:
        answer = http.post("/rpc", json={"method": "ping"}, headers={"Origin": origin})
        assert answer.status_code == 403 and "access-control-allow-origin" not in answer.headers
        preflight = http.options("/rpc", headers={"Origin": origin, "Access-Control-Request-Method": "POST"})
        assert preflight.status_code == 403
        assert http.post("/rpc", json={"method": "ping"}, headers={"Origin": gateway.url}).status_code == 200


def test_a_request_with_two_lengths_is_refused(gateway: Gateway) -> None:
    """A proxy that goes by the Content-Length would take the rest for the next request, another user's."""
    host = gateway.url.removeprefix("http://")
    head = f"POST /rpc HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {TOKENS['operator']}\r\n"
    with socket.create_connection(("127.0.0.1", int(host.partition(":")[2])), BOUND_S) as connection:
        connection.sendall(f"{head}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".encode())
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with connection.makefile("rb") as answers:
            received = answers.read()
    assert received.startswith(b"HTTP/1.1 400 ") and received.count(b"HTTP/1.1 ") == 1


OTHER_HOSTS = ["rebound.example", "rebound.example:8088", "127.0.0.1.rebound.example", "[2001:db8::1]", "192.0.2.1", "x@lo"]


@pytest.mark.parametrize("host", [*OTHER_HOSTS, ""])
@pytest.mark.parametrize("path", ["/", "/healthz", "/v1/servers", "/nothing", "/page/main.js"])
def test_an_unknown_host_is_refused(gateway: Gateway, host: str, path: str) -> None:
    """DNS rebinding: a web site makes its own name lead to this address, and its pages are of one origin with us."""
    with gateway.http as http:
        answer = http.get(path, headers={"Host": host, "Origin": f"http://{host}"})
    assert answer.status_code == 421 and "hosts in [gateway]" in answer.json()["error"]


def test_a_websocket_to_an_unknown_host_is_refused(gateway: Gateway) -> None:
    headers = {"Host": "rebound.example", "Connection": "Upgrade", "Upgrade": "websocket"}
    headers |= {"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
    with gateway.http as http:
        assert http.get("/v1/events", headers=headers).status_code == 421


OWN_HOSTS = ["localhost", "LOCALHOST:99", "127.0.0.1", "127.0.0.2:8088", "[::1]:80", "pbx.example.com", "PBX.example.com.:443"]


@pytest.mark.parametrize("host", OWN_HOSTS)
def test_the_hosts_of_the_gateway_are_accepted(gateway: Gateway, host: str) -> None:
    with gateway.http as http:
        assert http.get("/v1/servers", headers={"Host": host}).status_code == 200


SLASHES = ["/v1/servers/", "/rpc/", "/login/", "/metrics/", "/healthz/", "/page", "/page/", "/v1/events/", "//", "//x/"]


@pytest.mark.parametrize(
    ("target", "header", "status"),
    [
        ("http://localhost/v1/rights?action=Ping", "rebound.example", 200),
        ("HTTP://127.0.0.1:8088", "localhost", 200),
        ("http://rebound.example/v1/servers", "localhost", 421),
    ],
)
def test_a_target_may_have_a_host(gateway: Gateway, target: str, header: str, status: int) -> None:
    """The host of an absolute-form target overrules the header (RFC 9112, section 3.2.2)."""
    with gateway.http as http:
        assert http.get("/", headers={"Host": header}, extensions={"target": target.encode()}).status_code == status


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
@pytest.mark.parametrize("path", SLASHES)
def test_nothing_is_redirected(gateway: Gateway, method: str, path: str) -> None:
    """A redirect would name http: behind a TLS proxy, and a client might repeat its token in clear
    text."""
    with gateway.http as http:
        answer = http.request(method, gateway.url + path)
    assert "location" not in answer.headers and answer.status_code in (404, 405)


def test_an_allowed_origin_may_resume_events(gateway: Gateway) -> None:
    asked = {"Origin": "https://crm.example.com", "Access-Control-Request-Method": "GET"}
    asked["Access-Control-Request-Headers"] = "authorization,last-event-id"
    with gateway.anonymous as http:  # a browser sends no token with it
        preflight = http.options("/v1/events", headers=asked)
    granted = [name.strip() for name in preflight.headers["access-control-allow-headers"].split(",")]
    assert preflight.status_code == 204 and {"authorization", "content-type", "last-event-id"} <= set(granted)
    assert preflight.headers["access-control-allow-origin"] == "https://crm.example.com"


@pytest.mark.parametrize("origin", [{}, {"Origin": "https://evil.example"}], ids=["own", "another"])
@pytest.mark.parametrize("path", ["/", "/healthz", "/v1/servers", "/page/main.js", "/nothing"])
def test_every_response_has_security_headers(gateway: Gateway, path: str, origin: dict[str, str]) -> None:
    with gateway.http as http:
        headers = http.get(path, headers=origin).headers
    assert "default-src 'self'" in headers["content-security-policy"] and headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY" and headers["cache-control"] == "no-store" and "server" not in headers


@pytest.mark.parametrize("path", ["/page/../app.py", "/page/%2e%2e/app.py", "/page//etc/passwd", "/page/..%2f..%2fconfig/load.py"])
def test_only_the_page_is_served_as_files(gateway: Gateway, path: str) -> None:
    with gateway.http as http:
        assert http.get(path).status_code == 404


def test_a_token_is_in_no_log_and_no_status(gateway: Gateway) -> None:
    os.kill(gateway.daemon.pid("gateway"), signal.SIGUSR1)  # the libraries' own words too
    eventually(lambda: "level=debug process=gateway" in gateway.daemon.log.read_text(), "the gateway logs all")
    with gateway.http as http:
        http.get("/v1/status")
        shown = http.get("/v1/status").text + http.get("/metrics").text
    log = gateway.daemon.log.read_text()
    assert not [word for word in TOKENS.values() if word in shown or word in log]
