"""Public AMI clients, unmodified, on a real Asterisk and on the listener in front of it, with the
same expectations.

`provision.sh` installs them. Each program in `clients/` uses one of them: it logs in, pings, runs a
command, sends a hundred actions, receives events in order, originates a call, and logs off.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.listener.setting import Endpoint
from tests.listener.test_same_bytes import endpoints  # noqa: F401
from tests.need import need

FOLDER = Path(os.environ.get("AMID_AMI_CLIENTS", "/var/cache/amid-ami-clients"))
PROGRAMS = sorted(path.name for path in (Path(__file__).parent / "clients").iterdir())
INTERPRETERS = {".py": [str(FOLDER / "venv/bin/python")], ".js": ["node"], ".pl": ["perl"], ".rb": ["ruby"], ".php": ["php"]}
PROGRAM_S = 90.0

UTF8, ASCII = "Grüße", "Gruesse"
EXPECTED: dict[str, Any] = {"hundred": 100, "logoff": "Goodbye"}


def run(program: str, endpoint: Endpoint) -> dict[str, Any]:
    """Run a program. Returns its results."""
    path = Path(__file__).parent / "clients" / program
    argv = [*INTERPRETERS[path.suffix], str(path), endpoint.host, str(endpoint.port), endpoint.username, endpoint.secret]
    environment = {**os.environ, "NODE_PATH": str(FOLDER / "node_modules"), "PYTHONUTF8": "1", "LANG": "C.UTF-8"}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PROGRAM_S, env=environment, check=False)
    assert done.stdout.strip(), done.stderr[-2000:]
    results: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return results


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_public_client(endpoints: tuple[Endpoint, Endpoint], program: str) -> None:  # noqa: F811
    missing = (
        "" if (FOLDER / ".complete").exists() else f"the AMI clients are not in {FOLDER}; as root, run tests/listener/provision.sh"
    )
    need(missing, "AMI_CLIENTS")
    on_asterisk, on_listener = (run(program, endpoint) for endpoint in endpoints)
    assert on_listener == on_asterisk
    assert all(on_listener.get(check, value) in (value, True) for check, value in EXPECTED.items()), on_listener
    events = on_listener["events"]
    assert [int(number) for number, _ in events] == list(range(20)) and {name for _, name in events} <= {UTF8, ASCII}
