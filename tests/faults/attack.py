"""All attacks at once, beside honest callers: `python -m tests.faults.attack --seconds 60 [ATTACK …]`, as root.

It prints how long the honest callers' Pings took, which of them failed, which processes were restarted, and the most memory that
each has had. ATTACK is the name of a function of attackers.py; all of them by default.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.asterisk.server import free_port
from tests.conformance.pbx import SIMULATED, running
from tests.daemon import Daemon, eventually
from tests.faults import attackers
from tests.faults.attackers import ATTACKS, Round, Target
from tests.processes.test_tcp import make_keys

TIMEOUT_S = 5.0
"""The timeout of an honest Ping."""

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
    (folder / "tokens.toml").touch(mode=0o600)
    (folder / "tokens.toml").write_text(TOKENS)
    rpc, events, stream, http = (free_port() for _ in range(4))
    listen = {"events_listen": [f"tcp://127.0.0.1:{events}"], "stream_listen": [f"tcp://127.0.0.1:{stream}"]}
    make_keys(folder / "server.key")
    with running(SIMULATED) as pbx:
        daemon = Daemon(
            folder,
            {"pbx1": {**pbx.table, **listen}},
            rpc={"listen": [f"tcp://127.0.0.1:{rpc}"]},
            curve={"secret_key_file": str(folder / "server.key")},
            gateway={"listen": f"127.0.0.1:{http}", "tokens_file": str(folder / "tokens.toml")},
            callers__crm={"key": make_keys(folder / "crm.key")},
        )
        try:
            daemon.start()
            target = Target(daemon.run_dir, rpc, events, http, "little-0123456789abcdef")
            eventually(lambda: _http_ping(target), "the gateway answers")
            yield daemon, target
        finally:
            daemon.close()


def _ping(daemon: Daemon) -> bool:
    reply = daemon.request("action", {"action": "Ping", "timeout": TIMEOUT_S}, wait=TIMEOUT_S + 1)
    return "result" in reply


def _http_ping(target: Target) -> bool:
    headers = {"Authorization": "Bearer honest-0123456789abcdef"}
    url = f"http://127.0.0.1:{target.http_port}/v1/servers/pbx1/actions/Ping"
    return httpx.post(url, headers=headers, timeout=TIMEOUT_S + 1, trust_env=False).status_code == 200


def _timed(ping: Callable[[], bool]) -> tuple[float, bool]:
    """Seconds that it took, and whether it went well."""
    began = time.monotonic()
    try:
        well = ping()
    except (TimeoutError, httpx.TransportError):
        well = False
    return time.monotonic() - began, well


def _processes(daemon: Daemon) -> list[dict[str, Any]]:
    processes: list[dict[str, Any]] = daemon.result("status")["processes"]
    return processes


def _peak_mb(pid: int) -> float:
    """The most that a process has had resident (VmHWM, proc(5))."""
    status = Path(f"/proc/{pid}/status").read_text()
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(kilobytes) * 1024 / 1e6


def report(seconds: float, attacks: Sequence[Round]) -> str:
    """What the honest callers saw, and what it cost."""
    pings: dict[str, list[tuple[float, bool]]] = {"ZeroMQ": [], "HTTP": []}
    with tempfile.TemporaryDirectory() as folder, attacked(Path(folder)) as (daemon, target):
        with attackers.running(target, attacks):
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                pings["ZeroMQ"].append(_timed(lambda: _ping(daemon)))
                pings["HTTP"].append(_timed(lambda: _http_ping(target)))
        after = eventually(lambda: _processes(daemon), "the status")
        lines = [
            f"{way}: {len(made)} pings, {sum(not well for _, well in made)} failed, the slowest took {max(made)[0]:.2f} s"
            for way, made in pings.items()
        ]
        return "\n".join(lines + [f"{one['name']}: {_peak_mb(one['pid']):.0f} MB, {one['restarts']} restarts" for one in after])


def main() -> None:
    options = argparse.ArgumentParser(description="All attacks at once, beside honest callers.")
    options.add_argument("--seconds", type=float, default=60.0)
    options.add_argument("attacks", nargs="*", metavar="ATTACK")
    given = options.parse_args()
    by_name = {attack.__name__: attack for attack in ATTACKS}
    print(report(given.seconds, [by_name[name] for name in given.attacks] or ATTACKS))


if __name__ == "__main__":
    main()
