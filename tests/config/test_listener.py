"""`[listener]`, and the users that its file names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from amid.config.load import check
from amid.config.masking import secrets_of, shown
from amid.config.report import ConfigError
from amid.config.tables import Config

USERS = "[crm]\nsecret = geheim-genug\nread = all\nwrite = call\nallow = Originate: *@sales\n"
SERVER = {"host": "127.0.0.1", "port": 15038, "username": "amid", "secret": "geheim"}


def with_listener(folder: Path, users: str | None = USERS, mode: int = 0o600, servers: int = 1, **keys: Any) -> Config:
    """Raises `ConfigError`."""
    if users is not None:
        file = folder / "users.conf"
        file.write_text(users)
        file.chmod(mode)
        keys.setdefault("users_file", "users.conf")
    raw = {"run_dir": str(folder), "servers": {f"pbx{number}": SERVER for number in range(servers)}, "listener": keys}
    return check(raw, "amid.toml", folder)


def test_a_listener_with_its_users(tmp_path: Path) -> None:
    config = with_listener(tmp_path, listen="127.0.0.1:5138")
    assert config.listener is not None and config.listener.listen == ("127.0.0.1:5138",)
    assert config.listener.users["crm"].allow == ["Originate: *@sales"]
    assert shown(config)["listener"]["users"]["crm"]["secret"] == "***" and "geheim-genug" in secrets_of(config)
    plain = with_listener(tmp_path).listener
    assert plain is not None and plain.listen == ("127.0.0.1:5038",)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"users": None}, r"\[listener\]: users_file is missing"),
        ({"users": None, "users_file": "none.conf"}, r"\[listener\] users_file: .*none.conf"),
        ({"users": "[crm]\nread = all\n"}, r"users.conf: \[crm\] secret: is missing"),
        ({"users": ""}, r"users.conf: has no section"),
        ({"users": "[a]\nsecret = change-me\n"}, r"\[a\] secret: is the one of an example"),
        ({"users": "[a]\nsecret = geheim-genug\nserver = pbx7\n"}, r"\[a\] server: there is no server 'pbx7'"),
        ({"servers": 2}, r"\[crm\] server: is missing: name one of pbx0, pbx1"),
        ({"servers": 0}, r"\[listener\]: there is no \[servers.NAME\] for it"),
        ({"servers": 0, "listen": "5038"}, r"\[listener\]: there is no \[servers.NAME\] for it"),
        ({"servers": 0, "users": None}, r"\[listener\]: there is no \[servers.NAME\] for it"),
        ({"mode": 0o644}, r"users.conf can be read by everybody"),
        ({"listen": []}, r"\[listener\] listen: is empty"),
        ({"tls_listen": "127.0.0.1:5039"}, r"\[listener\] tls_listen: needs tls_cert and tls_key"),
        ({"listen": "5038"}, r"\[listener\] listen: must be an address and a port"),
    ],
)
def test_a_listener_that_is_not_right(tmp_path: Path, keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        with_listener(tmp_path, **keys)


def test_a_wrong_server_is_the_only_problem(tmp_path: Path) -> None:
    (tmp_path / "users.conf").write_text(USERS)
    (tmp_path / "users.conf").chmod(0o600)
    raw = {"servers": {"pbx1": {**SERVER, "port": "x"}}, "listener": {"users_file": "users.conf"}}
    with pytest.raises(ConfigError) as caught:
        check({"run_dir": str(tmp_path), **raw}, "amid.toml", tmp_path)
    assert "\n" not in str(caught.value) and "port" in str(caught.value)
