"""The Debian package under a real systemd, from installation to complete removal, and the service."""

from __future__ import annotations

import json
import os
import re
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import zmq

from amid import Client, Curve
from tests.asterisk.server import free_port
from tests.conformance.pbx import Pbx
from tests.daemon import eventually
from tests.packages.conftest import TREE
from tests.packages.machine import Machine
from tests.processes.process import next_event

CONFIG = """
[servers.pbx1]
host = "pbx.example"
port = {port}
username = "amid"
"""
DOCUMENTATION = "/usr/share/doc/amid"
CGROUP = "/sys/fs/cgroup/system.slice/amid.service"
DROP_IN = "/etc/systemd/system/amid.service.d/test.conf"


def configure(machine: Machine, pbx: Pbx, more: str = "") -> None:
    """As etc/doc/installation.md says: a file that names the PBX, and the secret in a file of the daemon's alone. more: lines
    that are appended to amid.toml."""
    machine.write("/etc/amid/amid.toml", CONFIG.format(port=pbx.port) + 'secret_file = "pbx1.secret"\n' + more)
    machine.write("/etc/amid/pbx1.secret", pbx.secret, owner="amid", mode="400")


def property_of(machine: Machine, name: str) -> str:
    return machine.do("systemctl", "show", "--value", f"--property={name}", "amid").strip()


def processes(machine: Machine) -> dict[str, Any]:
    """What `amid status` says of the processes, by name."""
    return {process["name"]: process for process in json.loads(machine.do("amid", "status", "--json"))["processes"]}


def pings(machine: Machine) -> bool:
    return machine.run("amid", "action", "Ping").returncode == 0


def gone(machine: Machine) -> bool:
    """Whether the service has no process (the last one removes its cgroup) and no socket."""
    return all(machine.run("test", "-e", path).returncode == 1 for path in (CGROUP, "/run/amid"))


def left(machine: Machine) -> str:
    """The files of amid."""
    return machine.do("find", "/etc", "/opt", "/run", "/usr", "/var", "-name", "*amid*", "-not", "-path", "/var/log/*")


