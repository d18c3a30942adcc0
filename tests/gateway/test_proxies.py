"""The recipes of etc/doc/http.md in real proxies: the page and HTTP beneath a path of a host that serves other things too."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from tests.asterisk.server import free_port
from tests.daemon import BOUND_S, eventually
from tests.gateway.browser import chromium, log_in, page
from tests.gateway.conftest import Gateway
from tests.gateway.test_events import send_mark, stream, web_socket
from tests.need import need_programs

PAGE = Path(__file__).parents[2] / "etc/doc/http.md"
READ_TIMEOUT_S = 8
"""Instead of the recipe's: over the gateway's own 5 seconds, and a test can wait for it."""


def recipe(language: str, gateway: Gateway) -> str:
    blocks = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), flags=re.S)
    assert len(blocks) == 1 and "127.0.0.1:8088" in blocks[0]
    text: str = blocks[0].replace("127.0.0.1:8088", gateway.url.removeprefix("http://"))
    return text


def nginx(directory: Path, port: int, gateway: Gateway) -> list[str]:
    text = recipe("nginx", gateway).replace("proxy_read_timeout 1h", f"proxy_read_timeout {READ_TIMEOUT_S}s")
    assert f"{READ_TIMEOUT_S}s" in text
    for old, new in (("listen 443 ssl;", f"listen 127.0.0.1:{port};"), ("server_name pbx.example.com;", "")):
        assert old in text
        text = text.replace(old, new)
    paths = "".join(f"{kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    configuration = directory / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""  # its temporary files are in this test's directory
    configuration.write_text(f"{user} daemon off; pid {directory}/pid; events {{}} http {{ access_log off; {paths}\n{text}\n}}")
    return ["nginx", "-e", f"{directory}/error.log", "-c", str(configuration)]


def caddy(directory: Path, port: int, gateway: Gateway) -> list[str]:
    text = recipe("caddy", gateway).replace("pbx.example.com {", f"http://127.0.0.1:{port} {{")
    assert str(port) in text
    configuration = directory / "Caddyfile"
    configuration.write_text(f"{{\nadmin off\nauto_https off\n}}\n{text}")
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(configuration)]


@pytest.fixture(scope="module", params=[nginx, caddy], ids=["nginx", "caddy"])
def beneath(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, gateway: Gateway) -> Iterator[Gateway]:
    """The gateway as it is reached through the proxy."""
    need_programs(request.param.__name__, of="PROXIES")
    directory, port = tmp_path_factory.mktemp("proxy"), free_port()
    argv = request.param(directory, port, gateway)
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=directory, env=environment(directory))
    try:
        through = replace(gateway, url=f"http://127.0.0.1:{port}/amid")
        with through.http as http:
            eventually(lambda: http.get("/v1/servers").status_code == 200, f"the proxy serves; {(directory / 'log').read_text()}")
        yield through
    finally:
        process.terminate()
        process.wait(BOUND_S)


def environment(directory: Path) -> dict[str, str]:
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(directory)}


def test_the_page_works_beneath_a_path(beneath: Gateway) -> None:
    with chromium() as browser, page(browser, replace(beneath, url=f"{beneath.url}/")) as view:
        log_in(view)
        expect(view.locator("#link")).to_have_attribute("data-state", "live")
        expect(view.locator("#servers li[data-state=up]")).to_have_count(2)
        view.click("#tab-events")
        view.fill("#events-filter", "Token=beneath")
        send_mark(beneath, "beneath")
        expect(view.locator("#events li button", has_text="UserEvent").first).to_be_visible()
        [cookie] = [one for one in view.context.cookies() if one["name"].startswith("amid")]
        assert cookie["path"].rstrip("/") == "/amid", "other programs of the host do not get it"
        view.reload()
        expect(view.locator("#app")).to_be_visible()
        view.click("#logout")
        expect(view.locator("#login")).to_be_visible()


def test_the_path_without_a_slash_leads_to_the_page(beneath: Gateway) -> None:
    answer = httpx.get(beneath.url, follow_redirects=True, trust_env=False)
    assert answer.status_code == 200 and "page/main.js" in answer.text and str(answer.url) == f"{beneath.url}/"


def test_events_are_not_buffered_and_idle_streams_stay_open(beneath: Gateway) -> None:
    with stream(beneath, "server=pbx1&event=UserEvent&where=UserEvent=Said") as events:
        send_mark(beneath, "first")
        assert events.mark("first"), "it is not held back until a buffer is full"
        quiet = time.monotonic() + READ_TIMEOUT_S + 2
        while time.monotonic() < quiet:
            events.comment()
        send_mark(beneath, "after-a-while")
        assert events.mark("after-a-while") and events.passed == []


def test_a_websocket_works_through_the_proxy(beneath: Gateway) -> None:
    with web_socket(beneath, "server=pbx1&event=UserEvent") as opened:
        send_mark(beneath, "socket")
        assert json.loads(opened.recv(timeout=BOUND_S))["event"]["fields"]["Token"] == "socket"


def test_calls_work_through_the_proxy(beneath: Gateway) -> None:
    with beneath.http as http:
        assert http.post("/v1/servers/pbx1/actions/Ping").json()["response"]["Ping"] == "Pong"
        assert http.post("/v1/servers/pbx1/actions/UserEvent", json={"UserEvent": "L", "Data": "x" * 60_000}).status_code == 400
    with beneath.anonymous as anonymous:
        assert anonymous.get("/healthz").status_code == 401, "others than this machine may ask through it"
