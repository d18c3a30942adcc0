"""All attacks at once, beside honest callers: `python -m tests.faults.attack --seconds 60 [ATTACK
…]`, as root.

It prints the duration of the honest callers' Pings, their failures, restarted processes, and the
peak memory of each process. The exit status is 1 when a promise was broken. ATTACK is a function of
attackers.py; default: all.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import zmq

from amid import wire
from tests.asterisk.server import free_port
from tests.conformance.pbx import SIMULATED, running
from tests.daemon import Daemon, eventually, gateway_table
from tests.faults import attackers
from tests.faults.attackers import ATTACKS, Round, Target
from tests.processes.test_tcp import make_keys

TIMEOUT_S = 5.0
"""The timeout of an honest Ping."""
SLACK_S = 0.5
"""The promise is 50 ms; the honest callers themselves wait for a processor too."""
MAX_MB = {"supervisor": 80, "broker": 250, "reader pbx1": 200, "gateway": 300, "state": 100}
"""The most that each process may have resident, about twice what was measured in a minute: 31, 106, 50, 118 and 34."""

TOKENS = """
[honest]
token = "honest-0123456789abcdef"
admin = true

[little]
token = "little-0123456789abcdef"
allow = ["Ping", "Originate", "QueueStatus"]
"""


@contextmanager
def attacked(folder: Path) -> Iterator[tuple[Daemon, Target]]:
    """A daemon on ipc, TCP and HTTP in front of the simulated PBX."""
    rpc, events, stream = (free_port() for _ in range(3))
    gateway = gateway_table(folder, TOKENS)
    listen = {"events_listen": [f"tcp://127.0.0.1:{events}"], "stream_listen": [f"tcp://127.0.0.1:{stream}"]}
    make_keys(folder / "server.key")
    with running(SIMULATED) as pbx:
        daemon = Daemon(
            folder,
            {"pbx1": {**pbx.table, **listen}},
            rpc={"listen": [f"tcp://127.0.0.1:{rpc}"]},
            curve={"secret_key_file": str(folder / "server.key")},
            gateway=gateway,
            callers__crm={"key": make_keys(folder / "crm.key")},
        )
        try:
            daemon.start()
            http_port = int(gateway["listen"].rpartition(":")[2])
            target = Target(daemon.run_dir, rpc, events, http_port, "little-0123456789abcdef")
            eventually(lambda: _http_ping(target) == "", "the gateway answers")
            yield daemon, target
        finally:
            daemon.close()


# ── honest callers ──


def _ping(endpoint: str) -> str:
    """What went wrong, or ""."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
    with context.socket(zmq.REQ) as caller:
        caller.set(zmq.LINGER, 0)
        caller.connect(endpoint)
        caller.send(wire.pack({"id": 1, "method": "action", "params": {"action": "Ping", "timeout": TIMEOUT_S}}))
        if not caller.poll(int(1000 * (TIMEOUT_S + 1))):
            return "no answer"
        return str(wire.unpack(caller.recv()).get("error", ""))


def _http_ping(target: Target) -> str:
    """The same over HTTP."""
    headers = {"Authorization": "Bearer honest-0123456789abcdef"}
    url = f"http://127.0.0.1:{target.http_port}/v1/servers/pbx1/actions/Ping?timeout={TIMEOUT_S}"
    try:
        response = httpx.post(url, headers=headers, timeout=TIMEOUT_S + 1, trust_env=False)
    except httpx.TransportError as error:
        return repr(error)
    return "" if response.status_code == 200 else response.text


@dataclass
class Pings:
    """Of one honest caller: seconds that each took, and what went wrong with those that failed."""

    took_s: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def repeat(self, ping: Callable[[], str], seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            began = time.monotonic()
            failure = ping()
            self.took_s.append(time.monotonic() - began)
            self.failures += [failure] if failure else []
            time.sleep(0.02)  # the honest caller's pace

    def __str__(self) -> str:
        ordered = sorted(self.took_s)
        times = f"median {ordered[len(ordered) // 2]:.2f} s, slowest {ordered[-1]:.2f} s"
        return f"{len(ordered)} pings, {len(self.failures)} failed {self.failures[:3]}, {times}"


# ── the outcome ──


@dataclass
class Outcome:
    pings: dict[str, Pings]
    memory_mb: dict[str, float]
    restarts: dict[str, int]

    def broken(self) -> list[str]:
        """The promises that were not kept."""
        late = [way for way, pings in self.pings.items() if max(pings.took_s) > TIMEOUT_S + SLACK_S]
        large = [name for name, size in self.memory_mb.items() if size > MAX_MB[name]]
        return [
            *(f"{way}: a Ping failed" for way, pings in self.pings.items() if pings.failures),
            *(f"{way}: a Ping took longer than its timeout" for way in late),
            *(f"{name}: over {MAX_MB[name]} MB" for name in large),
            *(f"{name}: was restarted" for name, count in self.restarts.items() if count),
        ]

    def __str__(self) -> str:
        lines = [f"{way}: {pings}" for way, pings in self.pings.items()]
        lines += [f"{name}: {size:.0f} MB, {self.restarts[name]} restarts" for name, size in self.memory_mb.items()]
        return "\n".join(lines + [f"BROKEN: {broken}" for broken in self.broken()])


def _processes(daemon: Daemon) -> list[dict[str, Any]]:
    processes: list[dict[str, Any]] = daemon.result("status")["processes"]
    return processes


def _peak_mb(pid: int) -> float:
    """The most that a process has had resident (VmHWM, proc(5))."""
    status = Path(f"/proc/{pid}/status").read_text()
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(kilobytes) * 1024 / 1e6


def outcome(seconds: float, attacks: Sequence[Round] = ATTACKS) -> Outcome:
    """What the honest callers saw, and what it cost."""
    zeromq, http = Pings(), Pings()
    with tempfile.TemporaryDirectory() as folder, attacked(Path(folder)) as (daemon, target):
        with attackers.running(target, attacks):
            other = threading.Thread(target=http.repeat, args=(lambda: _http_ping(target), seconds))
            other.start()
            zeromq.repeat(lambda: _ping(daemon.rpc), seconds)
            other.join()
        after = eventually(lambda: _processes(daemon), "the status")
        memory = {one["name"]: _peak_mb(one["pid"]) for one in after}
        return Outcome({"ZeroMQ": zeromq, "HTTP": http}, memory, {one["name"]: one["restarts"] for one in after})


def main() -> None:
    options = argparse.ArgumentParser(description="All attacks at once, beside honest callers.")
    options.add_argument("--seconds", type=float, default=60.0)
    options.add_argument("attacks", nargs="*", metavar="ATTACK")
    given = options.parse_args()
    by_name = {attack.__name__: attack for attack in ATTACKS}
    seen = outcome(given.seconds, [by_name[name] for name in given.attacks] or ATTACKS)
    print(seen)
    sys.exit(bool(seen.broken()))


if __name__ == "__main__":
    main()
