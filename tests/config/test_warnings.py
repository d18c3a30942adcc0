"""Careless values cause one warning each; careful values cause none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from amid.config import load as configuration
from tests.config.samples import KEY, SERVER, certain_tokens, one, problems, secret_file, without_secret

REMOTE = {"host": "pbx.example.com"}
WHO: dict[str, tuple[str, dict[str, Any]]] = {
    "user": ("root", {}),
    "group": ("root", {}),
    "key": (KEY, {"rpc": {"listen": ["tcp://127.0.0.1:8765"]}, "curve": {"secret_key": "k" * 40}}),
    "nats": ("web", {"nats": {"servers": "nats://127.0.0.1:4222"}}),
}
"""The keys by which a caller is known, each with a value and with the tables that it needs."""
CARELESS: dict[str, tuple[dict[str, Any], str]] = {
    "the gateway on all addresses": ({"gateway": {"listen": "0.0.0.0:8088"}}, "[gateway] listen: 0.0.0.0:8088 is not on loopback"),
    "the gateway on all of IPv6": ({"gateway": {"listen": "[::]:8088"}}, "[gateway] listen: [::]:8088 is not on loopback"),
    "the gateway on a name": ({"gateway": {"listen": "pbx:80"}}, "[gateway] listen: pbx:80 is not on loopback"),
    "NATS without TLS": (
        {"servers": {}, "nats": {"servers": "nats://far:4222"}},
        "[nats] servers: without TLS, calls and events go to",
    ),
    "NATS without credentials": ({"servers": {}, "nats": {"servers": "tls://far:4222"}}, "[nats]: gives no credentials"),
    "a page without TLS": ({"gateway": {"origins": ["http://crm.example.com"]}}, "[gateway] origins: http://crm.example.com"),
    "the secret in clear text": (one(auth="plain"), '[servers.pbx1] auth: is "plain" without TLS'),
    "any certificate": (one(tls=True, tls_verify=False), "[servers.pbx1] tls_verify: is false"),
    "a PBX far away without TLS": (one(**REMOTE), "[servers.pbx1] tls: is false: calls and events to and from pbx.example.com"),
    "a misspelt action": (one(allow=["Pingg"]), "[servers.pbx1] allow: 'Pingg' is not a known action; did you mean 'ping'?"),
    "a misspelt action with a pattern": (one(deny=["Orignate: *@sales"]), "[servers.pbx1] deny: 'Orignate' is not a known action"),
    "a wildcard that matches nothing": (one(deny=["Qeue*"]), "[servers.pbx1] deny: 'Qeue*' matches no known action"),
    "a caller's misspelt action": (
        one() | {"callers": {"local": {"allow": ["Hangupp"]}}},
        "[callers.local] allow: 'Hangupp' is not a known action",
    ),
    "a caller that nobody is": (one() | {"callers": {"web": {"admin": True}}}, "[callers.web]: applies to nobody"),
    "a caller on NATS without NATS": (
        one() | {"callers": {"crm": {"nats": "crm"}}},
        "[callers.crm] nats: has no effect without a table [nats]",
    ),
    "a caller over TCP without TCP": (
        one() | {"callers": {"crm": {"key": "k" * 40}}},
        "[callers.crm] key: has no effect without listen in [rpc]",
    ),
    "an action of another module": (one(allow=["MyAction"]), "[servers.pbx1] allow: 'MyAction' is not a known action"),
    "a context as a rule": (
        one(deny=["Originate: default"]),
        "[servers.pbx1] deny: 'Originate: default' is a rule for an application; for the extensions of a context",
    ),
    "a context with a dash as a rule": (
        one(allow=["originate: from-internal"]),
        "[servers.pbx1] allow: 'originate: from-internal' is a",
    ),
    "history without a recorder": (
        one() | {"callers": {"local": {"history": True}}},
        "[callers.local] history: has no effect without a table [recorder]",
    ),
    "a short secret": (one(secret="kurz"), "[servers.pbx1]: a secret of fewer than 6 characters"),
}
RIGHT: dict[str, dict[str, Any]] = {
    "the gateway on loopback": {"gateway": {}},
    "the gateway on IPv6's loopback": {"gateway": {"listen": "[::1]:8088"}},
    "the gateway on localhost": {"gateway": {"listen": "localhost:8088"}},
    "a page with TLS": {"gateway": {"origins": ["https://crm.example.com", "http://localhost:3000"]}},
    "a PBX far away with TLS": one(**REMOTE, tls=True),
    "a PBX here": one(),
    "actions that Asterisk has": one(allow=["Ping", "queue*", "Originate: *@sales", "*", "*: *", "WaitEvent"], deny=["Db*"]),
    "rules for targets": one(
        allow=["Redirect", "Redirect: *", "Redirect: *@from-internal", "Originate: Playback", "Originate: x-*@y"]
    ),
    "history with a recorder": one() | {"callers": {"local": {"history": "masked"}}, "recorder": {}},
    "actions that an older Asterisk had": one(allow=["Queues", "KonferenceList", "DataGet"]),
    "the secret in clear text within TLS": one(tls=True, auth="plain"),
    **{f"a caller with a {key}": one() | {"callers": {"web": {key: value}}} | more for key, (value, more) in WHO.items()},
}


def warnings(raw: dict[str, Any], folder: Path) -> list[str]:
    found: list[str] = []
    if "gateway" in raw:
        raw = {**raw, "servers": {}, "gateway": {**raw["gateway"], "tokens_file": certain_tokens(folder)}}
    configuration.check({"run_dir": "/run/amid", **raw}, "amid.toml", folder, warn=found.append)
    return found


@pytest.mark.parametrize(("raw", "said"), CARELESS.values(), ids=CARELESS)
def test_careless_values_are_warned_about(tmp_path: Path, raw: dict[str, Any], said: str) -> None:
    (warning,) = warnings(raw, tmp_path)
    assert warning.startswith(f"amid.toml: {said}")


@pytest.mark.parametrize("raw", RIGHT.values(), ids=RIGHT)
def test_careful_values_give_no_warning(tmp_path: Path, raw: dict[str, Any]) -> None:
    assert warnings(raw, tmp_path) == []


def test_a_token_with_history_without_a_recorder_is_warned_about(tmp_path: Path) -> None:
    (tmp_path / "tokens.toml").touch(0o600)
    (tmp_path / "tokens.toml").write_text('[crm]\ntoken = "0123456789abcdefghij"\nhistory = true\n')
    raw, found = {"run_dir": "/run/amid", "servers": {}, "gateway": {"tokens_file": "tokens.toml"}}, list[str]()
    configuration.check(raw, "amid.toml", tmp_path, warn=found.append)
    assert found == [f"{tmp_path}/tokens.toml: [crm] history: has no effect without a table [recorder] in amid.toml"]
    configuration.check({**raw, "recorder": {}}, "amid.toml", tmp_path, warn=found.append)
    assert len(found) == 1


# ── what was copied from an example ──


@pytest.mark.parametrize("secret", ["CHANGE-ME", "change-me", "Change-Me-please", "…"])
@pytest.mark.parametrize("inline", [True, False], ids=["inline", "a file"])
def test_the_secret_of_an_example_is_refused(tmp_path: Path, secret: str, inline: bool) -> None:
    raw = one(secret=secret) if inline else without_secret(secret_file=secret_file(tmp_path, f"{secret}\n"))
    key = "secret" if inline else "secret_file"
    assert problems(raw, tmp_path) == [
        f"amid.toml: [servers.pbx1] {key}: contains the secret of an example; choose another secret for the manager user"
    ]


def test_the_tokens_of_the_example_are_refused(tmp_path: Path) -> None:
    """etc/tokens.toml as it is shipped, with a token for all rights."""
    tokens = Path(__file__).parents[2] / "etc/tokens.toml"
    (tmp_path / "tokens.toml").touch(0o600)
    (tmp_path / "tokens.toml").write_text(tokens.read_text())
    wrong = problems({"servers": {"pbx1": SERVER}, "gateway": {"tokens_file": "tokens.toml"}}, tmp_path)
    for name, said in zip(("operator", "wallboard", "click-to-dial"), wrong, strict=True):
        assert f"tokens.toml: [{name}] token: is the token of the example file" in said
    assert "CHANGE-ME" not in str(wrong)
