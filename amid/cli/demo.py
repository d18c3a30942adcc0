"""`amid demo`: a simulated PBX with calls, and the complete daemon in front of it.

This process is the daemon's supervisor. The PBX is a child process, the display is a thread with a
normal client. When one of the three ends, or the terminal is closed, all end; the end of the PBX is
an error.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import click

from amid.cli.demo_pbx import pbx_command, running_pbx
from amid.cli.demo_view import View
from amid.cli.options import Number
from amid.cli.run import REFUSED, config_or_exit
from amid.config import load as configuration
from amid.config.resolve import web_is_installed
from amid.config.tables import Config
from amid.process.run_dir import RunDirError
from amid.supervisor.serve import serve

GATEWAY_PORT = 8088


@click.command()
@click.option("--seconds", type=Number(0, min_open=True), metavar="N", help="End after N seconds instead of at Ctrl-C.")
@click.option("--calls-per-minute", type=Number(1, 6000), metavar="N", help="Rate of random calls.  [default: 15]")
@click.option(
    "--recorded",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Play a day of the recorder (SERVER-YYYY-MM-DD.db) instead of random calls.",
)
@click.option("--speed", type=Number(0.1, 1000), metavar="N", help="Play it N times as fast.  [default: 1]")
@click.option("--name", metavar="NAME", default="demo", show_default=True, help="Name of the simulated PBX.")
@click.option("--nats", metavar="URL", help="Publish its events to NATS and accept calls from there (etc/doc/bus.md).")
@click.pass_context
def demo(
    context: click.Context,
    seconds: float | None,
    calls_per_minute: float | None,
    recorded: Path | None,
    speed: float | None,
    name: str,
    nats: str | None,
) -> None:
    """Run a simulated PBX and the complete daemon in front of it.

    It needs no installation and no configuration. It shows the calls, and commands to try in a
    second terminal.

    With --recorded, the PBX sends the events of a recorded day, with their pauses, and answers lists
    as they were at that moment. Other actions on the PBX are refused. After the last event it is
    idle.
    """
    calls = pbx_command(recorded, speed, calls_per_minute)
    named = (context.obj or {}).get("run_dir")
    ends: list[str] = []
    with tempfile.TemporaryDirectory(prefix="amid-demo-") as folder:
        run_dir = named or _usable_run_dir(folder)
        with running_pbx(Path(folder), calls, partial(_end_early, ends)) as table:
            config = _config(Path(folder), run_dir, {name: table}, nats)
            is_default = not named and not os.environ.get("AMID_RUN_DIR") and not run_dir.startswith(folder)
            view = View(config, seconds, None if is_default else run_dir, recorded is not None)
            log = Path(folder, "log")
            _log_to(log, config)
            view.start()
            try:
                serve(config, partial(_hang_up, config))
            except RunDirError as error:
                click.echo(f"amid: {error}", err=True)
                sys.exit(REFUSED)
            view.stop()
            if failure := "".join(ends) or view.failure:
                click.echo(f"amid: {failure}\n{log.read_text()[-2000:]}", err=True)
                sys.exit(1)


def _end_early(ends: list[str], how: str) -> None:
    """End this process, because the PBX has ended. ends: takes the message."""
    ends.append(f"the simulated PBX has ended ({how}); the end of the daemon's log:")
    os.kill(os.getpid(), signal.SIGTERM)


def _hang_up(config: Config) -> Config:
    """End this process at SIGHUP, because its terminal was closed."""
    os.kill(os.getpid(), signal.SIGTERM)
    return config


def _config(folder: Path, run_dir: str, servers: dict[str, Any], nats: str | None) -> Config:
    raw = {"state_dir": str(folder), "recorder": {}, "callers": {"local": {"admin": True, "history": True}}}
    raw |= {"servers": servers, **({"nats": {"servers": nats}} if nats else {}), **_gateway(folder)}
    return config_or_exit(lambda: configuration.check(raw, "demo", folder, run_dir=run_dir))


def _gateway(folder: Path) -> dict[str, Any]:
    """The table of a gateway with one token, if `amid[web]` is installed."""
    if not web_is_installed():
        return {}
    tokens = folder / "tokens.toml"
    tokens.touch(mode=0o600)
    tokens.write_text(f'[demo]\ntoken = "{secrets.token_hex(16)}"\nadmin = true\nhistory = true\n')
    return {"gateway": {"listen": f"127.0.0.1:{_free_port()}", "tokens_file": str(tokens)}}


def _free_port() -> int:
    """The gateway's default port, or a free one if that is in use."""
    with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", GATEWAY_PORT)):
        return GATEWAY_PORT
    with socket.create_server(("127.0.0.1", 0)) as server:
        free: int = server.getsockname()[1]
        return free


def _usable_run_dir(folder: str) -> str:
    """The run_dir that clients search by default; a temporary one if that cannot be used."""
    preferred = Path(configuration.default_run_dir())
    try:
        preferred.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError:
        return f"{folder}/run"
    return str(preferred) if os.access(preferred, os.W_OK | os.X_OK) else f"{folder}/run"


def _log_to(file: Path, config: Config) -> None:
    """Write the log of this process and its children to a file, because the display uses the terminal."""
    terminal = os.dup(2)
    os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), 2)
    sys.stderr = os.fdopen(terminal, "w")
