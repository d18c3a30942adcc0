"""`amid events`: events, one a line, with a line for each gap."""

from __future__ import annotations

import difflib
from dataclasses import asdict
from typing import Any

import click

from amid import wire
from amid.cli import complete
from amid.cli.exits import Reporting
from amid.cli.options import WholeNumber, json_option
from amid.cli.text import lines_of, printable, time_of_day
from amid.client import Client, Event, Gap
from amid.client.event import describe
from amid.events.where import Condition


class Where(click.ParamType[Condition]):
    name = "K=V"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Condition:
        if isinstance(value, Condition):
            return value
        try:
            return Condition.of(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command(cls=Reporting)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete.events)
@click.option("--server", metavar="NAME", shell_complete=complete.servers, help="Show one server only.  [default: all]")
@click.option(
    "--where",
    "conditions",
    multiple=True,
    type=Where(),
    help="Show only events whose header K is V, or contains V (K~V). May be repeated: all must hold.",
)
@click.option("--count", type=WholeNumber(1), metavar="N", help="End after N events.")
@json_option("Print each event as a line of JSON.")
@click.pass_obj
def events(
    top: dict[str, Any],
    names: tuple[str, ...],
    server: str | None,
    conditions: tuple[Condition, ...],
    count: int | None,
    as_json: bool,
) -> None:
    """Show events as they occur, all or those with these NAMEs, until Ctrl-C.

    Events that the daemon no longer holds, because this program or its terminal was too slow, are
    shown as a gap; with --json as an object {"gap": ...}.
    """
    for doubt in filter(None, map(_doubt, names)):
        click.echo(f"amid: {doubt}", err=True)
    left = count
    try:
        with Client(top["run_dir"]) as client, client.events(*names, server=server, gaps=True) as stream:
            for item in stream:
                if isinstance(item, Gap):
                    click.echo(_gap_json(item) if as_json else _gap_line(item))
                    continue
                if not all(condition.meets(item.fields) for condition in conditions):
                    continue
                click.echo(_json(item) if as_json else line(item))
                left = left and left - 1
                if left == 0:
                    return
    except KeyboardInterrupt:  # the ordinary way to end it
        return


def _doubt(name: str) -> str:
    """A note about a name that may never come, or ""."""
    if "*" in name:
        return f"{printable(name)!r}: names of events have no wildcards"
    known = {event.lower(): event for event in complete.EVENTS}
    close = difflib.get_close_matches(name.lower(), known, 1, cutoff=0.9)  # uncommon events resemble common ones
    return f"did you mean {known[close[0]]!r}? Waiting for {printable(name)!r}" if close and close[0] != name.lower() else ""


def _gap_line(gap: Gap) -> str:
    return click.style(f"!!!! GAP {printable(describe(gap))}", fg="red", bold=True)


def _gap_json(gap: Gap) -> bytes:
    return wire.pack_json({"gap": asdict(gap)})


def _json(event: Event) -> bytes:
    return wire.pack_json({name: getattr(event, name) for name in ("server", "epoch", "seq", "prev", "time", "event", "fields")})


def line(event: Event) -> str:
    """An event as text: local time, server, name and headers."""
    clock = time_of_day(event.time, 3)
    headers = " ".join(_header(name, v) for name, value in event.fields.items() for v in lines_of(value))
    lead = f"{click.style(clock, dim=True)} {click.style(printable(event.server), fg='cyan')}"
    return f"{lead} {click.style(printable(event.event), bold=True)} {headers}".rstrip()


def _header(name: Any, value: Any) -> str:
    return f"{click.style(printable(name), dim=True)}={_quoted(printable(value))}"


def _quoted(value: str) -> str:
    """A value, in quotes if it is empty or contains spaces."""
    return value if value and " " not in value and '"' not in value else '"' + value.replace('"', '\\"') + '"'
