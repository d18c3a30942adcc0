"""Exit statuses, and error messages.

Errors are printed to stderr. With --json the JSON-RPC error object is also printed to stdout as
{"error": …}, so that scripts find JSON there whatever happens.
"""

from __future__ import annotations

import os
import sys
from typing import Any, NamedTuple

import click

from amid import wire
from amid.cli.text import lines_of, pairs, printable
from amid.errors import CODES, AmidError

UNREACHABLE = -32000
"""The JSON-RPC code of the client's own error, from the range for implementations."""


class Exit(NamedTuple):
    status: int
    meaning: str
    kinds: tuple[str, ...]


EXITS = (
    Exit(0, "done", ()),
    Exit(1, "Asterisk answered Error or Failure, or there is no such call or queue", ("action_failed",)),
    Exit(2, "usage: wrong options or values", ("invalid_params", "unknown_method", "invalid_request", "parse_error")),
    Exit(3, "timeout", ("timeout",)),
    Exit(4, "not reachable, not connected, no such server", ("unreachable", "not_connected", "connection_lost", "unknown_server")),
    Exit(5, "denied by the configuration", ("denied",)),
    Exit(6, "the daemon cannot start: invalid configuration or run_dir", ()),
    Exit(7, "busy: a queue or a limit is full", ("busy",)),
    Exit(8, "the answer is too large", ("too_large",)),
    Exit(10, "internal error; see the daemon's log", ("internal_error",)),
    Exit(11, "the output cannot be written; the call has run unless stdout was closed", ()),
    Exit(12, "cancelled by the caller", ("cancelled",)),
    Exit(130, "interrupted by Ctrl-C, which ends run, demo, events, trace, --watch and --follow with 0", ()),
)
NOT_DONE, FAILED, UNWRITABLE, INTERRUPTED = 1, 10, 11, 130
STATUS = {kind: exit.status for exit in EXITS for kind in exit.kinds}

MAY_HAVE_RUN = "Asterisk may have run the action: check before retrying."
NEVER_SENT = "Asterisk never received the action; retrying is safe."
_UNSURE = frozenset({"timeout", "unreachable", "not_connected", "connection_lost", "busy", "too_large", "internal_error"})
"""Kinds of error whose message does not say whether the action has run."""


class Reporting(click.Command):
    """A command that calls the daemon: errors become a message and an exit status, and a closed
    pipe ends it quietly.

    reaches_asterisk: whether it sends an action, so that errors say whether the action may have
    run.
    """

    reaches_asterisk = False

    def invoke(self, ctx: click.Context) -> Any:
        if sys.stdout is None:  # descriptor 1 is closed: fail before anything is sent
            click.echo("amid: stdout is closed, so nothing was done; use > /dev/null to discard the output", err=True)
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
    """A command that sends an action to Asterisk."""

    reaches_asterisk = True


def unwritable_stdout(error: OSError) -> int | None:
    """The exit status for a failed write to stdout; None when `error` has another cause."""
    try:
        os.write(1, b"\n")
        return None
    except OSError:
        _discard_stdout()
    message = f"the output cannot be written to stdout: {error.strerror}; a call that was answered has run"
    click.echo(f"amid: {message}", err=True)
    return UNWRITABLE


def _discard_stdout() -> None:
    """Discard buffered output, which Python would try to write again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def report(failure: AmidError, reaches_asterisk: bool, *, as_json: bool) -> None:
    if as_json:
        code = CODES.get(failure.kind, UNREACHABLE)
        click.echo(wire.pack_json({"error": {"code": code, "message": failure.message, "data": failure.data()}}))
    for line in format_error(failure, reaches_asterisk):
        click.echo(line, err=True)


def format_error(failure: AmidError, reaches_asterisk: bool) -> list[str]:
    """An error as lines: what happened and where, whether the action may have run, and Asterisk's
    answer: the output of a failed Command, or all of it if only an awaited event was missing."""
    lines = [click.style(f"amid: {failure.kind}: ", fg="red") + printable(failure.message)]
    if reaches_asterisk and failure.kind in _UNSURE:
        lines.append("      " + (MAY_HAVE_RUN if failure.sent else NEVER_SENT))
    if failure.kind != "action_failed" and failure.response:
        return [*lines, "      Asterisk had answered:", *pairs(failure.response)]
    output = [printable(line, keep="\t") for line in lines_of((failure.response or {}).get("Output", []))]
    return lines + [line for line in output if line not in lines[0]]


def table() -> str:
    """The exit statuses for --help."""
    lines = (f"  {exit.status:>3}  {exit.meaning}" for exit in EXITS)
    return "\b\nExit status:\n" + "\n".join(lines)
