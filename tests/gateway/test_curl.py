"""clients/bash: Bash, curl and jq against a gateway."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.daemon import eventually
from tests.gateway.conftest import TOKENS, Gateway
from tests.need import need_programs

ROOT = Path(__file__).parents[2]
BOUND_S = 60


@pytest.fixture(autouse=True)
def tools() -> None:
    need_programs("bash", "curl", "jq", "ps", of="LANGUAGES")


def started(gateway: Gateway, script: str, **variables: str) -> subprocess.Popen[str]:
    given = {"AMID_URL": gateway.url, "AMID_TOKEN": TOKENS["operator"], **variables}
    argv = ["bash", "-c", f". clients/bash/amid.sh; {script}"]
    return subprocess.Popen(
        argv, cwd=ROOT, env={**os.environ, **given}, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, process_group=0
    )


def ran(gateway: Gateway, script: str, **variables: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error."""
    with started(gateway, script, **variables) as process:
        out, err = process.communicate(timeout=BOUND_S)
        return process.returncode, out, err


def test_a_list_and_its_items(gateway: Gateway) -> None:
    status, out, err = ran(gateway, "amid_action pbx1 QueueStatus Queue=support")
    assert (status, err) == (0, "")
    assert {item["Event"] for item in json.loads(out)["events"]} >= {"QueueParams", "QueueMember"}


def test_headers_may_repeat_and_values_may_contain_any_bytes(gateway: Gateway) -> None:
    fields = "Variable=A='1 ü:=' Variable=B=2 Channel=Local/6001@default Application=Wait Data=30 Async=true"
    script = f"amid_action pbx1 Originate {fields}"
    status, out, err = ran(gateway, script, AMID_UNTIL="OriginateResponse", AMID_TIMEOUT="30")
    assert (status, err) == (0, "")
    channel = json.loads(out)["until"]["Channel"]
    for name, value in (("A", "1 ü:="), ("B", "2")):
        _, out, _ = ran(gateway, f"amid_action pbx1 Getvar Variable={name} Channel='{channel}'")
        assert json.loads(out)["response"]["Value"] == value
    gateway.daemon.action("Hangup", {"Channel": channel}, server="pbx1")


@pytest.mark.parametrize(
    ("script", "status", "kind", "sent"),
    [
        ("amid_action pbx1 Hangup Channel=nobody", 1, "action_failed", True),
        ("amid_call nonsense", 2, "unknown_method", False),
        ("AMID_TIMEOUT=0.3 amid_action pbx1 WaitEvent Timeout=5", 3, "timeout", True),
        ("amid_action away Ping", 4, "not_connected", False),
        ("amid_action nowhere Ping", 4, "unknown_server", False),
        ("amid_action pbx2 ModuleLoad", 5, "denied", False),
        ("AMID_TOKEN=wrong amid_action pbx1 Ping", 5, "denied", False),
        ("AMID_URL=http://127.0.0.1:1 amid_action pbx1 Ping", 4, "unreachable", False),
        ('amid_call events \'{"server": "pbx1", "after": {"epoch": 1}}\'', 2, "invalid_params", False),
    ],
)
def test_calls_have_their_exit_status(gateway: Gateway, script: str, status: int, kind: str, sent: bool) -> None:
    ended, out, err = ran(gateway, script)
    data = json.loads(err.splitlines()[-1])["data"]
    assert (ended, out, data["kind"], data["sent"]) == (status, "", kind, sent)


def test_ten_concurrent_calls_get_their_own_answers(gateway: Gateway) -> None:
    def calls(number: int) -> list[str]:
        once = f"amid_action pbx1 Ping ActionID=mine-{number}-$i"
        _, out, err = ran(gateway, f"for i in {{1..10}}; do {once}; done | jq -r .response.ActionID")
        assert err == ""
        return out.split()

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(calls, range(10)))
    assert answers == [[f"mine-{number}-{i}" for i in range(1, 11)] for number in range(10)]


@contextmanager
def following(gateway: Gateway, script: str, **variables: str) -> Iterator[Iterator[dict[str, Any]]]:
    """The lines of `amid_events`, once it is connected."""
    with started(gateway, script, **variables) as process:
        try:
            assert process.stdout is not None
            items = map(json.loads, process.stdout)
            assert "at" in next(items)
            yield items
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def test_no_event_is_lost_when_the_gateway_is_replaced(own_gateway: Gateway) -> None:
    def send_events(first: int, last: int) -> None:
        for number in range(first, last + 1):
            own_gateway.daemon.action("UserEvent", {"UserEvent": "Curl", "Token": str(number)})

    with following(own_gateway, "amid_events UserEvent", AMID_WHERE="UserEvent=Curl") as items:
        send_events(1, 20)
        pid = own_gateway.daemon.signal("gateway", signal.SIGKILL)
        send_events(21, 40)
        eventually(lambda: own_gateway.daemon.pid("gateway") not in (0, pid), "it is replaced")
        send_events(41, 60)
        events = (item["event"] for item in items if "at" not in item)
        tokens = [next(events)["fields"]["Token"] for _ in range(60)]
    assert tokens == [str(number) for number in range(1, 61)]


def test_a_gap_is_reported(own_gateway: Gateway) -> None:
    with following(own_gateway, "amid_events UserEvent") as items:
        pid = own_gateway.daemon.signal("reader pbx1", signal.SIGKILL)
        eventually(lambda: own_gateway.daemon.pid("reader pbx1") not in (0, pid), "it is replaced")
        gap = next(item["gap"] for item in items if "gap" in item)
    assert gap["server"] == "pbx1" and gap["missed"] is None


def test_the_live_state_and_its_changes(own_gateway: Gateway) -> None:
    with started(own_gateway, "amid_changes pbx1 channels calls") as process:
        try:
            assert process.stdout is not None
            items = map(json.loads, process.stdout)
            assert next(items)["state"]["channels"] == []
            fields = {"Channel": "Local/6001@default", "Application": "Wait", "Data": "30", "Async": "true"}
            own_gateway.daemon.action("Originate", fields, server="pbx1")
            assert next(items)["change"]["kind"] in ("channel", "call")
            pid = own_gateway.daemon.signal("gateway", signal.SIGKILL)
            eventually(lambda: own_gateway.daemon.pid("gateway") not in (0, pid), "it is replaced")
            assert next(item["state"]["channels"] for item in items if "state" in item), "the whole state comes again"
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def test_an_unknown_kind_ends_the_changes(gateway: Gateway) -> None:
    status, out, err = ran(gateway, "amid_changes pbx1 nonsense")
    assert (status, out) == (2, "") and json.loads(err.splitlines()[-1])["data"]["kind"] == "invalid_params"


def test_a_wrong_token_ends_the_events(gateway: Gateway) -> None:
    status, out, err = ran(gateway, "amid_events", AMID_TOKEN="wrong")
    assert (status, out) == (5, "") and "in no table of the tokens file" in err


@pytest.mark.parametrize("form", ["{}", "Authorization: Bearer {}"], ids=["a token", "a header"])
def test_the_token_is_not_in_the_process_list(gateway: Gateway, tmp_path: Path, form: str) -> None:
    """Its file may also be the one of `curl -H @FILE`."""
    (tmp_path / "token").write_text(form.format(TOKENS["operator"]) + "\n")
    with following(gateway, "amid_events", AMID_TOKEN="", AMID_TOKEN_FILE=str(tmp_path / "token")):
        shown = subprocess.run(["ps", "-ww", "-eo", "args"], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert f"{gateway.url}/v1/events" in shown and TOKENS["operator"] not in shown
