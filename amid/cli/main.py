"""The command `amid`: the table of its commands, each imported only when it is called."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any, NamedTuple

import click
from click.shell_completion import CompletionItem

from amid import __version__
from amid.cli import exits


class Entry(NamedTuple):
    """The module of a command, which defines it under its name, and its line in --help."""

    module: str
    help: str


COMMANDS = {
    "run": Entry("amid.cli.run", "Run the daemon in the foreground."),
    "demo": Entry("amid.cli.demo", "Run a simulated PBX and the complete daemon in front of it."),
    "check": Entry("amid.cli.run", "Validate the configuration and show it."),
    "action": Entry("amid.cli.calls", "Send an action and show its complete answer."),
    "command": Entry("amid.cli.calls", "Run an Asterisk CLI command."),
    "events": Entry("amid.cli.events", "Show events as they occur."),
    "calls": Entry("amid.cli.call_list", "Show the current calls or, with a filter, recorded calls."),
    "call": Entry("amid.cli.history", "Show what happened to a call."),
    "queues": Entry("amid.cli.live", "Show the queues, or one with its members and callers."),
    "channels": Entry("amid.cli.live", "Show the current channels."),
    "trace": Entry("amid.cli.trace", "Show the packets between amid and Asterisk."),
    "status": Entry("amid.cli.status", "Show the servers, the daemon's processes, and its counters."),
    "audit": Entry("amid.cli.audit", "Show the audit trail."),
    "actions": Entry("amid.cli.calls", "Show the actions that this Asterisk offers."),
    "restart": Entry("amid.cli.calls", "Replace the reader process of a server."),
    "keygen": Entry("amid.cli.keygen", "Make a CURVE key pair for TCP."),
    "completion": Entry("amid.cli.complete", "Print the completion script for a shell."),
}


class Lazy(click.Group):
    """A group that reads its commands from the table, so that --help and completion import none of
    them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(COMMANDS[cmd_name].module), cmd_name)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            from amid.rpc.type_words import suggest_key

            raise click.UsageError(f"there is no command {args[0]!r}{suggest_key(args[0], list(COMMANDS))}", ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        names = [CompletionItem(name, help=entry.help) for name, entry in COMMANDS.items() if name.startswith(incomplete)]
        return names + click.Command.shell_complete(self, ctx, incomplete)


def _check_run_dir(context: click.Context, option: click.Parameter, run_dir: str | None) -> str | None:
    if run_dir == "":
        raise click.BadParameter("the value is empty; is a shell variable unset?", context, option)
    return run_dir


@click.group(cls=Lazy, epilog=exits.table(), context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--run-dir",
    metavar="DIR",
    type=click.Path(),
    callback=_check_run_dir,
    help="The daemon's directory.  [default: AMID_RUN_DIR, else the first of /run/amid, $XDG_RUNTIME_DIR/amid with a socket]",
)
@click.version_option(__version__, message="amid %(version)s")
@click.pass_context
def amid(ctx: click.Context, run_dir: str | None) -> None:
    """RPC and events for everything that talks to an Asterisk PBX."""
    ctx.obj = {"run_dir": run_dir}
    ctx.color = False if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" else None


def run(argv: list[str]) -> int:
    """Run the command line and return its exit status (`exits`)."""
    for stream in (sys.stdout, sys.stderr):
        _lenient(stream)
    try:
        status = amid.main(argv, prog_name="amid", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return exits.INTERRUPTED
    except OSError as error:
        status = exits.unwritable_stdout(error)
        if status is None:
            raise
    return status if isinstance(status, int) else 0


def _lenient(stream: Any) -> None:
    """Escape characters that the terminal's encoding lacks, instead of failing."""
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")
