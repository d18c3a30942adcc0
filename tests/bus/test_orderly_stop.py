"""An orderly stop of a daemon with all of its processes logs nothing that asks for attention."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Any

import pytest

from amid.simulator import SimulatedPbx
from tests.bus.conftest import nats_table, send_events, wait_stored
from tests.bus.nats_server import Consumer, NatsServer
from tests.conftest import StartDaemon
from tests.daemon import Daemon, eventually
from tests.gateway.conftest import listening, with_gateway
from tests.listener.conftest import SECRET, USERS
from tests.listener.setting import Connection, endpoint_of, listener_table
from tests.processes.caller import Caller
from tests.processes.pbx import arm, table
from tests.processes.tls import certificate

PROCESSES = {"supervisor", "broker", "reader pbx1", "state", "recorder", "gateway", "listener", "bus"}
OPEN_S = 2.5
"""How long a call is open at the stop: other processes notice that the broker accepts no calls."""
WORSE = re.compile(r"^.*level=(?:warning|error|critical).*$", re.MULTILINE)


def tables_of_all(folder: Path) -> dict[str, Any]:
    """The tables that start every process but the bus."""
    return {
        "gateway": with_gateway(folder),
        "listener": listener_table(folder, USERS),
        "recorder": {"directory": str(folder / "calls")},
    }


def use_all(daemon: Daemon, tables: dict[str, Any], consumer: Consumer) -> None:
    """Wait until every process works, and let each do something."""
    eventually(lambda: set(daemon.processes()) == PROCESSES, "all processes run")
    listening(daemon, tables["gateway"])
    eventually(lambda: daemon.result("state")["epoch"], "the state is loaded")
    wait_stored(consumer, send_events(daemon, 3))


@pytest.mark.newest_nats
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_an_orderly_stop_logs_no_warning(
    own_nats: NatsServer, daemon_for: StartDaemon, pbx: SimulatedPbx, tmp_path: Path, tls: bool
) -> None:
    url, keys, context = own_nats.url, {}, {}
    if tls:
        cert, key = certificate(tmp_path, "nats")
        own_nats.configuration = f'tls {{ cert_file: "{cert}", key_file: "{key}" }}'
        url, keys = f"tls://127.0.0.1:{own_nats.port}", {"tls_ca": str(cert)}
        context = {"tls": ssl.create_default_context(cafile=str(cert))}
    own_nats.start()
    tables = tables_of_all(tmp_path)
    daemon = daemon_for({"pbx1": table(pbx)}, **tables, nats=nats_table(own_nats, **keys | {"servers": url}))
    with Consumer(url, **context) as consumer, Connection(endpoint_of(daemon, tables["listener"], "crm", SECRET)) as client:
        client.login()
        use_all(daemon, tables, consumer)
        before = daemon.log.read_text()
        arm(daemon, "delay", "CoreStatus", Seconds=OPEN_S)
        with Caller(daemon) as caller:
            call = caller.action("CoreStatus")
            eventually(lambda: daemon.server("pbx1")["lanes"]["busy"] == 1, "it is in flight")
            assert daemon.stop() == 0
            assert "result" in caller.reply(call)
    ending = daemon.log.read_text().removeprefix(before)
    assert "ended" in ending
    assert WORSE.findall(ending) == []
