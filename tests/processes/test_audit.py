"""The audit trail of a running daemon: denied requests always, actions if configured, and all
records in the log."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from amid.simulator import SimulatedPbx
from tests.conftest import StartDaemon
from tests.daemon import Daemon, eventually
from tests.listener.setting import Connection, endpoint_of, listener_table
from tests.processes.caller import Caller
from tests.processes.pbx import table

LISTS = {"allow": ["Ping", "Originate: *@sales", "UserEvent"], "admin": True}


def records(daemon: Daemon) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = daemon.result("audit")["records"]
    return found


def brief(record: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(record[name]) for name in ("principal", "action", "server", "outcome", "sent"))


def test_denied_actions_are_recorded_whatever_the_level_of_the_log(daemon_for: StartDaemon, pbx: SimulatedPbx) -> None:
    daemon = daemon_for({"pbx1": table(pbx)}, callers__local=LISTS, log_level="error")
    with Caller(daemon, "web") as caller:
        caller.reply(caller.action("Originate", {"Channel": "Local/1@secret", "Exten": "1", "Context": "secret", "Priority": "1"}))
        caller.result(caller.action("Ping"))
    (record,) = records(daemon)
    assert brief(record) == ("token:web", "Originate", "pbx1", "denied", "False")
    assert "1@secret" in record["target"]
    eventually(lambda: "outcome=denied" in daemon.log.read_text(), "the log has it")
    (line,) = [line for line in daemon.log.read_text().splitlines() if "outcome=denied" in line]
    assert "principal=token:web" in line and "sent=false" in line and "action=Originate" in line and "server=pbx1" in line


def test_actions_are_recorded_if_configured(daemon_for: StartDaemon, pbx: SimulatedPbx) -> None:
    daemon = daemon_for({"pbx1": table(pbx)}, callers__local=LISTS, rpc={"audit": "all"})
    with Caller(daemon, "web") as caller:
        caller.result(caller.action("Ping"))
        caller.reply(caller.action("UserEvent", {"UserEvent": "X"}, until="Never", timeout=0.1))
        caller.action("UserEvent", {"UserEvent": "X"}, until="Never", timeout=60)
        eventually(lambda: daemon.result("status")["counters"]["open_calls"] == 1, "the last one waits")
    eventually(lambda: len(records(daemon)) == 3, "all of them are recorded")
    outcomes = [brief(record)[1:] for record in records(daemon)]
    assert outcomes == [
        ("Ping", "pbx1", "ok", "True"),
        ("UserEvent", "pbx1", "timeout", "True"),
        ("UserEvent", "pbx1", "abandoned", "True"),
    ]
    assert records(daemon)[1]["elapsed"] >= 0.1
    eventually(lambda: daemon.log.read_text().count("sent=true") == 3, "the log says it in the same words")


def test_amids_own_actions_are_recorded_only_if_denied(daemon_for: StartDaemon, pbx: SimulatedPbx, tmp_path: Path) -> None:
    """Those of users of the listener are recorded as theirs, those of other programs of amid's own
    Unix user as that user's."""
    listener = listener_table(tmp_path, "[crm]\nsecret = s3cret\nwrite = all\n")
    lists = {"deny": ["Command"], "admin": True}
    daemon = daemon_for({"pbx1": table(pbx)}, callers__local=lists, rpc={"audit": "all"}, listener=listener)
    with Connection(endpoint_of(daemon, listener, "crm", "s3cret")) as connection:
        connection.login()
        connection.fenced(b"Action: UserEvent\r\nUserEvent: X\r\n\r\n")
    daemon.result("state", {"kinds": ["queue"]})
    daemon.result("action", {"action": "CoreSettings"})
    found = {(record["principal"], record["action"], record["outcome"]) for record in records(daemon)}
    assert found - {("token:ami:crm", "Ping", "ok")} == {
        ("amid:listener", "Command", "denied"),
        ("token:ami:crm", "UserEvent", "ok"),
        (f"uid:{os.getuid()}", "CoreSettings", "ok"),
    }


def test_the_audit_trail_is_for_admins(daemon_for: StartDaemon, pbx: SimulatedPbx) -> None:
    daemon = daemon_for({"pbx1": table(pbx)}, callers__local={"allow": ["Ping"]})
    assert daemon.request("audit")["error"]["data"]["kind"] == "denied"
