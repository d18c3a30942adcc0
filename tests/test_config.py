"""The configuration: every key refuses what it cannot be, by file, table and key; secrets come from where they should."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from amid import config as configuration
from amid.config import Caller, Config, ConfigError, Curve, Gateway, Rpc, Server, Supervision, shown
from amid.config.tables import Table
from tests.processes.tls import certificate

SERVER = {"host": "127.0.0.1", "username": "amid", "secret": "geheim"}
KEY = "y" * 40


def check(raw: dict[str, Any], folder: Path = Path("/nowhere")) -> Config:
    return configuration.check(raw, "amid.toml", folder)


def one(**keys: Any) -> dict[str, Any]:
    """A configuration of one server with `keys` besides what it needs."""
    return {"run_dir": "/run/amid", "servers": {"pbx1": {**SERVER, **keys}}}


def problems(raw: dict[str, Any], folder: Path = Path("/nowhere")) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        check(raw, folder)
    return str(caught.value).split("\n")


def test_the_least_that_is_needed() -> None:
    config = check(one())
    assert config.servers["pbx1"] == Server(host="127.0.0.1", username="amid", secret="geheim")
    assert (config.servers["pbx1"].tcp_port, config.log_level) == (5038, "info")
    assert config.callers["local"].admin, "whoever may use the ipc socket may restart a reader"
    assert check(one(tls=True)).servers["pbx1"].tcp_port == 5039


# ── every key, wrong ──

TABLES: dict[str, type[Table]] = {
    "": Config,
    "servers.pbx1": Server,
    "rpc": Rpc,
    "supervision": Supervision,
    "curve": Curve,
    "callers.web": Caller,
    "gateway": Gateway,
}
INNER = ("servers", "rpc", "supervision", "curve", "callers", "gateway")
KEYS = [
    (where, field.name)
    for where, kind in TABLES.items()
    for field in msgspec.structs.fields(kind)
    if (where, field.name) not in [("", name) for name in INNER]
]


def with_key(where: str, key: str, value: Any) -> dict[str, Any]:
    raw: dict[str, Any] = {**one(), "callers": {"web": {"key": KEY}}}
    table = raw
    for name in where.split(".") if where else ():
        table = table.setdefault(name, {})
    table[key] = value
    return raw


@pytest.mark.parametrize("value", [{"a": 1}, 1.5j, [[]]], ids=["a table", "no TOML value", "a list of lists"])
@pytest.mark.parametrize(("where", "key"), KEYS, ids=[f"{where}.{key}" for where, key in KEYS])
def test_every_key_refuses_a_wrong_type_by_its_name(where: str, key: str, value: Any) -> None:
    place = f"amid.toml: [{where}] {key}: " if where else f"amid.toml {key}: "
    wrong = problems(with_key(where, key, value))
    assert any(problem.replace("amid.toml: run_dir", "amid.toml run_dir").startswith(place) for problem in wrong), wrong


@pytest.mark.parametrize("name", INNER)
@pytest.mark.parametrize("value", [7, "text", [], True], ids=repr)
def test_a_table_must_be_a_table(name: str, value: Any) -> None:
    assert any(name in problem for problem in problems({**one(), name: value}))


IMPOSSIBLE: dict[str, list[Any]] = {
    "host": ["", "x" * 256],
    "username": [""],
    "port": [0, -1, 65536, "5038", True],
    "auth": ["MD5", "sha", ""],
    "tls": ["yes", 1],
    "events": ["", 7],
    "lanes": [0, -1, 65, 1.5, "4"],
    "queue": [0, 10**7],
    "events_listen": ["tcp://*:1", ["ipc:///x"], ["tcp://*"], ["tcp://a b:1"], [""], ["tcp://*:99999"], ["tcp://*:0"]],
    "allow": ["Ping", [""], [7], ["QueueAdd: support"], ["Orig*: System"], ["Command:"], [": x"]],
    "silence": [0, -1, 3601, "10", float("nan"), float("inf")],
    "pong": [0],
    "login_timeout": [0],
    "reconnect_min": [0, 31.0],
    "reconnect_max": [0, 0.1],
    "replay_bytes": [-1, 2**40],
    "max_reply_bytes": [0, 1023, 2**40],
    "secret": [7, "", "a\r\nb"],
    "tls_ca": ["/nowhere/ca.pem"],
}
VALUES = [(key, value) for key, values in IMPOSSIBLE.items() for value in values]


@pytest.mark.parametrize(("key", "value"), VALUES, ids=[f"{key}={value!r:.20}" for key, value in VALUES])
def test_a_server_with_an_impossible_value_is_refused_by_file_table_and_key(key: str, value: Any) -> None:
    wrong = problems(one(**{key: value}))
    other = {"reconnect_max": "reconnect_min", "tls_ca": "tls_ca"}.get(key, key)
    assert any(p.startswith((f"amid.toml: [servers.pbx1] {key}: ", f"amid.toml: [servers.pbx1] {other}: ")) for p in wrong), wrong


@pytest.mark.parametrize(
    ("where", "key", "value"),
    [
        ("", "log_level", "loud"),
        ("rpc", "max_request_bytes", 10),
        ("rpc", "max_calls", 0),
        ("rpc", "listen", ["tcp://*:99999x"]),
        ("rpc", "listen", ["tcp://*:65536"]),
        ("gateway", "listen", "127.0.0.1:99999"),
        ("supervision", "silence", 0),
        ("supervision", "boot_grace", -1),
        ("supervision", "drain", "5s"),
        ("callers.web", "key", "short"),
        ("callers.web", "admin", "yes"),
    ],
)
def test_the_other_tables_too(where: str, key: str, value: Any) -> None:
    place = f"amid.toml: [{where}] {key}: " if where else f"amid.toml {key}: "
    assert any(p.startswith(place) for p in problems(with_key(where, key, value))), problems(with_key(where, key, value))


# ── unknown keys ──

MISSPELT = {
    "servers.pbx1": ("usrname", "username"),
    "rpc": ("max_call", "max_calls"),
    "supervision": ("silense", "silence"),
    "callers.web": ("denny", "deny"),
    "curve": ("secret_keyfile", "secret_key_file"),
    "": ("rundir", "run_dir"),
}


@pytest.mark.parametrize("where", MISSPELT, ids=str)
def test_an_unknown_key_is_refused_with_the_one_that_was_meant(where: str) -> None:
    key, meant = MISSPELT[where]
    (wrong,) = problems(with_key(where, key, "x"))
    place = f"amid.toml: [{where}] " if where else "amid.toml "
    assert wrong == f"{place}{key}: unknown key; did you mean {meant!r}?"


def test_an_unknown_key_that_resembles_none_is_told_what_there_is() -> None:
    (wrong,) = problems(one(zzz=1))
    assert wrong.startswith("amid.toml: [servers.pbx1] zzz: unknown key (known: host, username")


def test_an_unknown_table_is_refused() -> None:
    (wrong,) = problems({**one(), "server": {"pbx1": SERVER}})
    assert wrong == "amid.toml server: unknown key; did you mean 'servers'?"


def test_every_problem_is_told_at_once() -> None:
    wrong = problems({"run_dir": "relative", "servers": {"pbx1": {"host": 7, "port": 0}, "p b x": SERVER}, "rpc": {"max_calls": 0}})
    for said in ("run_dir", "[servers.pbx1] host", "[servers.pbx1] port", "[servers.p b x]", "[rpc] max_calls"):
        assert any(said in problem for problem in wrong), said


@pytest.mark.parametrize("missing", ["host", "username"])
def test_what_a_server_needs_is_asked_for(missing: str) -> None:
    keys = {key: value for key, value in SERVER.items() if key != missing}
    (wrong,) = problems({"run_dir": "/run/amid", "servers": {"pbx1": keys}})
    assert wrong == f"amid.toml: [servers.pbx1]: missing required field '{missing}'"


def test_no_server_at_all() -> None:
    (wrong,) = problems({"run_dir": "/run/amid"})
    assert "[servers.NAME]" in wrong


@pytest.mark.parametrize("name", ["", "a.b", "a b", "a/b", "é", "x" * 33, "a\n"])
def test_a_servers_name_is_part_of_topics_and_of_files(name: str) -> None:
    assert "a name is 1 to 32 letters" in "".join(problems({"run_dir": "/run/amid", "servers": {name: SERVER}}))


# ── run_dir ──


def test_a_run_dir_is_absolute() -> None:
    (wrong,) = problems({**one(), "run_dir": "run"})
    assert wrong == "amid.toml run_dir: must be an absolute path, not 'run'"


@pytest.mark.parametrize(("run_dir", "name"), [("/" + "x" * 200, "a"), ("/" + "x" * 80, "n" * 32), ("/" + "é" * 48, "pbx1")])
def test_a_run_dir_too_long_for_a_socket_is_refused(run_dir: str, name: str) -> None:
    (wrong,) = problems({"run_dir": run_dir, "servers": {name: SERVER}})
    assert wrong == "amid.toml run_dir: too long; a socket's path may have 107 bytes"


def test_the_longest_run_dir_is_taken() -> None:
    run_dir = "/" + "x" * (107 - len("/stream-pbx1") - 1)
    assert check({**one(), "run_dir": run_dir}).run_dir == run_dir


def test_where_the_run_dir_is_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setenv("AMID_RUN_DIR", "/run/named")
    assert check({"servers": {"pbx1": SERVER}}).run_dir == "/run/named"
    monkeypatch.delenv("AMID_RUN_DIR")
    assert configuration.default_run_dir() == "/run/amid"
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    assert configuration.default_run_dir() == "/run/user/1000/amid"


# ── secrets ──


def without_secret(**keys: Any) -> dict[str, Any]:
    return {"run_dir": "/run/amid", "servers": {"pbx1": {"host": "127.0.0.1", "username": "amid", **keys}}}


def secret_file(folder: Path, text: str, mode: int = 0o600) -> str:
    file = folder / "secret"
    file.write_text(text)
    file.chmod(mode)
    return file.name


def test_a_secret_stands_on_the_first_line_of_its_file_beside_the_configuration(tmp_path: Path) -> None:
    name = secret_file(tmp_path, " ge heim \nmore\n")
    assert check(without_secret(secret_file=name), tmp_path).servers["pbx1"].secret == " ge heim "


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o666])
def test_a_secret_that_everybody_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    (wrong,) = problems(without_secret(secret_file=secret_file(tmp_path, "geheim\n", mode)), tmp_path)
    assert wrong.startswith("amid.toml: [servers.pbx1] secret_file: ") and "chmod o-r" in wrong
    assert "geheim" not in wrong


def test_a_group_may_read_a_secret(tmp_path: Path) -> None:
    assert check(without_secret(secret_file=secret_file(tmp_path, "geheim\n", 0o640)), tmp_path).servers["pbx1"].secret == "geheim"


@pytest.mark.parametrize("text", ["", "\n", "\ngeheim\n"], ids=["empty", "an empty line", "an empty first line"])
def test_an_empty_secret_file_is_refused(tmp_path: Path, text: str) -> None:
    (wrong,) = problems(without_secret(secret_file=secret_file(tmp_path, text)), tmp_path)
    assert wrong.endswith("is empty")


def test_a_secret_file_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    (wrong,) = problems(without_secret(secret_file="none"), tmp_path)
    assert wrong == f"amid.toml: [servers.pbx1] secret_file: {tmp_path}/none: No such file or directory"
    (tmp_path / "noise").write_bytes(b"\xff\xfe\n")
    (tmp_path / "noise").chmod(0o600)
    (wrong,) = problems(without_secret(secret_file="noise"), tmp_path)
    assert "secret_file" in wrong and "noise" in wrong


def test_two_secrets_are_one_too_many(tmp_path: Path) -> None:
    name = secret_file(tmp_path, "geheim\n")
    (wrong,) = problems(without_secret(secret="geheim", secret_file=name), tmp_path)
    assert wrong == "amid.toml: [servers.pbx1]: both secret and secret_file; keep one"


def test_a_credential_of_systemd_is_found_by_the_servers_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pbx1.secret").write_text("geheim\n")
    (tmp_path / "pbx1.secret").chmod(0o400)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert check(without_secret()).servers["pbx1"].secret == "geheim"
    (wrong,) = problems({"run_dir": "/run/amid", "servers": {"pbx2": {"host": "h", "username": "u"}}})
    assert "credential named pbx2.secret" in wrong


def test_no_secret_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    (wrong,) = problems(without_secret())
    assert wrong.startswith("amid.toml: [servers.pbx1]: no secret; give secret_file, secret, or a systemd credential")


def test_what_is_shown_hides_every_secret() -> None:
    config = check({**one(), "curve": {"secret_key": "k" * 40}})
    shown = json.dumps(configuration.shown(config))
    assert "geheim" not in shown and "k" * 40 not in shown
    assert configuration.shown(config)["servers"]["pbx1"]["secret"] == "***"


# ── TLS and TCP ──


def test_tls_files_without_tls_would_not_be_used(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("")
    wrong = problems(one(tls_ca=str(tmp_path / "ca.pem")))
    assert any("[servers.pbx1] tls: is false, so tls_ca would not be used" in problem for problem in wrong)


def test_a_certificate_needs_its_key(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("")
    wrong = problems(one(tls=True, tls_cert=str(tmp_path / "cert.pem")))
    assert any("tls_cert: needs tls_key" in problem for problem in wrong)


@pytest.mark.parametrize("where", ["rpc", "servers.pbx1"])
def test_tcp_without_a_key_is_refused(where: str) -> None:
    key = "listen" if where == "rpc" else "events_listen"
    wrong = problems(with_key(where, key, ["tcp://*:5555"]))
    assert any(f"[{where}] {key}: TCP needs a key" in problem for problem in wrong), wrong


@pytest.mark.parametrize("key", ["tls_ca", "tls_key"])
def test_a_file_that_holds_no_certificate_or_key_is_refused_here_and_not_first_in_a_reader(tmp_path: Path, key: str) -> None:
    (tmp_path / "noise.pem").write_text("noise\n")
    (tmp_path / "noise.pem").chmod(0o600)
    files = {key: str(tmp_path / "noise.pem")}
    if key != "tls_ca":
        files = {"tls_cert": str(tmp_path / "noise.pem"), "tls_key": str(tmp_path / "noise.pem")}
    (wrong,) = problems(one(tls=True, **files))
    assert wrong.startswith(f"amid.toml: [servers.pbx1] {key}: {tmp_path}/noise.pem holds none")


def test_tls_files_are_beside_the_configuration(tmp_path: Path) -> None:
    certificate(tmp_path, "own")
    secret_file(tmp_path, "geheim\n")
    files = 'tls_ca = "own.pem"\ntls_cert = "own.pem"\ntls_key = "own.key"\n'
    file = tmp_path / "amid.toml"
    file.write_text(f'[servers.pbx1]\nhost = "h"\nusername = "u"\nsecret_file = "secret"\ntls = true\n{files}')
    server = configuration.load(file).servers["pbx1"]
    assert (server.tls_ca, server.tls_key) == (f"{tmp_path}/own.pem", f"{tmp_path}/own.key")
    (tmp_path / "own.key").chmod(0o644)
    with pytest.raises(ConfigError, match=r"tls_key: .*own\.key can be read by everybody"):
        configuration.load(file)


# ── the file ──


def test_a_file_is_read_with_secrets_beside_it(tmp_path: Path) -> None:
    secret_file(tmp_path, "geheim\n")
    file = tmp_path / "amid.toml"
    file.write_text('run_dir = "/run/x"\n[servers.pbx1]\nhost = "h"\nusername = "u"\nsecret_file = "secret"\n')
    config = configuration.load(file)
    assert (config.run_dir, config.servers["pbx1"].secret) == ("/run/x", "geheim")


FILES = {
    "no TOML": (b"[servers", "not TOML"),
    "not UTF-8": (b'run_dir = "\xff"', "not TOML"),
    "a key twice": (b'run_dir = "/a"\nrun_dir = "/b"', "not TOML"),
    "a NUL": (b'run_dir = "/a\x00"', "not TOML"),
    "empty": (b"", "no server"),
}


@pytest.mark.parametrize(("data", "said"), FILES.values(), ids=FILES)
def test_a_file_that_is_not_right_is_refused_by_its_name(tmp_path: Path, data: bytes, said: str) -> None:
    file = tmp_path / "amid.toml"
    file.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        configuration.load(file)
    assert str(caught.value).startswith(f"{file}: ") and said in str(caught.value)


def test_a_file_that_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(ConfigError, match=r"write one .* or name it with -c"):
            configuration.load(path)


# ── the gateway ──

TOKENS = """
[crm]
token = "0123456789abcdefghij"
"""


def with_gateway(folder: Path, tokens: str | None = TOKENS, mode: int = 0o600, **keys: Any) -> Config:
    if tokens is not None:
        (folder / "tokens.toml").write_text(tokens)
        (folder / "tokens.toml").chmod(mode)
        keys.setdefault("tokens_file", "tokens.toml")
    return check({"servers": {}, "gateway": keys}, folder)


def test_a_gateway_with_its_tokens(tmp_path: Path) -> None:
    config = with_gateway(tmp_path, listen="[::1]:8088")
    assert config.gateway is not None and config.gateway.tokens["crm"].token == "0123456789abcdefghij"
    assert shown(config)["gateway"]["tokens"]["crm"]["token"] == "***"
    assert check({"servers": {}}, tmp_path).gateway is None


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"tokens": None}, "nobody could use it: give tokens_file"),
        ({"tokens": ""}, "has no table"),
        ({"tokens": "[a"}, "tokens.toml: "),
        ({"tokens": '[a]\ntoken = "short"'}, r"\[a\] token: "),
        ({"tokens": '[a]\ntoken = "0123456789abcdefghi j"'}, r"\[a\] token: must be 20 to 200 letters"),
        ({"tokens": '[a]\ntoken = "0123456789abcdefghij"\nalow = []'}, "did you mean 'allow'"),
        ({"tokens": TOKENS + TOKENS.replace("crm", "other")}, "two names have the same token"),
        ({"mode": 0o644}, "can be read by everybody"),
        ({"listen": "8088"}, r"\[gateway\] listen: must be"),
        ({"origins": ["crm.example.com"]}, r"\[gateway\] origins: must be"),
        ({"port": 80}, "unknown key"),
    ],
)
def test_a_gateway_that_is_not_right(tmp_path: Path, keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        with_gateway(tmp_path, **keys)
