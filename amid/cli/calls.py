"""`amid action`, `command`, `actions` and `restart`: one call each, with the answer as text or JSON."""

from __future__ import annotations

from typing import Any

import click

from amid import wire
from amid.cli import complete, exits, text
from amid.cli.exits import Reporting, ReportingAction
from amid.cli.options import LIST_AS_JSON, RESULT_AS_JSON, SERVER, TIMEOUT, Header, fields
from amid.client import Client
from amid.client.results import ActionResult, OfferedAction

_FRAME = text.HIDDEN | {"ListItems"}
"""Headers of every list's closing event that are not shown."""


@click.command(cls=ReportingAction)
@click.argument("name", shell_complete=complete.actions)
@click.argument("headers", nargs=-1, type=Header(), metavar="[K=V]...")
@SERVER
@TIMEOUT
@click.option("--until", metavar="EVENT", shell_complete=complete.events, help="Also wait for this later event of the action.")
@RESULT_AS_JSON
@click.pass_obj
def action(
    top: dict[str, Any],
    name: str,
    headers: tuple[tuple[str, str], ...],
    server: str | None,
    timeout: float,
    until: str | None,
    as_json: bool,
) -> int:
    """Send an action and show its complete answer.

    \b
    amid action QueueStatus Queue=support
    amid action Originate Channel=Local/100@default Application=Playback Data=beep Async=true --until OriginateResponse --timeout 60
    """
    with Client(top["run_dir"]) as client:
        result = client.action(name, fields(headers), server=server, timeout=timeout, until=until)
    _show(result, _answer(result), as_json)
    has_failed = (result.get("until") or {}).get("Response") in ("Failure", "Error")
    return exits.NOT_DONE if has_failed else 0


@click.command(cls=ReportingAction)
@click.argument("words", nargs=-1, required=True, metavar="TEXT...")
@SERVER
@TIMEOUT
@RESULT_AS_JSON
@click.pass_obj
def command(top: dict[str, Any], words: tuple[str, ...], server: str | None, timeout: float, as_json: bool) -> None:
    """Run an Asterisk CLI command: amid command core show channels"""
    with Client(top["run_dir"]) as client:
        result = client.action("Command", {"Command": " ".join(words)}, server=server, timeout=timeout)
    _show(result, _output(result), as_json)


@click.command(cls=Reporting)
@SERVER
@LIST_AS_JSON
@click.pass_obj
def actions(top: dict[str, Any], server: str | None, as_json: bool) -> None:
    """Show the actions that this Asterisk offers."""
    with Client(top["run_dir"]) as client:
        listed = client.actions(server)
    _show(listed, text.table([_columns(row) for row in listed], text.limit()), as_json)


@click.command(cls=Reporting)
@click.argument("server", shell_complete=complete.servers)
@RESULT_AS_JSON
@click.pass_obj
def restart(top: dict[str, Any], server: str, as_json: bool) -> None:
    """Replace the reader process of a server.

    Calls in flight finish first. The event session ends: programs see a gap and a new epoch.
    """
    with Client(top["run_dir"]) as client:
        result = client.restart(server)
    _show(result, [f"{text.printable(result['server'])}: the reader is being replaced; see `amid status`"], as_json)


def _show(result: Any, lines: list[str], as_json: bool) -> None:
    if as_json:
        click.echo(wire.pack_json(result))
    elif lines:
        click.echo("\n".join(lines))


def _answer(result: ActionResult) -> list[str]:
    """The lines of an answer: the output of a Command, or the response, the list, its closing
    event, and the awaited event."""
    if result.get("output"):
        return _output(result)
    closing = {name: value for name, value in (result.get("complete") or {}).items() if name not in _FRAME}
    lines = text.pairs(result["response"]) + text.lists(result["events"], text.limit())
    if result.get("complete") and not result["events"]:
        lines += ["", "no items"]
    if closing:
        lines += ["", *text.pairs(closing)]
    return lines + (text.lists([result["until"]], 0) if result.get("until") else [])


def _output(result: ActionResult) -> list[str]:
    return [text.printable(line, keep="\t") for line in result["output"]]


def _columns(row: OfferedAction) -> dict[str, Any]:
    return {"name": row["name"], "privilege": row["privilege"], "synopsis": row["synopsis"]}
