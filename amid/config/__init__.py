"""The configuration: one TOML file and the files that it names. amid does not start with an invalid
or unsafe configuration.

`tables` defines the keys. `load` reads a configuration in four steps: `read` (files to TOML),
`convert` (TOML to tables), `crosscheck` (keys against each other) and `resolve` (the named files,
whose `permissions` are checked).
"""

from amid.config.load import DEFAULT_FILE, check, default_run_dir, load
from amid.config.masking import secrets_of, shown
from amid.config.report import ConfigError
from amid.config.resolve import bus_is_installed, web_is_installed
from amid.config.tables import Caller, Config, Curve, Gateway, Listener, Nats, Recorder, Rpc, Server, State, Supervision, Token

__all__ = [
    "DEFAULT_FILE",
    "Caller",
    "Config",
    "ConfigError",
    "Curve",
    "Gateway",
    "Listener",
    "Nats",
    "Recorder",
    "Rpc",
    "Server",
    "State",
    "Supervision",
    "Token",
    "bus_is_installed",
    "check",
    "default_run_dir",
    "load",
    "secrets_of",
    "shown",
    "web_is_installed",
]
