"""An identity belongs to one caller alone: a key, and a prefix on NATS. An address belongs to one key of
the configuration. (Users and groups:
tests/processes/test_callers.py; tokens: test_files.py.)"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import zmq

from tests.config.samples import KEY, certain_tokens, one, problems
from tests.config.test_listener import with_listener


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


# ── addresses ──

TCP: dict[str, Any] = {"curve": {"secret_key": "k" * 40}, "callers": {"web": {"key": KEY}}}
CLASHES: dict[str, tuple[dict[str, Any], str]] = {
    "calls and events": (
        {**one(events_listen=["tcp://127.0.0.1:5560"]), "rpc": {"listen": ["tcp://127.0.0.1:5560"]}, **TCP},
        "[servers.pbx1] events_listen: tcp://127.0.0.1:5560 is already in use by listen in [rpc]",
    ),
    "events of two servers": (
        {"servers": {f"pbx{n}": one(stream_listen=["tcp://*:5560"])["servers"]["pbx1"] for n in (1, 2)}, **TCP},
        "[servers.pbx2] stream_listen: tcp://*:5560 is already in use by stream_listen in [servers.pbx1]",
    ),
    "calls on all addresses, and the gateway": (
        {**one(), "rpc": {"listen": ["tcp://*:8088"]}, **TCP, "gateway": {}},
        "[gateway] listen: 127.0.0.1:8088 is already in use by listen in [rpc]",
    ),
    "the gateway and Asterisk": (
        {**one(), "gateway": {"listen": "127.0.0.1:5038"}},
        "[gateway] listen: 127.0.0.1:5038 is already in use by the Asterisk of [servers.pbx1]",
    ),
    "the gateway and Asterisk on IPv6": (
        {**one(host="::1", port=8088), "gateway": {"listen": ["127.0.0.1:8088", "[::]:8088"]}},
        "[gateway] listen: [::]:8088 is already in use by the Asterisk of [servers.pbx1]",
    ),
}


@pytest.mark.parametrize(("raw", "said"), CLASHES.values(), ids=CLASHES)
def test_an_address_in_use_by_another_key_is_refused(tmp_path: Path, raw: dict[str, Any], said: str) -> None:
    """It could never be listened on, and whether it was found out depended on which process started first."""
    if "gateway" in raw:
        raw = {**raw, "gateway": {**raw["gateway"], "tokens_file": certain_tokens(tmp_path)}}
    assert problems(raw, tmp_path) == [f"amid.toml: {said}; choose another port"]


def test_addresses_that_can_be_used_together_are_accepted(tmp_path: Path) -> None:
    config = with_listener(tmp_path, listen=["127.0.0.2:15038", "[::1]:15038", "0.0.0.0:5139", "[::]:5139"])
    assert config.listener is not None and len(config.listener.listen) == 4
