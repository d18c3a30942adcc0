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
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from amid.cli import text
from amid.cli.live import Thing, Things, call_rows
from amid.cli.run import REFUSED, config_or_exit
from amid.client import Client
from amid.client.changes import Changes
from amid.config import load as configuration
from amid.config.resolve import web_is_installed
from amid.config.tables import Config
from amid.errors import AmidError, CallTimeout
from amid.playback.recording import PLAY, Recording, RecordingError
from amid.process.run_dir import LOCK_FILE, RunDirError
from amid.supervisor.serve import serve

KINDS = ["calls", "callers", "channels"]
"""Kinds of the state that the display needs."""
CALLS_PER_MINUTE = 15.0
GATEWAY_PORT = 8088
REDRAW_S = 0.5
"""Seconds between two updates of the display."""

STARTED_S = 60.0
"""Timeout in seconds for the daemon to become reachable, also on a busy machine."""


@click.command()
@click.option("--seconds", type=click.FloatRange(0, min_open=True), metavar="N", help="End after N seconds instead of at Ctrl-C.")
@click.option("--calls-per-minute", type=click.FloatRange(1, 6000), metavar="N", help="Rate of random calls.  [default: 15]")
@click.option(
    "--recorded",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Play a day of the recorder (SERVER-YYYY-MM-DD.db) instead of random calls.",
)
@click.option("--speed", type=click.FloatRange(0.1, 1000), metavar="N", help="Play it N times as fast.  [default: 1]")
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
    calls = _source(recorded, speed, calls_per_minute)
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


def _source(recorded: Path | None, speed: float | None, calls_per_minute: float | None) -> list[str]:
    """The module of the PBX and its arguments. Raises `click.UsageError`."""
    if recorded is None:
        if speed is not None:
            raise click.UsageError("--speed needs --recorded FILE")
        return ["amid.simulator", "--calls-per-minute", str(calls_per_minute or CALLS_PER_MINUTE)]
    if calls_per_minute is not None:
        raise click.UsageError("--calls-per-minute is for random calls, not for --recorded")
    try:
        Recording(recorded)
    except RecordingError as error:
        raise click.BadParameter(str(error), param_hint="--recorded") from None
    return ["amid.playback", "--recorded", str(recorded.absolute()), "--speed", str(speed or 1.0)]


def simulated_pbx(folder: Path, calls_per_minute: float) -> AbstractContextManager[dict[str, Any]]:
    """Run a PBX with random calls. Yields its table in the configuration of a daemon."""
    return running_pbx(folder, _source(None, None, calls_per_minute))


@contextmanager
def running_pbx(folder: Path, calls: list[str], on_end: Callable[[str], object] = lambda _: None) -> Iterator[dict[str, Any]]:
    """Run the PBX as a child process. calls: its module and arguments. on_end: called in a thread
    when the PBX ends too early, with how. Yields its table in the configuration of a daemon."""
    secret_file = folder / "secret"
    secret_file.touch(mode=0o600)
    secret_file.write_text(secrets.token_hex(16))
    argv = [sys.executable, "-m", *calls, "--port", "0", "--username", "demo", "--secret-file", str(secret_file), "--with-stdin"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, process_group=0) as simulator:
        assert simulator.stdout is not None
        line = simulator.stdout.readline()
        if not line:
            sys.exit(f"amid: the simulated PBX has ended before it listened (exit status {simulator.wait()}); its error is above")
        host, _, port = line.removeprefix("listening ").strip().rpartition(":")
        leaving = threading.Event()
        threading.Thread(target=_watch, args=(simulator, leaving, on_end), name="pbx", daemon=True).start()
        table = {"host": host, "port": int(port), "username": "demo", "secret_file": str(secret_file)}
        try:
            yield table
        finally:
            leaving.set()
            simulator.kill()  # it may hang


def _watch(pbx: subprocess.Popen[str], leaving: threading.Event, on_end: Callable[[str], object]) -> None:
    """Wait for the end of the PBX, and report it unless it was asked to end."""
    status = pbx.wait()
    if not leaving.is_set():
        on_end(f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}")


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


