"""Who may do what over HTTP, and what a browser is kept from."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import httpx
import pytest

from tests.daemon import eventually
from tests.gateway.conftest import TOKENS, Gateway

PATHS = ["/v1/servers", "/v1/status", "/v1/events", "/v1/servers/pbx1/actions", "/metrics"]


@pytest.mark.parametrize("path", PATHS)
def test_without_a_token_there_is_nothing(gateway: Gateway, path: str) -> None:
    with gateway.nobody as http:
        answer = http.get(path)
    assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
    assert set(answer.json()) == {"error"} and "a token is needed" in answer.json()["error"]


def test_a_wrong_token_is_told_from_a_missing_one(gateway: Gateway) -> None:
    with gateway.nobody as http:
        wrong = http.get("/v1/status", headers={"Authorization": "Bearer nonsense"})
        other = http.get("/v1/status", headers={"Authorization": "Basic b3BlcmF0b3I6eA=="})
        ended = http.get("/v1/status", headers={"Amid-Session": "nonsense"})
    assert wrong.json() == {"error": "this token is in no table of the tokens file"}
    assert wrong.headers["www-authenticate"] == 'Bearer error="invalid_token"', "RFC 6750, section 3.1"
    assert "a token is needed" in other.json()["error"] and other.headers["www-authenticate"] == "Bearer"
    assert ended.json() == {"error": "this log-in session has ended: log in again"}
    assert {wrong.status_code, other.status_code, ended.status_code} == {401}


@pytest.mark.parametrize(
    "header", ["Bearer nonsense", "Basic b3BlcmF0b3I6eA==", "Bearer", f"Basic {TOKENS['operator']}", "Bearer \xff"]
)
def test_a_wrong_token_is_refused(gateway: Gateway, header: str) -> None:
    with gateway.nobody as http:
        assert http.post("/rpc", json={"method": "ping"}, headers={"Authorization": header.encode("latin-1")}).status_code == 401


def test_guesses_are_slowed_and_counted(own_gateway: Gateway) -> None:
    waits = []
    with own_gateway.nobody as http:
        for number in range(4):
            began = time.monotonic()
            headers = {"Authorization": "Bearer guess", "X-Forwarded-For": f"192.0.2.{number}"}
            assert http.get("/v1/status", headers=headers).status_code == 401
            waits.append(time.monotonic() - began)
    assert waits[-1] >= 0.8 > waits[0]
    with own_gateway.http as http:
        assert "amid_gateway_refused_tokens_total 4.0" in http.get("/metrics").text


def test_a_token_may_do_what_its_lists_say(gateway: Gateway) -> None:
    with gateway.as_("wallboard") as http:
        assert http.post("/v1/servers/pbx1/actions/QueueStatus").status_code == 200
        for path in ("/v1/servers/pbx1/actions/Originate", "/v1/servers/pbx1/actions/%20Originate"):
            assert http.post(path).status_code in (400, 403)
        for command, status in (("core show version", 200), ("core stop now", 403)):
            assert http.post("/v1/servers/pbx1/actions/Command", data={"Command": command}).status_code == status
        for method in ("restart", "replay"):
            params = {"server": "pbx1", **({"epoch": 1, "after": 0} if method == "replay" else {})}
            answer = http.post("/rpc", json={"method": method, "params": params})
            assert (answer.status_code, answer.json()["error"]["data"]["kind"]) == (403, "denied")
        assert http.get("/v1/servers/pbx1/actions").status_code == 403
        assert http.post("/rpc", json={"method": "audit"}).status_code == 403
        assert http.post("/rpc", json={"method": "cancel", "params": {"id": 1}}).status_code == 404, "ids are the gateway's own"


def test_what_the_gateway_denies_is_in_the_audit_trail(gateway: Gateway) -> None:
    with gateway.as_("wallboard") as http:
        assert http.post("/v1/servers/pbx1/actions/Hangup", data={"Channel": "Audited/1"}).status_code == 403
    eventually(lambda: "target=Audited/1" in gateway.daemon.log.read_text(), "the log has it")
    (line,) = [line for line in gateway.daemon.log.read_text().splitlines() if "target=Audited/1" in line]
    assert all(part in line for part in ("process=gateway", "principal=token:wallboard", "action=Hangup", "outcome=denied"))


@pytest.mark.parametrize("address", ["192.0.2.1", "nonsense", ""])
def test_who_comes_through_a_proxy_needs_a_token_for_health_too(gateway: Gateway, address: str) -> None:
    with gateway.nobody as http:
        for path in ("/healthz", "/readyz"):
            assert http.get(path, headers={"X-Forwarded-For": address}).status_code == 401


def test_behind_a_proxy_with_tls_the_cookie_is_for_tls_alone(gateway: Gateway) -> None:
    host = gateway.url.removeprefix("http://")
    with gateway.nobody as http:
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
    with gateway.nobody as http:
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


def test_a_server_on_another_port_that_is_sent_the_cookie_can_do_nothing_with_it(gateway: Gateway) -> None:
    """A browser sends cookies to every port of a host."""
    with gateway.nobody as http:
        key = log_in(http)
        cookies = dict(http.cookies)
    assert not [word for word in TOKENS.values() if word in str(cookies)]
    with gateway.nobody as other:
        for half in ({"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}, {"Amid-Session": key}):
            assert other.get("/v1/servers", headers=half).status_code == 401
            assert other.get("/session", headers=half).json() == {"name": None}


def test_a_session_that_was_logged_out_of_is_over(gateway: Gateway) -> None:
    with gateway.nobody as http:
        headers = {"Amid-Session": log_in(http)}
        headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in http.cookies.items())
        assert http.post("/logout", headers=headers).status_code == 204
    with gateway.nobody as other:
        assert other.get("/v1/servers", headers=headers).status_code == 401


def test_an_event_stream_takes_the_session_in_a_header_and_never_in_its_address(gateway: Gateway) -> None:
    """Proxies log addresses."""
    with gateway.nobody as http:
        key = log_in(http)
        with http.stream("GET", "/v1/events", headers={"Amid-Session": key}) as stream:
            assert stream.status_code == 200
        assert http.get("/v1/events", headers={"Amid-Session": "x" + key}).status_code == 401
        assert http.get("/v1/events", params={"session": key}).status_code == 401


def test_two_gateways_on_one_host_do_not_log_each_other_out(gateway: Gateway, own_gateway: Gateway) -> None:
    with gateway.nobody as browser:
        keys = {one.url: log_in_at(browser, one) for one in (gateway, own_gateway)}
        for url, key in keys.items():
            assert browser.get(f"{url}/session", headers={"Amid-Session": key}).json() == {"name": "operator"}, url


def log_in_at(browser: httpx.Client, gateway: Gateway) -> str:
    key: str = browser.post(f"{gateway.url}/login", content=TOKENS["operator"].encode()).json()["session"]
    return key


def test_a_session_outlives_the_gateway_and_not_its_token(own_gateway: Gateway) -> None:
    daemon, tokens = own_gateway.daemon, own_gateway.tokens_file
    with own_gateway.nobody as http:
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


OTHER_HOSTS = ["rebound.example", "rebound.example:8088", "127.0.0.1.rebound.example", "[2001:db8::1]", "192.0.2.1", "x@lo"]


@pytest.mark.parametrize("host", [*OTHER_HOSTS, ""])
@pytest.mark.parametrize("path", ["/", "/healthz", "/v1/servers", "/nothing", "/page/main.js"])
def test_a_host_that_is_not_the_gateways_is_misdirected(gateway: Gateway, host: str, path: str) -> None:
    """DNS rebinding: a web site makes its own name lead to this address, and its pages are of one origin with us."""
    with gateway.http as http:
        answer = http.get(path, headers={"Host": host, "Origin": f"http://{host}"})
    assert answer.status_code == 421 and "hosts in [gateway]" in answer.json()["error"]


def test_a_web_socket_to_another_host_is_misdirected(gateway: Gateway) -> None:
    headers = {"Host": "rebound.example", "Connection": "Upgrade", "Upgrade": "websocket"}
    headers |= {"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
    with gateway.http as http:
        assert http.get("/v1/events", headers=headers).status_code == 421


OWN_HOSTS = ["localhost", "LOCALHOST:99", "127.0.0.1", "127.0.0.2:8088", "[::1]:80", "pbx.example.com", "PBX.example.com.:443"]


@pytest.mark.parametrize("host", OWN_HOSTS)
def test_the_hosts_of_the_gateway(gateway: Gateway, host: str) -> None:
    with gateway.http as http:
        assert http.get("/v1/servers", headers={"Host": host}).status_code == 200


SLASHES = ["/v1/servers/", "/rpc/", "/login/", "/metrics/", "/healthz/", "/page", "/page/", "/v1/events/", "//", "//x/"]


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
@pytest.mark.parametrize("path", SLASHES)
def test_nothing_is_redirected(gateway: Gateway, method: str, path: str) -> None:
    """Behind a proxy with TLS it would be to http:, and a client may repeat its token in clear."""
    with gateway.http as http:
        answer = http.request(method, gateway.url + path)
    assert "location" not in answer.headers and answer.status_code in (404, 405)


def test_another_origin_that_is_allowed_may_go_on_where_it_was(gateway: Gateway) -> None:
    asked = {"Origin": "https://crm.example.com", "Access-Control-Request-Method": "GET"}
    asked["Access-Control-Request-Headers"] = "authorization,last-event-id"
    with gateway.nobody as http:  # a browser sends no token with it
        preflight = http.options("/v1/events", headers=asked)
    granted = [name.strip() for name in preflight.headers["access-control-allow-headers"].split(",")]
    assert preflight.status_code == 204 and {"authorization", "content-type", "last-event-id"} <= set(granted)
    assert preflight.headers["access-control-allow-origin"] == "https://crm.example.com"


@pytest.mark.parametrize("origin", [{}, {"Origin": "https://evil.example"}], ids=["own", "another"])
@pytest.mark.parametrize("path", ["/", "/healthz", "/v1/servers", "/page/main.js", "/nothing"])
def test_every_answer_has_the_headers_that_keep_a_browser_in(gateway: Gateway, path: str, origin: dict[str, str]) -> None:
    with gateway.http as http:
        headers = http.get(path, headers=origin).headers
    assert "default-src 'self'" in headers["content-security-policy"] and headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY" and headers["cache-control"] == "no-store" and "server" not in headers


@pytest.mark.parametrize("path", ["/page/../app.py", "/page/%2e%2e/app.py", "/page//etc/passwd", "/page/..%2f..%2fconfig/load.py"])
def test_nothing_but_the_page_is_served_as_a_file(gateway: Gateway, path: str) -> None:
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
