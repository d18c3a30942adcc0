"""A daemon with a gateway, and HTTP clients for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from amid.simulator import SimulatedPbx
from tests.conftest import StartDaemon
from tests.daemon import Daemon, eventually, gateway_table
from tests.processes.pbx import simulated, table

if TYPE_CHECKING:
    from playwright.sync_api import Browser

TOKENS = {"operator": "operator-0123456789abcdef", "wallboard": "wallboard-0123456789abcdef"}
TOKENS_FILE = """
[operator]
token = "operator-0123456789abcdef"
admin = true

[wallboard]
token = "wallboard-0123456789abcdef"
allow = ["Ping", "Queue*", "Command: core show *"]
events_allow = ["Hangup", "User*"]
events_deny = ["UserSecret"]
"""


@dataclass
class Gateway:
    """`url` is its address; `http` uses the operator's token, `as_` another token, `anonymous` none."""

    daemon: Daemon
    url: str
    tokens_file: Path

    def as_(self, name: str) -> httpx.Client:
        return self._client({"Authorization": f"Bearer {TOKENS[name]}"})

    @property
    def http(self) -> httpx.Client:
        return self.as_("operator")

    @property
    def anonymous(self) -> httpx.Client:
        return self._client({})

    def _client(self, headers: dict[str, str]) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers=headers, timeout=20, trust_env=False)


def with_gateway(directory: Path, **keys: Any) -> dict[str, Any]:
    """The `gateway` table for a daemon, with its tokens in `directory`."""
    return gateway_table(directory, TOKENS_FILE) | keys


def listening(daemon: Daemon, keys: dict[str, Any]) -> Gateway:
    gateway = Gateway(daemon, f"http://{keys['listen']}", Path(keys["tokens_file"]))

    def answers() -> bool:
        with gateway.anonymous as http:
            return http.get("/healthz").status_code == 200

    eventually(answers, f"the gateway answers; log:\n{daemon.log.read_text()[-2000:]}")
    return gateway


@contextmanager
def serving(directory: Path, servers: dict[str, dict[str, Any]], tokens: str = TOKENS_FILE, **tables: Any) -> Iterator[Gateway]:
    """A daemon with a gateway, in a directory of its own."""
    keys = gateway_table(directory, tokens)
    with closing(Daemon(directory, servers, gateway=keys, **tables)) as daemon:
        yield listening(daemon.start(), keys)


@pytest.fixture(scope="module")
def shared_pbx() -> Iterator[SimulatedPbx]:
    with simulated() as pbx:
        yield pbx


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, shared_pbx: SimulatedPbx) -> Iterator[Gateway]:
    """A gateway with two servers, shared by the tests of a module, which restore its state."""
    directory = tmp_path_factory.mktemp("amid")
    keys = with_gateway(directory, max_body_bytes=65536, origins=["https://crm.example.com"], hosts=["pbx.example.com"])
    servers = {"pbx1": table(shared_pbx), "pbx2": table(shared_pbx, deny=["ModuleLoad"]), "away": table(shared_pbx) | {"port": 1}}
    daemon = Daemon(directory, servers, gateway=keys)
    try:
        daemon.start(wait=False)
        for name in ("pbx1", "pbx2"):
            daemon.wait_up(name)
        yield listening(daemon, keys)
    finally:
        daemon.close()


@pytest.fixture
def own_gateway(tmp_path_factory: pytest.TempPathFactory, daemon_for: StartDaemon) -> Iterator[Gateway]:
    """A gateway for one test, which may break it; its PBX has no calls."""
    keys = with_gateway(tmp_path_factory.mktemp("tokens"))
    with simulated() as pbx:
        yield listening(daemon_for({"pbx1": table(pbx)}, gateway=keys, supervision={"silence": 1.5}), keys)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from tests.gateway.browser import chromium  # which needs this module

    with chromium() as browser:
        yield browser
