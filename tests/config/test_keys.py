"""Keys and tables: every wrong value, unknown name and missing key is refused, by file, table and key."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from amid.config import load as configuration
from amid.config.tables import DERIVED, GROUPS, TABLES, Config, Server, Table
from tests.config.samples import SERVER, check, one, problems, with_key


def test_a_minimal_configuration_is_accepted() -> None:
    config = check(one())
    assert config.servers["pbx1"] == Server(host="127.0.0.1", username="amid", secret="geheim")
    assert (config.servers["pbx1"].tcp_port, config.log_level) == (5038, "info")
    assert config.callers["local"].admin, "a user who may use the ipc socket may restart a reader"
    assert check(one(tls=True)).servers["pbx1"].tcp_port == 5039


# ── every key, wrong ──

SECTIONS: dict[str, type[Table]] = {"": Config, **TABLES}
KEYS = [
    (f"{name}.pbx1" if name in GROUPS else name, field.name)
    for name, kind in SECTIONS.items()
    for field in msgspec.structs.fields(kind)
    if field.name not in DERIVED and (name or field.name not in TABLES)
]


@pytest.mark.parametrize("value", [{"a": 1}, 1.5j, [[]]], ids=["a table", "no TOML value", "a list of lists"])
@pytest.mark.parametrize(("where", "key"), KEYS, ids=[f"{where}.{key}" for where, key in KEYS])
def test_every_key_refuses_a_wrong_type_by_its_name(where: str, key: str, value: Any) -> None:
    place = f"amid.toml: [{where}] {key}: " if where else f"amid.toml: {key}: "
    wrong = problems(with_key(where, key, value))
    assert any(problem.startswith(place) for problem in wrong), wrong


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("value", [7, "text", [], True], ids=repr)
def test_a_table_must_be_a_table(name: str, value: Any) -> None:
    assert any(name in problem for problem in problems({**one(), name: value}))


IMPOSSIBLE: dict[str, list[Any]] = {
    "host": ["", "x" * 256, "127.0.0.1\0"],
    "username": [""],
    "port": [0, -1, 65536, "5038", True],
    "auth": ["MD5", "sha", ""],
    "tls": ["yes", 1],
    "events": ["", 7, "nosuch", "system,nosuch", "call, agent", "call,", "4294967295"],
    "lanes": [0, -1, 65, 1.5, "4"],
    "queue": [0, 10**7],
    "events_listen": [
        "tcp://*:1",
        ["ipc:///x"],
        ["tcp://*"],
        ["tcp://a b:1"],
        [""],
        ["tcp://*:99999"],
        ["tcp://*:0"],
        ["tcp://a\0:1"],
    ],
    "allow": ["Ping", [""], [7], ["QueueStatus: support"], ["Nonsense:"], ["Command:"], [": x"]],
    "silence": [0, -1, 3601, "10", float("nan"), float("inf")],
    "pong": [0],
    "login_timeout": [0],
    "reconnect_min": [0, 31.0],
    "reconnect_max": [0, 0.1],
    "replay_bytes": [-1, 0, 131_071, 2**40],
    "max_reply_bytes": [0, 1023, 2**40],
    "secret": [7, "", "a\r\nb"],
    "tls_ca": ["/nowhere/ca.pem"],
}
VALUES = [(key, value) for key, values in IMPOSSIBLE.items() for value in values]


@pytest.mark.parametrize(("key", "value"), VALUES, ids=[f"{key}={value!r:.20}" for key, value in VALUES])
def test_an_invalid_value_is_refused_by_file_table_and_key(key: str, value: Any) -> None:
    wrong = problems(one(**{key: value}))
    other = {"reconnect_max": "reconnect_min", "tls_ca": "tls_ca"}.get(key, key)
    assert any(p.startswith((f"amid.toml: [servers.pbx1] {key}: ", f"amid.toml: [servers.pbx1] {other}: ")) for p in wrong), wrong


@pytest.mark.parametrize("mask", ["on", "off", "Yes", "none", "all", "call,agent", "system", "0", "3"])
def test_an_event_mask_of_known_classes_is_accepted(mask: str) -> None:
    assert check(one(events=mask)).servers["pbx1"].events == mask


def test_an_unknown_class_of_events_is_refused_with_a_suggestion() -> None:
    (wrong,) = problems(one(events="system,agents"))
    assert wrong.startswith("amid.toml: [servers.pbx1] events: 'agents' is not a class") and wrong.endswith("did you mean 'agent'?")


@pytest.mark.parametrize("where", ["servers.pbx1", "callers.local"])
@pytest.mark.parametrize("key", ["allow", "deny"])
@pytest.mark.parametrize("rule", ["QueueStatus: support", "Redirect: default", "blindtransfer: 100"])
def test_a_rule_that_matches_nothing_is_refused(where: str, key: str, rule: str) -> None:
    (problem,) = problems(with_key(where, key, ["Ping", "QueueAdd: PJSIP/*", rule]))
    assert problem.startswith(f"amid.toml: [{where}] {key}: {rule!r} matches nothing")


@pytest.mark.parametrize(
    ("where", "key", "value"),
    [
        ("", "log_level", "loud"),
        ("rpc", "max_request_bytes", 10),
        ("rpc", "max_calls", 0),
        ("rpc", "listen", ["tcp://*:99999x"]),
        ("rpc", "listen", ["tcp://*:65536"]),
        ("gateway", "listen", "127.0.0.1:99999"),
        ("gateway", "listen", "127.0.0.1\0:8088"),
        ("gateway", "origins", ["http://a\0"]),
        ("nats", "servers", "nats://a\0:4222"),
        ("nats", "servers", "http://nats:4222"),
        ("nats", "servers", "nats://amid:secret@nats:4222"),
        ("nats", "servers", []),
        ("nats", "servers", "nats://nats:99999"),
        ("nats", "prefix", "a.b"),
        ("nats", "prefix", "Amid"),
        ("nats", "instance", "a b"),
        ("nats", "replicas", 0),
        ("nats", "max_age", -1),
        ("nats", "lease_ttl", 0.5),
        ("callers.web", "nats", "crm.*"),
        ("supervision", "silence", 0),
        ("supervision", "boot_grace", -1),
        ("supervision", "drain", "5s"),
        ("callers.web", "key", "short"),
        ("callers.web", "admin", "yes"),
    ],
)
def test_invalid_values_in_other_tables_are_refused(where: str, key: str, value: Any) -> None:
    place = f"amid.toml: [{where}] {key}: " if where else f"amid.toml: {key}: "
    assert any(p.startswith(place) for p in problems(with_key(where, key, value))), problems(with_key(where, key, value))


WORDS: list[tuple[str, str, Any, str]] = [
    ("servers.pbx1", "port", "5038", "must be a whole number of at least 1 and at most 65,535, without quotes"),
    ("servers.pbx1", "lanes", 0, "must be a whole number of at least 1 and at most 64"),
    ("servers.pbx1", "silence", 0, "must be a number of seconds, over 0 and at most 3,600"),
    ("servers.pbx1", "auth", "sha", 'must be "md5" or "plain"'),
    ("servers.pbx1", "tls", "yes", "must be true or false, without quotes"),
    ("servers.pbx1", "allow", ["Queue:"], "must be a list, each item the name of an action, optionally followed by a colon"),
    ("servers.pbx1", "host", "h:5038", "must be a host name or an address, without port or brackets"),
    ("servers.pbx1", "username", 7, "must be one line of 1 to 255 characters"),
    ("supervision", "silence", 0.5, "must be a number of at least 1 and at most 3,600"),
    ("callers.web", "history", "mask", 'must be true, false or "masked"'),
    ("recorder", "keep_bytes", "20 gigs", 'must be a size such as "20 GiB"'),
    ("recorder", "leave_out", "VarSet", "must be a list, each item 1 to 255 characters of text"),
    ("gateway", "listen", "8088", 'must be an address and a port such as "127.0.0.1:8088"'),
]


@pytest.mark.parametrize(("where", "key", "value", "words"), WORDS)
def test_the_error_describes_valid_values(where: str, key: str, value: Any, words: str) -> None:
    wrong = problems(with_key(where, key, value))
    (found,) = (problem for problem in wrong if problem.startswith(f"amid.toml: [{where}] {key}: {words}"))
    assert ("without quotes" in found) == ("without quotes" in words)


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
def test_an_unknown_key_is_refused_with_a_suggestion(where: str) -> None:
    key, meant = MISSPELT[where]
    (wrong,) = problems(with_key(where, key, "x"))
    place = f"amid.toml: [{where}] " if where else "amid.toml: "
    assert wrong == f"{place}{key}: unknown key; did you mean {meant!r}?"


def test_an_unknown_key_without_suggestion_lists_the_keys() -> None:
    (wrong,) = problems(one(zzz=1))
    assert wrong.startswith("amid.toml: [servers.pbx1] zzz: unknown key (known: host, username")


@pytest.mark.parametrize("table", ["servers.pbx1", "rpc"])
def test_a_key_of_the_top_in_a_table_is_refused_with_its_place(table: str) -> None:
    (wrong,) = problems(with_key(table, "log_level", "debug"))
    place = "it belongs at the top of the file, before the first [table]"
    assert wrong == f"amid.toml: [{table}] log_level: unknown key: {place}"


@pytest.mark.parametrize("key", ["tls_cert", "tls_key"])
def test_tls_of_the_gateway_is_refused_with_what_does_it(key: str) -> None:
    (wrong,) = problems(with_key("gateway", key, "gateway.pem"))
    what = "the gateway speaks plain HTTP; put a proxy with TLS in front of it"
    assert wrong == f"amid.toml: [gateway] {key}: unknown key: {what} (etc/doc/http.md, Behind a proxy)"
    assert "\n## Behind a proxy\n" in (Path(__file__).parents[2] / "etc/doc/http.md").read_text()


def test_an_unknown_table_is_refused() -> None:
    (wrong,) = problems({**one(), "server": {"pbx1": SERVER}})
    assert wrong == "amid.toml: server: unknown key; did you mean 'servers'?"


def test_all_problems_are_reported_at_once() -> None:
    wrong = problems({"run_dir": "relative", "servers": {"pbx1": {"host": 7, "port": 0}, "p b x": SERVER}, "rpc": {"max_calls": 0}})
    for said in ("run_dir", "[servers.pbx1] host", "[servers.pbx1] port", "[servers.p b x]", "[rpc] max_calls"):
        assert any(said in problem for problem in wrong), said


@pytest.mark.parametrize("missing", ["host", "username"])
def test_required_keys_of_a_server_are_reported(missing: str) -> None:
    keys = {key: value for key, value in SERVER.items() if key != missing}
    (wrong,) = problems({"run_dir": "/run/amid", "servers": {"pbx1": keys}})
    assert wrong == f"amid.toml: [servers.pbx1] {missing}: is missing"


def test_a_configuration_without_servers_is_refused() -> None:
    (wrong,) = problems({"run_dir": "/run/amid"})
    assert "[servers.NAME]" in wrong


def test_keys_of_a_server_without_a_name_are_reported_together() -> None:
    (wrong,) = problems({"run_dir": "/run/amid", "servers": SERVER})
    assert wrong == f"amid.toml: [servers]: {', '.join(SERVER)} must be in a table [servers.NAME]"


@pytest.mark.parametrize("name", ["", "a.b", "a b", "a/b", "é", "x" * 33, "a\n"])
def test_a_servers_name_must_be_valid_in_topics_and_files(name: str) -> None:
    assert "a name is 1 to 32 letters" in "".join(problems({"run_dir": "/run/amid", "servers": {name: SERVER}}))


# ── run_dir ──


def test_a_run_dir_must_be_absolute() -> None:
    (wrong,) = problems({**one(), "run_dir": "run"})
    assert wrong == "amid.toml: run_dir: must be an absolute path, without line ends or NUL"


@pytest.mark.parametrize(("run_dir", "name"), [("/" + "x" * 200, "a"), ("/" + "x" * 80, "n" * 32), ("/" + "é" * 48, "pbx1")])
def test_a_run_dir_too_long_for_a_socket_is_refused(run_dir: str, name: str) -> None:
    (wrong,) = problems({"run_dir": run_dir, "servers": {name: SERVER}})
    path = f"{run_dir}/events-{name}"
    assert wrong == f"amid.toml: run_dir: too long: a socket's path may have 107 bytes, and {path} has {len(path.encode())}"


def test_the_longest_run_dir_is_accepted() -> None:
    run_dir = "/" + "x" * (107 - len("/stream-pbx1") - 1)
    assert check({**one(), "run_dir": run_dir}).run_dir == run_dir


def test_the_default_run_dir(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setenv("AMID_RUN_DIR", "/run/named")
    assert check({"servers": {"pbx1": SERVER}}).run_dir == "/run/named"
    monkeypatch.delenv("AMID_RUN_DIR")
    assert configuration.default_run_dir() == "/run/amid"
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    assert configuration.default_run_dir() == "/run/user/1000/amid"
