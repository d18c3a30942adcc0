"""How a command ends: the table of exit statuses, and errors in words that say what, where, and what to do.

Errors go to stderr. With --json the JSON-RPC error object goes to stdout as well, as {"error": …}, so that a script always
finds one JSON value there.
"""

from __future__ import annotations

import os
import sys
from typing import Any, NamedTuple

import click

from amid import wire
from amid.cli.text import lines_of, printable
from amid.errors import CODES, AmidError

UNREACHABLE = -32000
"""The JSON-RPC code for the one error that is the client's own; the range belongs to implementations."""


class Exit(NamedTuple):
    status: int
    meaning: str
    kinds: tuple[str, ...]


EXITS = (
    Exit(0, "done", ()),
    Exit(1, "Asterisk said Error", ("action_failed",)),
    Exit(2, "usage: wrong options or values", ("invalid_params", "unknown_method", "invalid_request", "parse_error")),
    Exit(3, "timeout", ("timeout",)),
    Exit(4, "not reachable or not connected", ("unreachable", "not_connected", "connection_lost", "unknown_server")),
    Exit(5, "denied by the configuration", ("denied",)),
    Exit(6, "the daemon cannot start: its configuration or its directory is not right", ()),
    Exit(7, "busy: the server's queue is full", ("busy",)),
    Exit(8, "the answer is too large", ("too_large",)),
    Exit(9, "the events are no longer held", ("gone",)),
    Exit(10, "amid failed; its log says how", ("internal_error",)),
    Exit(11, "the output cannot be written; the call itself was carried out unless stdout is closed", ()),
    Exit(12, "cancelled by its caller", ("cancelled",)),
    Exit(130, "interrupted by Ctrl-C", ()),
)
FAILED, UNWRITABLE, INTERRUPTED = 10, 11, 130
STATUS = {kind: exit.status for exit in EXITS for kind in exit.kinds}

MAY_HAVE = "Asterisk may have carried it out: look before trying again."
NEVER_SAW = "Asterisk never saw it; trying again is safe."
_UNSURE = frozenset({"timeout", "unreachable", "not_connected", "connection_lost", "busy", "too_large", "internal_error"})
"""Kinds after which a caller wonders whether the action was carried out; the others say it themselves."""


class Reporting(click.Command):
    """A command that talks to the daemon: its errors become a message and an exit status, and a closed pipe ends it quietly.

    reaches_asterisk: whether it sends an action, so that a failure says whether Asterisk may have carried it out.
    """

    reaches_asterisk = False

    def invoke(self, ctx: click.Context) -> Any:
        if sys.stdout is None:  # descriptor 1 is closed: better to say so before anything is carried out
            click.echo("amid: stdout is closed, so nothing was sent; to discard the output write > /dev/null", err=True)
            ctx.exit(UNWRITABLE)
        try:
            return super().invoke(ctx)
        except AmidError as failure:
            report(failure, self.reaches_asterisk, as_json=bool(ctx.params.get("as_json")))
            ctx.exit(STATUS.get(failure.kind, FAILED))
        except BrokenPipeError:
            _discard_stdout()
            ctx.exit(0)


class ReportingAction(Reporting):
    """One that sends an action to Asterisk."""

    reaches_asterisk = True


def unwritable_stdout(error: OSError) -> int | None:
    """The exit status when `error` comes from writing to stdout, which a line end tells; None when it does not."""
    try:
        os.write(1, b"\n")
        return None
    except OSError:
        _discard_stdout()
    message = f"the output cannot be written to stdout: {error.strerror}; a call that was answered has been carried out"
    click.echo(f"amid: {message}", err=True)
    return UNWRITABLE


def _discard_stdout() -> None:
    """What stdout still buffers goes nowhere; Python would fail on it again when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def report(failure: AmidError, reaches_asterisk: bool, *, as_json: bool) -> None:
    if as_json:
        code = CODES.get(failure.kind, UNREACHABLE)
        click.echo(wire.pack_json({"error": {"code": code, "message": failure.message, "data": failure.data()}}))
    for line in told(failure, reaches_asterisk):
        click.echo(line, err=True)


def told(failure: AmidError, reaches_asterisk: bool) -> list[str]:
    """The error in a few lines: what happened and where, whether Asterisk may have acted, and the output of a failed Command."""
    lines = [click.style(f"amid: {failure.kind}: ", fg="red") + printable(failure.message)]
    if reaches_asterisk and failure.kind in _UNSURE:
        lines.append("      " + (MAY_HAVE if failure.sent else NEVER_SAW))
    return lines + [printable(line, keep="\t") for line in lines_of((failure.response or {}).get("Output", []))]


def table() -> str:
    """The statuses for --help."""
    lines = (f"  {exit.status:>3}  {exit.meaning}" for exit in EXITS)
    return "\b\nExit status:\n" + "\n".join(lines)
