"""Fuzzes the configuration: any file gives a `Config` that the daemon can use, or a `ConfigError`
without secrets.

An input is the file itself; beside it are the files that it may name (`FILES`). See `campaign` for
running it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import msgspec
from zmq.utils import z85

from amid.config import load as configuration
from amid.config.masking import shown
from amid.config.report import ConfigError
from amid.config.tables import Config
from amid.process.settings import BrokerSettings, ReaderSettings, broker_settings, reader_settings
from tests.fuzz import campaign

KEY = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
"""A CURVE key, from RFC 26."""
FILES = {
    "secret": ("out-of-the-file\n", 0o600),
    "everybodys": ("out-of-the-file\n", 0o644),
    "empty": ("", 0o600),
    "noise": ("\udcff\udcfe", 0o600),
    "curve.key": (KEY + "\n", 0o600),
}
"""Name -> content and mode."""
SECRETS = re.compile(rb"""secret(?:_key)?["']?\s*=\s*["']{1,3}([^"'\r\n]*geheim[^"'\r\n]*)""")
"""What the file gives as a secret, whether or not the rest of it is right; not less than a word that no message has of itself."""

TOKENS = [
    b"[servers.pbx1]\n", b"[rpc]\n", b"[supervision]\n", b"[curve]\n", b"[callers.web]\n", b"[[servers]]\n", b"run_dir = ",
    b"host = ", b"username = ", b'secret = "inline-geheim"\n', b'secret_file = "secret"\n', b'secret_file = "everybodys"\n',
    b"tls = true\n", b'tls_ca = "noise"\n', b"listen = ", b"events_listen = ", b'"tcp://*:1"', b'secret_key = "',
    b'secret_key_file = "curve.key"\n', b"key = ", b'"' + KEY.encode() + b'"', b"allow = []\n", b"lanes = ", b"silence = ",
    b"nan", b"inf", b"-1", b"0x", b"1e9", b"true", b"1979-05-27T07:32:00Z", b"07:32:00", b'"""', b"'''", b"\\u0000", b"\\n",
    b"{a = 1}", b"[[", b".", b"1" * 40, b"\xff", b"\0", b"=",
]  # fmt: skip


def one(data: bytes) -> None:
    file = folder() / "amid.toml"
    file.write_bytes(data)
    try:
        config = configuration.load(file)
    except ConfigError as error:
        judge_refusal(str(error), data)
    else:
        judge_config(config)


@cache
def folder() -> Path:
    place = campaign.scratch()
    for name, (content, mode) in FILES.items():
        (place / name).write_text(content, errors="surrogateescape")
        (place / name).chmod(mode)
    return place


def judge_refusal(message: str, data: bytes) -> None:
    """A refusal names the file, in readable lines, and contains no secret, except text that is in
    the file elsewhere too."""
    assert message and all(line for line in message.split("\n")), "an empty line for a problem"
    assert str(folder()) in message
    told = message.encode()
    for secret in [*SECRETS.findall(data), b"out-of-the-file"]:
        assert data.count(secret) > 1 or secret not in told or b"out-of-the-file" in data, f"it tells the secret {secret!r}"


def judge_config(config: Config) -> None:
    """An accepted configuration can be shown without secrets, sent to each child, and used there."""
    values = shown(config)
    json.dumps(values)
    assert all(server["secret"] == "***" for server in values["servers"].values())
    assert values["curve"]["secret_key"] in (None, "***")
    for_broker = broker_settings(config)
    assert msgspec.convert(json.loads(msgspec.json.encode(for_broker)), BrokerSettings) == for_broker
    for name in config.servers:
        for_reader = reader_settings(config, name, 0)
        assert msgspec.convert(json.loads(msgspec.json.encode(for_reader)), ReaderSettings) == for_reader
    for key in [config.curve.secret_key, *(caller.key for caller in config.callers.values())]:
        assert key is None or len(z85.decode(key)) == 32
    assert "\0" not in config.run_dir and config.run_dir.startswith("/")
    for server in config.servers.values():
        assert not set("\r\n\0") & set(server.host + server.username + server.events), "no header can hold it"
        assert not any("\n" in endpoint for endpoint in server.events_listen + server.stream_listen + config.rpc.listen)
    assert "local" in config.callers


# ── the corpus ──

SERVER = b'[servers.pbx1]\nhost = "127.0.0.1"\nusername = "amid"\n'
INLINE = SERVER + b'secret = "inline-geheim"\n'
KEYS = [
    b"port = 5038", b'auth = "plain"', b"tls = true", b'tls = true\ntls_ca = "noise"', b'events = "off"', b"lanes = 64",
    b"queue = 0", b"silence = nan", b"pong = 1979-05-27", b"reconnect_min = 31", b"reconnect_max = inf", b"replay_bytes = -1",
    b'deny = ["Core*", 7]', b'tls = true\ntls_cert = "secret"\ntls_key = "secret"', b"max_reply_bytes = 0x400", b'allow = [""]',
    b'secret_file = "secret"', b'usrname = "x"', b"[supervision]\nsilence = 2\ndrain = 0.1\nboot_grace = 1e3",
    b'[rpc]\nlisten = ["tcp://*:1"]\nmax_calls = 1', b'events_listen = ["tcp://[::1]:1"]', b"[rpc]\nmax_request_bytes = 1_024",
    b"[callers.local]\nadmin = true", b"[callers.a]\nkey = 1",
]  # fmt: skip
CURVE = b'[curve]\nsecret_key_file = "curve.key"\n[callers.web]\nkey = "' + b"y" * 40 + b'"\nallow = ["Ping"]\nadmin = false\n'
WHOLE = [
    b"", INLINE, SERVER, SERVER + b"secret = inline-geheim\n", SERVER + b'secret = "inline-geheim\n',
    b'run_dir = "relative"\n' + INLINE,
    *(SERVER + b'secret_file = "' + name.encode() + b'"\n' for name in [*FILES, "none", "/", "."]), b"[servers", b"servers = []",
    b"rpc = 1", b'run_dir = "/run/x"\nlog_level = "debug"\n' + INLINE + CURVE + b'[rpc]\nlisten = ["tcp://*:5560"]\n',
    INLINE + INLINE, INLINE + b'[curve]\nsecret_key = "' + KEY.encode() + b'"\n', b"[servers.'a b']\n",
    b'servers.p = {host = "h", username = "u"}', b'run_dir = "\xff"',
    b'[servers.p]\nhost = "::1"\nusername = """u\\\n x"""\nsecret = \'\'\'inline-geheim\'\'\'\n', b"a.b.c = 1\n",
]  # fmt: skip


def seeds() -> Iterator[bytes]:
    yield from WHOLE
    yield from (INLINE + key + b"\n" for key in KEYS)


if __name__ == "__main__":
    campaign.main("configuration")
