"""An identity belongs to one caller alone: a key, and a prefix on NATS. (Users and groups:
tests/processes/test_callers.py; tokens: test_files.py.)"""

from __future__ import annotations

import pytest
import zmq

from tests.config.samples import KEY, problems


@pytest.mark.parametrize(("key", "value"), [("key", KEY), ("nats", "crm")])
def test_a_key_and_a_prefix_are_of_one_caller_alone(key: str, value: str) -> None:
    """Otherwise the last table would give its rights to the other caller."""
    raw = {"servers": {}, "callers": {"crm": {key: value}, "other": {key: value, "admin": True}, "local": {key: value}}}
    wrong = "\n".join(problems(raw))
    assert f"[callers.other] {key}: is already used in [callers.crm]" in wrong
    assert f"[callers.local] {key}: `local` " in wrong


@pytest.mark.parametrize("half", [0, 1], ids=["public", "secret"])
def test_the_daemons_key_is_of_no_caller(half: int) -> None:
    pair = [key.decode() for key in zmq.curve_keypair()]
    (wrong,) = problems({"servers": {}, "curve": {"secret_key": pair[1]}, "callers": {"crm": {"key": pair[half]}}})
    assert wrong.startswith("amid.toml: [callers.crm] key: is a key of the daemon itself (secret_key in [curve])")
