"""The display of `amid demo`: the calls, and commands to try."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from amid.cli import text
from amid.cli.live import Thing, Things, call_rows
from amid.client import Client
from amid.client.changes import Changes
from amid.config.tables import Config
from amid.errors import AmidError, CallTimeout
from amid.playback.recording import PLAY
from amid.process.run_dir import LOCK_FILE

KINDS = ["calls", "callers", "channels"]
"""Kinds of the state that the display needs."""
REDRAW_S = 0.5
"""Seconds between two updates of the display."""

STARTED_S = 60.0
"""Timeout in seconds for the daemon to become reachable, also on a busy machine."""


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
        self._export = f"  export AMID_RUN_DIR={shlex.quote(run_dir_to_name)}\n" if run_dir_to_name else ""
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
        table = Table()
        for heading in ("caller", "to", "state", "for"):
            table.add_column(heading, no_wrap=True, justify="right" if heading == "for" else "left")
        hints = self._hints()
        room = max(3, self._console.height - hints.plain.count("\n") - 8)  # the other lines of the screen
        for row in rows[:room]:
            table.add_row(*_cells(row))
        return Group(Text(title), table, "", hints)

    def _hints(self) -> Text:
        amid = _program()
        command = "" if self._plays else f"  {amid} command 'core show channels'\n"
        return Text(
            f"{self._page}In a second terminal:\n{self._export}"
            f"  {amid} status\n"
            f"  {amid} events Newchannel Hangup\n"
            f"  {amid} calls\n"
            f"  {amid} calls --since 1h\n"
            f"  {amid} action QueueStatus\n"
            f"{command}Ctrl-C ends this."
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
