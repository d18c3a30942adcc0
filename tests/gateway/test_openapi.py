"""A fuzzer that follows the OpenAPI document finds no contradicting response and no status 500."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.gateway.conftest import TOKENS, Gateway

EXAMPLES = 20
"""Requests for each operation and kind of data."""


def test_the_document_and_the_gateway_agree(own_gateway: Gateway, tmp_path: Path) -> None:
    """With a token that may do little, so that a random action does no harm. Streams never end, and are left out. A list that is
    too long for a param is no body that is too large: that limit is the default one."""
    argv = [sys.executable, "-m", "schemathesis.cli", "run", f"{own_gateway.url}/openapi.json"]
    argv += ["--header", f"Authorization: Bearer {TOKENS['wallboard']}", "--exclude-path", "/v1/events"]
    argv += ["--exclude-checks", "positive_data_acceptance"]  # what Asterisk takes in a line, no schema can say
    argv += ["--max-examples", str(EXAMPLES), "--request-timeout", "20", "--suppress-health-check", "all", "--seed", "1"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
