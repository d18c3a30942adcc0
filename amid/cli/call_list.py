"""`amid calls`: the current calls, which the process `state` knows, or with any filter the recorded
ones."""

from __future__ import annotations

from typing import Any

import click

from amid.cli import history, live
from amid.cli.exits import Reporting
from amid.cli.options import SERVER, TIMEOUT, Number, WholeNumber, json_option
from amid.cli.when import When


@click.command(cls=Reporting)
@click.option(
    "--since", type=When(), metavar="TIME", help="Calls that began then or later: 14:03, today, yesterday, 2h, 2026-11-27."
)
@click.option("--until", type=When(), metavar="TIME", help="Calls that began then or earlier.")
@click.option(
    "--number",
    metavar="N",
    help="A number or extension in the call: six or more digits match the end of a number, fewer only a whole number.",
)
@click.option("--name", metavar="TEXT", help="A part of what a call shows: a name, a number, a queue.")
@click.option("--queue", metavar="NAME", help="The queue that the caller was in.")
@click.option("--agent", metavar="NAME", help="The whole name of the queue member that answered.")
@click.option("--ended-by", type=click.Choice(list(history.ENDED_BY)), help="Who hung up first.")
@click.option("--outcome", type=click.Choice(history.OUTCOMES), help="How the call ended.")
@click.option("--lost", is_flag=True, help="Calls in which nobody spoke to the caller.")
@click.option("--longer", type=Number(0), metavar="SECONDS", help="Calls of at least this duration.")
@click.option("--shorter", type=Number(0), metavar="SECONDS", help="Calls of at most this duration.")
@click.option("--limit", type=WholeNumber(1, 1000), metavar="N", help="How many recorded calls to show.  [default: 50]")
@SERVER
@TIMEOUT
@live.WATCH
@json_option("Print the current calls as one JSON array, or each recorded call as a line of JSON.")
@click.pass_obj
def calls(
    top: dict[str, Any], /, server: str | None, timeout: float, watch: bool, as_json: bool, lost: bool, **filters: Any
) -> None:
    """Show the current calls or, with a filter, recorded calls, the newest first.

    Recorded calls need [recorder] in the configuration, and `history` for this user
    (etc/doc/recorder.md).

    \b
    amid calls --watch
    amid calls --since yesterday --queue support --lost
    amid calls --number 5551234 --ended-by caller --longer 60
    """
    if filters["since"] is not None and filters["until"] is not None and filters["since"] > filters["until"]:
        raise click.UsageError("--since is later than --until")
    filters["lost"] = lost or None
    if all(value is None for value in filters.values()):
        live.show_calls(top, server, timeout, watch, as_json)
    elif watch:
        raise click.UsageError("--watch shows the current calls and takes no filter")
    else:
        history.show_calls(top, as_json, {**filters, "server": server, "timeout": timeout})
