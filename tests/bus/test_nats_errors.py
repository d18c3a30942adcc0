"""The log says what to do when NATS cannot be used as configured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from amid.simulator import SimulatedPbx
from tests.bus.conftest import nats_table, password_keys
from tests.bus.nats_server import NatsServer
from tests.conftest import StartDaemon
from tests.daemon import eventually
from tests.processes.pbx import table

UNUSABLE: dict[str, tuple[str, dict[str, Any], str]] = {
    "without JetStream": ("# no jetstream", {}, "start nats-server with JetStream (-js)"),
    "one server for three replicas": ("", {"replicas": 3}, "(code 10074); set replicas = 1 in [nats]"),
    "a small store": ("jetstream {{ store_dir: '{store}', max_file_store: 100MB }}", {}, "(code 10047); lower max_bytes in [nats]"),
    "a user is required": (
        "authorization {{ user: amid, password: geheim }}",
        {},
        "check credentials_file, or user and password_file",
    ),
}
"""What it is, the configuration of nats-server, keys of [nats], and words of the log."""


@pytest.mark.parametrize(("configuration", "keys", "words"), UNUSABLE.values(), ids=UNUSABLE)
def test_an_unusable_server_is_reported_with_what_to_do(
    own_nats: NatsServer, daemon_for: StartDaemon, pbx: SimulatedPbx, configuration: str, keys: dict[str, Any], words: str
) -> None:
    own_nats.configuration = configuration.format(store=own_nats.store)
    own_nats.start()
    daemon = daemon_for({"pbx1": table(pbx)}, nats=nats_table(own_nats, **keys))
    eventually(lambda: words in daemon.log.read_text(), f"the log says: {words}")


@pytest.mark.newest_nats
def test_a_wrong_password_and_a_server_that_does_not_run_are_reported_with_what_to_do(
    own_nats: NatsServer, daemon_for: StartDaemon, pbx: SimulatedPbx, tmp_path: Path
) -> None:
    own_nats.configuration = "authorization { user: amid, password: geheim }"
    own_nats.start()
    daemon = daemon_for({"pbx1": table(pbx)}, nats=nats_table(own_nats, **password_keys(tmp_path, "falsch")))
    eventually(lambda: "check credentials_file, or user and password_file" in daemon.log.read_text(), "the password is wrong")
    own_nats.kill()
    refused = f"{own_nats.url}: connection refused; is nats-server running there?"
    eventually(lambda: refused in daemon.log.read_text(), "it does not run")
    eventually(lambda: daemon.result("status")["services"]["bus"]["error"] == refused, "status says so too")


@pytest.mark.newest_nats
def test_a_lost_connection_is_reported_with_its_server(own_nats: NatsServer, daemon_for: StartDaemon, pbx: SimulatedPbx) -> None:
    own_nats.start()
    daemon = daemon_for({"pbx1": table(pbx)}, nats=nats_table(own_nats))
    address = own_nats.url.removeprefix("nats://")
    eventually(lambda: daemon.result("status")["services"]["bus"]["nats"] == address, "it is connected")
    own_nats.kill()
    eventually(lambda: "lost the connection to NATS" in daemon.log.read_text(), "it has noticed")
    assert f"lost the connection to NATS at {address}" in daemon.log.read_text()
