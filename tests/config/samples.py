"""Sample configurations, and their problems."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from amid.config import load as configuration
from amid.config.report import ConfigError
from amid.config.tables import Config

SERVER = {"host": "127.0.0.1", "username": "amid", "secret": "geheim"}
KEY = "y" * 40
TOKENS = """
[crm]
token = "0123456789abcdefghij"
"""


def check(raw: dict[str, Any], folder: Path = Path("/nowhere")) -> Config:
    return configuration.check(raw, "amid.toml", folder)


def one(**keys: Any) -> dict[str, Any]:
    """A configuration of one server with additional `keys`."""
    return {"run_dir": "/run/amid", "servers": {"pbx1": {**SERVER, **keys}}}


def problems(raw: dict[str, Any], folder: Path = Path("/nowhere")) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        check(raw, folder)
    return str(caught.value).split("\n")


def with_key(where: str, key: str, value: Any) -> dict[str, Any]:
    raw: dict[str, Any] = {**one(), "callers": {"web": {"key": KEY}}}
    table = raw
    for name in where.split(".") if where else ():
        table = table.setdefault(name, {})
    table[key] = value
    return raw


def without_secret(**keys: Any) -> dict[str, Any]:
    return {"run_dir": "/run/amid", "servers": {"pbx1": {"host": "127.0.0.1", "username": "amid", **keys}}}


def secret_file(folder: Path, text: str, mode: int = 0o600) -> str:
    file = folder / "secret"
    file.write_text(text)
    file.chmod(mode)
    return file.name


def certain_tokens(folder: Path) -> str:
    """The name of a valid tokens file."""
    file = folder / "tokens.toml"
    file.touch(0o600)
    file.write_text('[crm]\ntoken = "0123456789abcdefghij"\n')
    return file.name
