"""Findings of the fuzzers as test cases, and a fixed number of inputs through every target, without
atheris."""

from __future__ import annotations

import random
import struct
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from amid import wire
from amid.ami.action import InvalidAction, encode_action
from amid.config.load import load
from amid.config.report import ConfigError
from amid.errors import AmidError
from amid.rpc.calls import Calls
from amid.rpc.requests import check_request
from tests.fuzz import configuration, parser, requests
from tests.rpc.test_calls import NOW, Asker, action, capacity, handed, report, status

TARGETS = [parser, requests, configuration]
MUTANTS = 300


# ── findings ──

SERVER = '[servers.pbx1]\nhost = "h"\nusername = "u"\n'
CURVED = SERVER + 'secret = "s"\n[rpc]\nlisten = ["tcp://*:5560"]\n'
FILES = {
    "lists nested too deep for Python": "a = " + "[" * 5000,
    "tables nested too deep for Python": "a = " + "{a = " * 5000,
    "a number over Python's 4,300 digits": "a = " + "1" * 5000,
    "NUL in secret_file": SERVER + 'secret_file = "a\\u0000"',
    "NUL in a TLS file": SERVER + 'secret = "s"\ntls = true\ntls_ca = "a\\u0000"',
    "NUL in secret_key_file": SERVER + 'secret = "s"\n[curve]\nsecret_key_file = "a\\u0000"',
    "NUL in run_dir": 'run_dir = "/a\\u0000"\n' + SERVER + 'secret = "s"',
    "a caller's key that is not ASCII": f'{SERVER}secret = "s"\n[callers.web]\nkey = "{"é" * 40}"',
    "a caller's key that is not Z85": f'{SERVER}secret = "s"\n[callers.web]\nkey = "{"~" * 40}"',
    "a caller's key over 32 bits a word": f'{SERVER}secret = "s"\n[callers.web]\nkey = "{"#" * 40}"',
    "the daemon's key that is not Z85": f'{CURVED}[callers.web]\nkey = "{configuration.KEY}"\n[curve]\nsecret_key = "{"~" * 40}"',
    "a line end behind the user's name": '[servers.pbx1]\nhost = "h"\nusername = "u\\n"\nsecret = "s"',
    "a line end behind the host": '[servers.pbx1]\nhost = "h\\n"\nusername = "u"\nsecret = "s"',
    "a line end behind the events": SERVER + 'secret = "s"\nevents = "on\\n"',
}


@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
def test_an_unusable_file_is_refused(text: str, tmp_path: Path) -> None:
    """An invalid CURVE key ended the broker, with all calls at a reload; the others ended the
    command with a traceback."""
    file = tmp_path / "amid.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert "\n" not in str(caught.value), "a problem is reported once"


def colliding_keys(count: int) -> Iterator[bytes]:
    """MessagePack timestamps with the same hash, computed backwards through CPython's hash of a
    pair (`tuplehash`, Objects/tupleobject.c), which has no random seed."""
    one, two, five, word = 11400714785074694791, 14029467366897019727, 2870177450012600261, 1 << 64
    first, second = pow(one, -1, word), pow(two, -1, word)

    def back(value: int) -> int:
        turned = value * first % word
        return (turned >> 31 | turned << 33) % word

    for nanoseconds in range(4 * count):
        seconds = (back(back(12345) - nanoseconds * two) - five) * second % word
        if seconds < 1 << 60:
            yield b"\xc7\x0c\xff" + struct.pack(">Iq", nanoseconds, seconds)


def test_colliding_keys_are_refused_in_time() -> None:
    """8,000 keys with one hash cost 32 million comparisons, and a request of the maximum size would
    take two minutes."""
    keys = list(colliding_keys(64_000))[:8000]
    assert len(keys) == 8000
    began = time.process_time()
    with pytest.raises(AmidError, match="MessagePack"):
        wire.decode_request(b"\xdf" + struct.pack(">I", len(keys)) + b"".join(key + b"\1" for key in keys))
    assert time.process_time() - began < 0.5


def test_long_field_lists_are_refused_in_time() -> None:
    """Half a million items, which a request may contain, took the broker half a second."""
    with pytest.raises(InvalidAction, match="at least 129 headers"):
        encode_action("Ping", "1", {"X": [*[1] * 200, object()]})


def test_answered_calls_are_forgotten_before_their_deadline() -> None:
    """Calls with a timeout of an hour, answered at once, beside one that is always open and due
    before them."""
    calls = Calls({"pbx1": 10}, max_calls=10, max_per_caller=10, now=NOW)
    report(calls, status(capacity(2)))
    calls.open(Asker("waits"), "pbx1", action(calls, deadline=NOW + 100), NOW)
    tracemalloc.start()
    for taken in range(1, 20_000):
        report(calls, capacity(1, taken))
        (sent,) = handed(calls.open(Asker("asks"), "pbx1", action(calls, deadline=NOW + 3600), NOW))
        calls.answered(sent.call_id, b"", None, NOW)
        assert calls.next_deadline() is not None
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(calls) == 1 and held < 500_000, f"{held} bytes are held for one call"


@pytest.mark.parametrize("name", ["Hangup\n", "\n"])
def test_until_must_be_one_line(name: str) -> None:
    requests.request(wire.pack({"method": "action", "params": {"action": "Ping", "until": name}}))


@pytest.mark.parametrize("odd", [b"\xd4\x05x", b"\xd6\xff\0\0\0\1"], ids=["an extension", "a timestamp"])
def test_an_id_of_a_messagepack_only_type_is_refused(odd: bytes) -> None:
    value = wire.decode_request(b"\x82\xa2id" + odd + b"\xa6method\xa4ping")
    with pytest.raises(AmidError, match="not an extension type"):
        check_request(value)


# ── the targets, without a fuzzer ──


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.__name__.rpartition(".")[2])
def test_every_seed_passes(target: ModuleType) -> None:
    for seed in target.seeds():
        target.one(seed)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.__name__.rpartition(".")[2])
def test_mutated_seeds_pass(target: ModuleType) -> None:
    chance = random.Random(3)
    seeds = list(target.seeds())
    for _ in range(MUTANTS):
        data = mutated(chance, seeds, target.TOKENS)
        try:
            target.one(data)
        except Exception:
            pytest.fail(f"a finding of {target.__name__}: one({data!r})")


def mutated(chance: random.Random, seeds: list[bytes], tokens: list[bytes]) -> bytes:
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(data) + 1)
        data[at : at + chance.choice([0, 0, 1, 9])] = chance.choice([b"", chance.randbytes(1), *chance.sample(tokens, 3)])
    return bytes(data)