def dead_links(machine: Machine) -> list[str]:
    """Links of the installed pages to files that are not installed."""
    files = set(machine.do("find", DOCUMENTATION).splitlines())
    pages = {Path(file): re.sub(r"`[^`\n]*`", "", machine.do("cat", file)) for file in files if file.endswith(".md")}
    links = [page.parent / target for page, text in pages.items() for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", text)]
    assert len(links) > 100
    return [str(link) for link in links if os.path.normpath(link) not in files]


def journal(machine: Machine) -> str:
    return machine.do("journalctl", "--unit=amid", "--output=cat", "--no-pager")


def test_install_upgrade_and_removal(machine: Machine, package: Path, older: Path, pbx: Pbx) -> None:
    machine.do("apt-get", "install", "-qq", str(older))
    assert machine.run("systemctl", "is-enabled", "amid").stdout == "disabled\n"
    assert machine.do("stat", "--format=%U:%G %a", "/etc/amid") == "root:amid 750\n"
    assert dead_links(machine) == []
    for file in ("man/man1/amid.1.gz", "man/man5/amid.toml.5.gz", "bash-completion/completions/amid"):
        machine.do("test", "-s", f"/usr/share/{file}")

    assert machine.run("systemctl", "start", "amid").returncode == 1, "it knows no PBX yet"
    assert property_of(machine, "ActiveState") == "failed", "and is not started again"
    assert "/etc/amid/pbx1.secret: No such file or directory" in journal(machine)

    configure(machine, pbx)
    machine.do("systemctl", "enable", "--now", "amid")
    eventually(lambda: pings(machine), "a call goes through")

    machine.do("useradd", "--groups=amid-clients", "clara")
    assert machine.run("runuser", "--user=clara", "--", "amid", "action", "Ping").returncode == 0, "she is in the group"
    assert machine.run("runuser", "--user=nobody", "--", "amid", "action", "Ping").returncode == 4, "a user outside the group"
    assert machine.run("runuser", "--user=clara", "--", "cat", "/etc/amid/pbx1.secret").returncode == 1
    machine.do("sh", "-c", "chown root:amid /etc/amid/pbx1.secret && chmod 640 /etc/amid/pbx1.secret")
    machine.do("systemctl", "reload", "amid")
    eventually(lambda: "configuration read" in journal(machine), "a secret that the daemon's group may read is right")
    assert machine.run("runuser", "--user=clara", "--", "cat", "/etc/amid/pbx1.secret").returncode == 1, "callers are not in it"
    assert "can be read by" not in machine.run("amid", "check").stderr
    assert machine.do("stat", "--format=%U:%G %a", "/run/amid", "/run/amid/rpc") == "amid:amid-clients 750\namid:amid-clients 660\n"

    before = property_of(machine, "MainPID")
    machine.do("apt-get", "install", "-qq", str(package))
    assert property_of(machine, "MainPID") != before, "the new version runs"
    eventually(lambda: pings(machine), "a call goes through it")
    assert str(pbx.port) in machine.do("cat", "/etc/amid/amid.toml"), "what was configured is still there"

    machine.do("apt-get", "remove", "-qq", "amid")
    assert gone(machine)
    machine.do("test", "-e", "/etc/amid/pbx1.secret")
    machine.do("apt-get", "purge", "-qq", "amid")
    assert left(machine) == "", "nothing is left"
    machine.do("id", "amid")


@pytest.fixture
def installed(machine: Machine, package: Path, pbx: Pbx) -> Machine:
    """A machine that runs amid with its secret as a credential, a gateway, and a shorter watchdog
    than the unit's."""
    machine.do("apt-get", "install", "-qq", str(package))
    port = free_port()
    gateway = f'[gateway]\nlisten = "127.0.0.1:{port}"\ntokens_file = "tokens.toml"\n'
    machine.write("/etc/amid/amid.toml", CONFIG.format(port=pbx.port) + gateway)
    machine.write("/etc/amid/tokens.toml", '[operator]\ntoken = "0123456789abcdef01234567"\n', owner="amid", mode="400")
    machine.write("/etc/amid/pbx1.secret", pbx.secret, mode="400")
    machine.write(DROP_IN, "[Service]\nLoadCredential=pbx1.secret:/etc/amid/pbx1.secret\nWatchdogSec=2\n")
    machine.do("systemctl", "daemon-reload")
    machine.do("systemctl", "start", "amid")
    eventually(lambda: pings(machine), "a call goes through")
    eventually(lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz").status == 200, "the gateway serves")
    return machine


def test_the_service(installed: Machine, pbx: Pbx) -> None:
    machine = installed
    security = machine.run("systemd-analyze", "security", "--no-pager", "--threshold=20", "amid")
    assert security.returncode == 0, security.stdout

    machine.do("test", "-e", CGROUP)
    first = processes(machine)
    children = [str(process["pid"]) for name, process in first.items() if name != "supervisor"]
    machine.do("sh", "-c", f"kill -KILL {' '.join(children)}")

    def all_replaced() -> bool:
        now = processes(machine)
        return now.keys() == first.keys() and all(now[name]["pid"] != first[name]["pid"] for name in first if name != "supervisor")

    eventually(all_replaced, "every child has a successor")
    eventually(lambda: pings(machine), "which answers")
    assert property_of(machine, "MainPID") == str(first["supervisor"]["pid"]), "under the same supervisor"

    machine.write("/etc/amid/amid.toml", CONFIG.format(port=pbx.port))
    machine.do("systemctl", "reload", "amid")
    eventually(lambda: "gateway" not in processes(machine), "the configuration without a gateway is in effect")

    machine.do("systemctl", "kill", "--kill-who=main", "--signal=STOP", "amid")
    eventually(lambda: property_of(machine, "NRestarts") == "1", "systemd's watchdog replaces a supervisor that hangs")
    eventually(lambda: pings(machine), "and the new one serves")

    machine.do("systemctl", "stop", "amid")
    assert gone(machine)
    assert property_of(machine, "Result") == "success"
    assert pbx.secret not in journal(machine)


def test_programs_on_other_machines(machine: Machine, package: Path, pbx: Pbx) -> None:
    """As etc/doc/configuration.md says: with keys, over TCP."""
    machine.do("apt-get", "install", "-qq", str(package))
    server = machine.do("amid", "keygen", "/etc/amid/server.key").strip()
    public, secret = (key.decode() for key in zmq.curve_keypair())
    rpc, events = (f"tcp://127.0.0.1:{free_port()}" for _ in range(2))
    tables = f'[rpc]\nlisten = ["{rpc}"]\n[curve]\nsecret_key_file = "server.key"\n[callers.crm]\nkey = "{public}"\n'
    configure(machine, pbx, f'events_listen = ["{events}"]\n{tables}')
    assert machine.run("systemctl", "start", "amid").returncode == 1
    assert "/etc/amid/server.key: the user amid may not read it" in journal(machine)
    machine.do("chown", "amid", "/etc/amid/server.key")
    machine.do("systemctl", "start", "amid")
    with Client(endpoint=rpc, curve=Curve(server, public, secret)) as client, client.events("UserEvent", timeout=1) as heard:

        def hears() -> bool:  # a subscription over TCP may take its time on a busy machine
            client.action("UserEvent", UserEvent="over-tcp")
            return next_event(heard)["UserEvent"] == "over-tcp"

        eventually(hears, "an event came over TCP")


def commands_under(heading: str) -> str:
    """The first commands of a section of the page on installation."""
    page = (TREE / "etc/doc/installation.md").read_text()
    return page.partition(f"\n## {heading}\n")[2].partition("```sh\n")[2].partition("```")[0]


@pytest.mark.parametrize("release", ["trixie"], indirect=True)
def test_by_hand(machine: Machine, package: Path, pbx: Pbx) -> None:
    commands = commands_under("Other systems with systemd")
    assert "etc/amid.service" in commands
    machine.do("apt-get", "install", "-qq", "--no-install-recommends", "python3-venv")
    pip = f"export PIP_NO_INDEX=1 PIP_FIND_LINKS={package.parent}/wheels"
    machine.do("sh", "-exc", f"cd {TREE}\n{pip}\n{commands}")
    configure(machine, pbx)
    machine.do("systemctl", "enable", "--now", "amid")
    eventually(lambda: pings(machine), "a call goes through")

    machine.do("sh", "-exc", commands_under("Upgrade and removal"))
    assert gone(machine)
    assert left(machine) == "", "nothing is left"