class View(threading.Thread):
    """Displays the calls: on a terminal as a live table, otherwise as lines. `failure` is the error
    that ended it early. plays: whether the PBX plays a recording, which this starts."""

    def __init__(self, config: Config, seconds: float | None, run_dir_to_name: str | None, plays: bool) -> None:
        super().__init__(name="view", daemon=True)
        self._run_dir = config.run_dir
        (self._server,) = config.servers
        self._seconds = seconds
        self._plays = plays
        self._page = _page(config)
        self._option = f" --run-dir {run_dir_to_name}" if run_dir_to_name else ""
        self._console = Console()
        self._ended = 0
        self._stopped = threading.Event()
        self.failure = ""

    def stop(self) -> None:
        """Wait for the last update after the daemon has ended."""
        self._stopped.set()
        self.join(timeout=2 * REDRAW_S + 1)

    def run(self) -> None:
        try:
            self._show()
        except (AmidError, TimeoutError) as error:
            self.failure = str(error)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    def _show(self) -> None:
        end = time.monotonic() + self._seconds if self._seconds else float("inf")
        with Client(self._run_dir) as client:
            self._wait_until_up(client)
            version = client.servers()[0]["asterisk"]
            where = f" runs in {self._run_dir}, in front of a simulated Asterisk {version}\n"
            self._console.print(Text.assemble(("amid", "bold"), where), soft_wrap=True)
            changes = client.changes(self._server, KINDS, timeout=REDRAW_S)
            if self._plays:
                client.calls(self._server, limit=1)  # the recorder answers, so it misses nothing
                client.action(PLAY)
            if self._console.is_terminal:
                self._table(changes, end)
            else:
                self._lines(changes, end)

    def _wait_until_up(self, client: Client) -> None:
        limit = time.monotonic() + STARTED_S
        while time.monotonic() < limit:
            try:
                if self._is_ours() and client.servers()[0]["asterisk"]:
                    return
            except AmidError:
                pass
            time.sleep(0.05)
        raise TimeoutError(f"the daemon was not ready within {STARTED_S:g} s; the end of its log:")

    def _is_ours(self) -> bool:
        """Whether this process has locked run_dir, where another amid may be running."""
        with contextlib.suppress(OSError):
            return Path(self._run_dir, LOCK_FILE).read_text().split()[:1] == [str(os.getpid())]
        return False

    def _table(self, changes: Changes, end: float) -> None:
        with Live(self._screen(changes), console=self._console, refresh_per_second=4, transient=False) as live:
            for _ in self._updates(changes, end):
                live.update(self._screen(changes))

    def _lines(self, changes: Changes, end: float) -> None:
        self._console.print(self._hints(), soft_wrap=True)
        shown: dict[str, str] = {}
        for _ in self._updates(changes, end):
            rows = [row for row in call_rows(_things(changes), time.time()) if row["who"]]
            for row in rows:
                line = f"{row['who']} → {row['whom']}  {row['state']}"
                if shown.get(row["linkedid"]) != line:
                    self._console.print(Text(f"{time.strftime('%H:%M:%S')}  {line}"), soft_wrap=True)
                    shown[row["linkedid"]] = line
            shown = {row["linkedid"]: shown[row["linkedid"]] for row in rows}

    def _updates(self, changes: Changes, end: float) -> Iterator[None]:
        """Yield after each change, and at least every `REDRAW_S` seconds. Ends at `end`, or with the
        daemon."""
        while time.monotonic() < end and not self._stopped.is_set():
            with contextlib.suppress(CallTimeout):
                change = next(changes)
                self._ended += change["kind"] == "call" and bool(change.get("gone"))
            yield

    def _screen(self, changes: Changes) -> RenderableType:
        now = time.time()
        rows = call_rows(_things(changes), now)
        title = f"{len(rows)} call{'s' if len(rows) != 1 else ''} now, {self._ended} ended, {changes.view.seq} events"
        table = Table(title=title, title_justify="left")
        for heading in ("caller", "to", "state", "for"):
            table.add_column(heading, no_wrap=True, justify="right" if heading == "for" else "left")
        room = max(3, self._console.height - 14)
        for row in rows[:room]:
            table.add_row(*_cells(row))
        return Group(table, "", self._hints())

    def _hints(self) -> Text:
        amid = f"{_program()}{self._option}"
        return Text(
            f"{self._page}In a second terminal:\n"
            f"  {amid} status\n"
            f"  {amid} events Newchannel Hangup\n"
            f"  {amid} calls\n"
            f"  {amid} calls --since 1h\n"
            f"  {amid} action QueueStatus\n"
            f"  {amid} command 'core show channels'\n"
            "Ctrl-C ends this."
        )


def _page(config: Config) -> str:
    """The page's URL. Browsers never send the part behind the #, where the token is."""
    if config.gateway is None:
        return ""
    (token,) = config.gateway.tokens.values()
    return f"In a browser:\n  http://{config.gateway.listen[0]}/#token={token.token}\n"


def _things(changes: Changes) -> Things:
    return {kind: list(things.values()) for kind, things in changes.view.things.items()}


def _cells(row: Thing) -> list[Text]:
    """The cells of a row. Caller names are untrusted: `Text` does not interpret markup."""
    return [Text(text.printable(row[name])) for name in ("who", "whom", "state", "for")]


def _program() -> str:
    """The command that started this process, for the hints."""
    typed = Path(sys.argv[0])
    return str(typed) if typed.name == "amid" else "amid"
