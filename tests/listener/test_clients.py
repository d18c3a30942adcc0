"""Public AMI clients, unmodified, on a real Asterisk and on the listener in front of it, with the
same expectations.

`provision.sh` installs them. Each program in `clients/` uses one of them: it logs in, pings, runs a
command, sends a hundred actions, receives events in order, originates a call, and logs off. Those in
`clients/driven` do what a test tells them (driven_client.py).
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.asterisk.server import Asterisk
from tests.conftest import StartDaemon
from tests.daemon import Daemon, eventually
from tests.listener.driven_client import CLIENTS, FOLDER, PROGRAMS, DrivenClient, start
from tests.listener.setting import Connection, Endpoint, endpoint_of, listener_table
from tests.listener.test_same_bytes import endpoints  # noqa: F401
from tests.need import need

PROGRAM_S = 90.0

UTF8, ASCII = "Grüße", "Gruesse"
EXPECTED: dict[str, Any] = {"hundred": 100, "logoff": "Goodbye"}
USERS = "[{name}]\nsecret = {secret}\nread = all\nwrite = all\n"


@pytest.fixture(scope="module", autouse=True)
def _need_clients() -> None:
    complete = (FOLDER / ".complete").exists()
    need("" if complete else f"the AMI clients are not in {FOLDER}; as root, run tests/listener/provision.sh", "AMI_CLIENTS")


def results_of(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """The results that a program prints at its end."""
    try:
        stdout, stderr = process.communicate(timeout=PROGRAM_S)
    except subprocess.TimeoutExpired:
        process.kill()
        stdout, stderr = process.communicate()
    assert stdout.strip(), stderr.decode()[-2000:]
    results: dict[str, Any] = json.loads(stdout.strip().splitlines()[-1])
    return results


@pytest.mark.parametrize("program", PROGRAMS)
def test_two_of_a_client_at_once(endpoints: tuple[Endpoint, Endpoint], program: str) -> None:  # noqa: F811
    """And one on Asterisk itself. They use the same ActionIDs; all have the same results."""
    asterisk, listener = endpoints
    names = {"OfAsterisk": asterisk, "First": listener, "Second": listener}
    with ExitStack() as stack:
        programs = [start(CLIENTS / program, endpoint, name) for name, endpoint in names.items()]
        for each in programs:
            stack.callback(each.kill)  # its events would be the next test's
        on_asterisk, first, second = [results_of(each) for each in programs]
    assert first == on_asterisk and second == on_asterisk
    assert all(on_asterisk.get(check, value) in (value, True) for check, value in EXPECTED.items()), on_asterisk
    events = on_asterisk["events"]
    assert [int(number) for number, _ in events] == list(range(20)) and {name for _, name in events} <= {UTF8, ASCII}


def started(stack: ExitStack, endpoint: Endpoint) -> list[DrivenClient]:
    """One client of each program, logged in."""
    clients = [stack.enter_context(DrivenClient(program, endpoint)) for program in PROGRAMS]
    for client in clients:
        client.wait_ready()
    return clients


def masked_events(endpoint: Endpoint, clients: list[DrivenClient]) -> dict[str, list[int]]:
    """The events that each client received: 1 was sent while its mask was `call`, 2 with `user`."""
    with Connection(endpoint) as observer:
        observer.login(events="user")
        for client in clients:
            for number, mask in enumerate(("call", "user"), 1):
                answers = client.ask("mask", mask), client.ask("event", str(number))
                assert answers == ("Success", "Success"), client.name
                observer.until(b"Event: UserEvent\r\nPrivilege: user,all\r\nUserEvent: %b\r\n" % client.name.encode())
            client.wait_event(2)
    return {client.name: client.events for client in clients}


def logins(daemon: Daemon) -> int:
    """Those that the listener has accepted."""
    count: int = daemon.result("status")["services"]["listener"]["logins"]
    return count


def test_masks_and_a_restart_of_asterisk(own_asterisk: Callable[[], Asterisk], daemon_for: StartDaemon, tmp_path: Path) -> None:
    """All clients at once. Asterisk's own connections end with it; those of the listener stay, with
    their masks, and their actions get Error until Asterisk is back."""
    asterisk = own_asterisk()
    real = Endpoint("asterisk", asterisk.host, asterisk.port, asterisk.username, asterisk.secret)
    with ExitStack() as stack:
        on_asterisk = masked_events(real, started(stack, real))
    table = {"host": asterisk.host, "port": asterisk.port, "username": asterisk.username, "secret": asterisk.secret}
    own = listener_table(tmp_path, USERS.format(name=asterisk.username, secret=asterisk.secret))
    daemon = daemon_for({"pbx1": table}, listener=own)
    listener = endpoint_of(daemon, own, asterisk.username, asterisk.secret)
    with ExitStack() as stack:
        clients = started(stack, listener)
        assert masked_events(listener, clients) == on_asterisk == {client.name: [2] for client in clients}
        restart(asterisk, daemon, clients)
        for client in clients:
            eventually(partial(succeeds, client), f"actions of {client.name} work again")
            client.wait_event(4)
        assert {client.name: set(client.events) for client in clients} == {client.name: {2, 4} for client in clients}
        assert b"accepted" in stack.enter_context(Connection(listener)).login()
        expected = len(clients) + 2  # and the observer, and this one
        assert eventually(lambda: logins(daemon) >= expected, "its login is counted") and logins(daemon) == expected


def restart(asterisk: Asterisk, daemon: Daemon, clients: list[DrivenClient]) -> None:
    asterisk.kill()
    eventually(lambda: daemon.server("pbx1")["state"] != "up", "amid notices that Asterisk has ended")
    assert {client.name: client.ask("event", "3") for client in clients} == {client.name: "Error" for client in clients}
    asterisk.stop()
    asterisk.start()
    daemon.wait_up("pbx1")


def succeeds(client: DrivenClient) -> bool:
    return client.ask("event", "4") == "Success"
