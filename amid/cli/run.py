"""`amid run` and `amid check`: run the daemon in the foreground, or only check its configuration."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from amid.config import load as configuration
from amid.config.masking import shown
from amid.config.report import ConfigError
from amid.config.tables import Config

REFUSED = 6
"""Exit status when the daemon cannot start: invalid configuration or run_dir."""

_file_option = click.option(
    "-c",
    "--config",
    "file",
    envvar="AMID_CONFIG",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"The configuration file.  [default: {configuration.DEFAULT_FILE}]",
)


@click.command()
@_file_option
@click.option("--server", "host", metavar="HOST[:PORT]", help="Without a file: the address of Asterisk.")
@click.option("--username", metavar="USER", help="Without a file: the manager user, as in manager.conf.")
@click.option(
    "--secret-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Without a file: the file with the manager user's secret.  [default: ask]",
)
@click.option("--name", metavar="NAME", default="pbx1", show_default=True, help="Without a file: the name of the server.")
@click.pass_context
def run(
    context: click.Context, file: Path | None, host: str | None, username: str | None, secret_file: Path | None, name: str
) -> None:
    """Run the daemon in the foreground, under systemd (Type=notify) or on a terminal, with a
    configuration file or with --server.

    SIGTERM ends it when all open calls are answered, or after 5 seconds, and all sessions are logged
    off. SIGHUP reads the configuration again and restarts only what has changed; an invalid file
    changes nothing.
    """
    _check_options(context)
    run_dir = _run_dir(context)
    warnings: list[str] = []
    if host is not None:
        table = _server(host, username, secret_file)
        raw = {"servers": {name: table}}
        folder = Path.cwd()
        settings = config_or_exit(lambda: configuration.check(raw, "command line", folder, run_dir=run_dir, warn=warnings.append))
        _serve(settings, None, warnings)
        return
    path = file or Path(configuration.DEFAULT_FILE)
    settings = config_or_exit(lambda: configuration.load(path, run_dir, warnings.append))
    _serve(settings, lambda: configuration.load(path, run_dir), warnings)


@click.command()
@_file_option
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
@click.pass_context
def check(context: click.Context, file: Path | None, as_json: bool) -> None:
    """Validate the configuration and show the effective values, with secrets hidden."""
    path = file or Path(configuration.DEFAULT_FILE)
    settings = config_or_exit(lambda: configuration.load(path, _run_dir(context), _print_warning))
    values = shown(settings)
    if as_json:
        click.echo(json.dumps(values))
        return
    click.echo(f"# {path} is valid; the effective configuration:")
    for line in _toml(values):
        click.echo(line)


def _check_options(context: click.Context) -> None:
    """Check that a file and --server are not combined.

    Options take precedence over variables, so --server overrides AMID_CONFIG.
    """
    given = {name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    if {"host", "file"} <= given:
        raise click.UsageError("--server cannot be combined with -c: a file names its servers in [servers.NAME]")
    for option in () if "host" in given else ("username", "secret_file", "name"):
        if option in given:
            named = f"--{option.replace('_', '-')}"
            raise click.UsageError(f"{named} requires --server; in a file it belongs to [servers.NAME]")


def _run_dir(context: click.Context) -> str | None:
    """The option --run-dir as an absolute path, so that a reload finds it after a change of the
    working directory."""
    named = (context.obj or {}).get("run_dir")
    return os.path.abspath(named) if named is not None else None


def _print_warning(what: str) -> None:
    click.echo(f"amid: warning: {what}", err=True)


def _server(host: str, username: str | None, secret_file: Path | None) -> dict[str, Any]:
    """The server table that the options describe."""
    if username is None:
        raise click.UsageError("--server needs --username, the manager user")
    table: dict[str, Any] = {"host": host, "username": username}
    address, colon, port = host.rpartition(":")
    bracketed = address.startswith("[") and address.endswith("]")
    if colon and (bracketed or ":" not in address):
        if not (port.isascii() and port.isdigit() and len(port) <= 5):
            raise click.UsageError(f"--server: {port!r} is not a port")
        table |= {"host": address.strip("[]"), "port": int(port)}
    if secret_file is not None:
        table["secret_file"] = str(secret_file)
    elif not sys.stdin.isatty():
        raise click.UsageError("cannot ask for the secret without a terminal; name its file with --secret-file, or use /dev/stdin")
    else:
        table["secret"] = _ask_secret(username)
    return table


def _ask_secret(username: str) -> str:
    try:
        secret: str = click.prompt(f"Secret of {username}", hide_input=True, err=True)
    except UnicodeDecodeError:
        raise click.UsageError("the secret is not UTF-8; set the terminal to UTF-8, or use --secret-file") from None
    return secret


def config_or_exit(load: Callable[[], Config]) -> Config:
    try:
        return load()
    except ConfigError as error:
        click.echo(f"amid: invalid configuration:\n{error}", err=True)
        sys.exit(REFUSED)


def _serve(settings: Config, reload: Callable[[], Config] | None, warnings: list[str]) -> None:
    from amid.process.run_dir import RunDirError
    from amid.supervisor.serve import serve

    try:
        serve(settings, reload, warnings)
    except RunDirError as error:
        click.echo(f"amid: {error}", err=True)
        sys.exit(REFUSED)


def _toml(table: dict[str, Any], path: str = "") -> list[str]:
    """The configuration as TOML, without keys that have no value."""
    plain = {key: value for key, value in table.items() if not isinstance(value, dict) and value is not None}
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in plain.items()]
    for key, value in table.items():
        if isinstance(value, dict):
            inner = f"{path}.{key}" if path else key
            body = _toml(value, inner)
            lines += ["", f"[{inner}]", *body] if any(not isinstance(v, dict) for v in value.values()) else body
    return lines
