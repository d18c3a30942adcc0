"""`amid run` and `amid check`: the daemon in the foreground, and its configuration looked at without starting anything."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from amid import config as configuration
from amid.config import Config, ConfigError

REFUSED = 6
"""Exit status when the daemon cannot start: its configuration or its run_dir is not right."""

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
@click.option("--server", "host", metavar="HOST[:PORT]", help="Without a file: the Asterisk to connect to.")
@click.option("--username", metavar="USER", help="Without a file: the manager user, as in manager.conf.")
@click.option(
    "--secret-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Without a file: where its secret is; asked for otherwise.",
)
@click.option("--name", default="pbx1", show_default=True, help="Without a file: what the server is called.")
@click.pass_context
def run(
    context: click.Context, file: Path | None, host: str | None, username: str | None, secret_file: Path | None, name: str
) -> None:
    """Run the daemon in the foreground, for systemd (Type=notify) or a terminal: with a configuration file, or with --server.

    SIGTERM ends it when the calls in flight are answered, 5 seconds later at most. SIGHUP reads the configuration again and starts
    anew only what changed; a file that is not right changes nothing.
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
@click.option("--json", "as_json", is_flag=True, help="One line of JSON.")
@click.pass_context
def check(context: click.Context, file: Path | None, as_json: bool) -> None:
    """Validate the configuration and show it as it is in effect, secrets hidden."""
    path = file or Path(configuration.DEFAULT_FILE)
    settings = config_or_exit(lambda: configuration.load(path, _run_dir(context), _print_warning))
    shown = configuration.shown(settings)
    if as_json:
        click.echo(json.dumps(shown))
        return
    click.echo(f"# {path} is valid; this is what is in effect")
    for line in _toml(shown):
        click.echo(line)


def _check_options(context: click.Context) -> None:
    """A file and a server of options exclude each other. --server goes before AMID_CONFIG, as options go before variables."""
    given = {name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    if {"host", "file"} <= given:
        raise click.UsageError("--server and -c exclude each other: with a file, the servers are its tables [servers.NAME]")
    for option in () if "host" in given else ("username", "secret_file", "name"):
        if option in given:
            named = f"--{option.replace('_', '-')}"
            raise click.UsageError(f"{named} is for --server, which is missing; a file has it in [servers.NAME]")


def _run_dir(context: click.Context) -> str | None:
    """The option of `amid`, from the root, so that a reload finds it wherever the working directory is by then."""
    named = (context.obj or {}).get("run_dir")
    return os.path.abspath(named) if named is not None else None


def _print_warning(what: str) -> None:
    click.echo(f"amid: warning: {what}", err=True)


def _server(host: str, username: str | None, secret_file: Path | None) -> dict[str, Any]:
    """The table of the one server that options name."""
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
        raise click.UsageError("there is no terminal to ask for the secret on; name its file with --secret-file, or /dev/stdin")
    else:
        table["secret"] = _ask_secret(username)
    return table


def _ask_secret(username: str) -> str:
    try:
        secret: str = click.prompt(f"Secret of {username}", hide_input=True, err=True)
    except UnicodeDecodeError:
        raise click.UsageError("the secret that was typed is not UTF-8; set the terminal to UTF-8, or use --secret-file") from None
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
    """The configuration in the form in which it is written; a key without a value is left out."""
    plain = {key: value for key, value in table.items() if not isinstance(value, dict) and value is not None}
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in plain.items()]
    for key, value in table.items():
        if isinstance(value, dict):
            inner = f"{path}.{key}" if path else key
            body = _toml(value, inner)
            lines += ["", f"[{inner}]", *body] if any(not isinstance(v, dict) for v in value.values()) else body
    return lines
