"""`amid demo --nats`, as in the compose file in etc/nats."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import yaml

from tests.bus.nats_server import Consumer, NatsServer
from tests.daemon import eventually

COMPOSE = Path(__file__).parents[2] / "etc/nats/compose.yaml"


def _has_events(consumer: Consumer, server: str) -> bool:
    return len(consumer.stored(server)) > 20


@pytest.mark.newest_nats
def test_both_demos_of_the_compose_file_publish(nats_server: NatsServer, consumer: Consumer, tmp_path: Path) -> None:
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    demos = [service["entrypoint"] for service in services.values() if "demo" in service.get("entrypoint", [])]
    assert len(demos) == 2
    running = []
    try:
        for number, (_, *arguments) in enumerate(demos):
            arguments = [nats_server.url if one.startswith("nats://") else one for one in arguments]
            argv = [sys.executable, "-m", "amid", "--run-dir", str(tmp_path / str(number)), *arguments, "--calls-per-minute", "600"]
            environment = {**os.environ, "TMPDIR": str(tmp_path)}
            running.append(subprocess.Popen(argv, stdout=subprocess.DEVNULL, env=environment))
        for name in ("pbx1", "pbx2"):
            eventually(partial(_has_events, consumer, name), f"events of {name}", 60)
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(30)
