"""The consumers in etc/nats: each prints every event once and in order, then the answer to a call."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bus.conftest import send_events, wait_served, wait_stored
from tests.bus.nats_server import Consumer, NatsServer
from tests.daemon import Daemon
from tests.need import need, need_programs

EXAMPLES = Path(__file__).parents[2] / "etc/nats"
BUILT = {"node": EXAMPLES / "node_modules", "go": EXAMPLES / "build/consumer"}
COMMANDS = {
    "python": [sys.executable, str(EXAMPLES / "consumer.py")],
    "node": ["node", str(EXAMPLES / "consumer.mjs")],
    "go": [str(EXAMPLES / "build/consumer")],
}


@pytest.fixture(scope="module")
def stored(daemon: Daemon, consumer: Consumer) -> list[dict[str, Any]]:
    """The events in the stream."""
    wait_stored(consumer, send_events(daemon, 250))
    wait_served(consumer)
    return consumer.stored()


@pytest.mark.parametrize("language", COMMANDS)
def test_an_example_prints_each_event_once_and_the_answer_to_a_call(
    language: str, stored: list[dict[str, Any]], nats_server: NatsServer
) -> None:
    if language == "node":
        need_programs("node", of="NATS")
    if language in BUILT:
        need("" if BUILT[language].exists() else f"there is no {BUILT[language].name}; run etc/nats/build.sh", of="NATS")
    arguments = [*COMMANDS[language], nats_server.url, "pbx1", str(len(stored))]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    *events, answer = done.stdout.splitlines()
    assert events == [f"{event['epoch']} {event['seq']} {event['event']}" for event in stored]
    assert answer == "Pong"
