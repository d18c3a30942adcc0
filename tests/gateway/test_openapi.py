"""A fuzzer that follows the OpenAPI document finds no contradicting response and no status 500."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.gateway.conftest import TOKENS, serving
from tests.processes.pbx import simulated, table

EXAMPLES = 8
"""Requests for each operation and kind of data."""


def test_the_document_and_the_gateway_agree(tmp_path: Path) -> None:
    """The token has few rights, so that random actions do no harm. Streams are excluded, because they
    never end. max_body_bytes is the default, so that no generated body exceeds it. Without a
    recorder, its methods would be answered with 503, which the fuzzer takes for a failure."""
    with simulated() as pbx, serving(tmp_path, {"pbx1": table(pbx)}, recorder={}) as gateway:
        check(gateway.url, tmp_path)


def check(url: str, folder: Path) -> None:
    argv = [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json"]
    argv += [
        "--header",
        f"Authorization: Bearer {TOKENS['wallboard']}",
        "--exclude-path",
        "/v1/events",
        "--exclude-path",
        "/v1/state",
    ]
    argv += ["--exclude-checks", "positive_data_acceptance"]  # a schema cannot describe what Asterisk accepts in a line
    argv += ["--max-examples", str(EXAMPLES), "--request-timeout", "20", "--suppress-health-check", "all", "--seed", "1"]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
