"""Loads a configuration: `read`, `convert`, `crosscheck`, `resolve`. All problems of all steps are
reported."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from amid.config import permissions, unix_users
from amid.config.convert import convert
from amid.config.crosscheck import check_socket_paths, crosscheck
from amid.config.read import MissingFileError, UnreadableError, read_toml
from amid.config.report import ConfigError, Report
from amid.config.resolve import Resolver
from amid.config.tables import Caller, Config

log = logging.getLogger("amid.config")

DEFAULT_FILE = "/etc/amid/amid.toml"

Warn = Callable[[str], None]


def load(path: Path, run_dir: str | None = None, warn: Warn = log.warning) -> Config:
    """Read and check the file at `path` and the files that it names. Raises `ConfigError`.

    run_dir: replaces the file's run_dir, as given by an option. warn: called with each warning.
    """
    try:
        raw = read_toml(path)
    except MissingFileError as error:
        advice = "write one (etc/amid.toml shows every key) or name it with -c; `amid run --server HOST --username USER` needs none"
        raise ConfigError(f"{error}; {advice}") from None
    except UnreadableError as error:
        raise ConfigError(str(error)) from None
    return check(raw, str(path), path.parent, run_dir=run_dir, file=path, warn=warn)


def check(
    raw: dict[str, Any],
    source: str,
    folder: Path,
    *,
    run_dir: str | None = None,
    file: Path | None = None,
    warn: Warn = log.warning,
) -> Config:
    """Check the configuration in `raw`. Raises `ConfigError`.

    source: its name in error messages. folder: directory of relative paths. file: the configuration
    file, if there is one.
    """
    report = Report(source)
    raw, of_run_dir = _with_run_dir(raw, run_dir, report)
    raw, of_state_dir = _with_state_dir(raw, report)
    config = convert(raw, report, of_run_dir, of_state_dir)
    crosscheck(config, report)
    unix_users.check(config.callers, report)
    if config.run_dir == raw["run_dir"]:  # otherwise it was refused
        check_socket_paths(config, of_run_dir)
        _add(permissions.check_directory(config.run_dir), of_run_dir, "")
    if config.state_dir == raw["state_dir"]:
        _add(permissions.check_directory(config.state_dir), of_state_dir, "")
    callers_group = permissions.callers_group(config.run_dir)
    if file is not None:
        _check_own_file(file, config, callers_group, report)
    config = Resolver(Path(_absolute(str(folder))), callers_group, report).resolve(config)
    if report.problems:
        raise ConfigError("\n".join(report.problems))
    for warning in dict.fromkeys(report.warnings):
        warn(warning)
    return replace(config, callers={"local": Caller(admin=True), **config.callers})


def default_run_dir() -> str:
    """The default run_dir: AMID_RUN_DIR, /run/amid for root and services, else the user's runtime
    directory."""
    named, own = os.environ.get("AMID_RUN_DIR"), os.environ.get("XDG_RUNTIME_DIR", "")
    if named:
        return _absolute(named)
    return f"{own}/amid" if own.startswith("/") and os.getuid() != 0 else "/run/amid"


def default_state_dir() -> tuple[str, str]:
    """The default state_dir and its source: $STATE_DIRECTORY, which systemd sets, /var/lib/amid for
    root and services, else the user's (XDG Base Directory)."""
    of_unit, state_home = os.environ.get("STATE_DIRECTORY", ""), os.environ.get("XDG_STATE_HOME", "")
    if of_unit:
        return of_unit.partition(":")[0], "STATE_DIRECTORY"
    if os.getuid() == 0 or not os.environ.get("XDG_RUNTIME_DIR"):
        return "/var/lib/amid", "state_dir"
    if state_home.startswith("/"):
        return f"{state_home}/amid", "XDG_STATE_HOME"
    return os.path.expanduser("~/.local/state/amid"), "state_dir"


def _with_run_dir(raw: dict[str, Any], option: str | None, report: Report) -> tuple[dict[str, Any], Report]:
    """`raw` with the effective run_dir, and a report that names its source."""
    if option is not None:
        return {**raw, "run_dir": _absolute(option)}, report.of_file(f"--run-dir {option}")
    if "run_dir" in raw:
        return raw, report.of_file(f"{report.source}: run_dir")
    default = default_run_dir()
    name = "AMID_RUN_DIR" if os.environ.get("AMID_RUN_DIR") else "run_dir"
    return {**raw, "run_dir": default}, report.of_file(f"{name} {default}")


def _with_state_dir(raw: dict[str, Any], report: Report) -> tuple[dict[str, Any], Report]:
    """The same for state_dir."""
    if "state_dir" in raw:
        return raw, report.of_file(f"{report.source}: state_dir")
    default, name = default_state_dir()
    return {**raw, "state_dir": default}, report.of_file(f"{name} {default}")


def _absolute(path: str) -> str:
    """The absolute form of `path`, or `path` itself if the working directory has been removed."""
    try:
        return os.path.abspath(path)
    except OSError:
        return path


def _add(findings: Iterable[permissions.Finding], report: Report, key: str) -> None:
    for unsafe, what in findings:
        (report.refuse if unsafe else report.warn)("", key, what)


def _check_own_file(file: Path, config: Config, callers_group: int, report: Report) -> None:
    _add(permissions.check_file(file, secret=False, callers_group=callers_group), report, "")
    if config.curve.secret_key or any(server.secret for server in config.servers.values()):
        for _, what in permissions.check_readers(file, callers_group):
            report.warn("", "", f"holds a secret and {what}")
