"""The configuration: one TOML file. `tables` has its keys, `load` reads and checks it; nothing starts on a doubt."""

from amid.config.load import (
    DEFAULT_FILE,
    ConfigError,
    check,
    default_run_dir,
    load,
    read_secret,
    secrets_of,
    shown,
    web_is_installed,
)
from amid.config.tables import Caller, Config, Curve, Gateway, Rpc, Server, Supervision, Token

__all__ = [
    "DEFAULT_FILE",
    "Caller",
    "Config",
    "ConfigError",
    "Curve",
    "Gateway",
    "Rpc",
    "Server",
    "Supervision",
    "Token",
    "check",
    "default_run_dir",
    "load",
    "read_secret",
    "secrets_of",
    "shown",
    "web_is_installed",
]
