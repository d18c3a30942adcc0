"""`amid events`: the stream, one event a line; what is missing, and cannot be fetched once more, is shown in its place."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

import click

from amid import wire
from amid.cli import complete
from amid.cli.exits import Reporting
from amid.cli.options import JSON
from amid.cli.text import decoded, lines_of, printable
from amid.client import Client, Event, Gap, feed


class Where(click.ParamType[tuple[str, str, str]]):
    """K=V for equal or K~V for contains; the first of the two signs splits."""

    name = "K=V"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str, str]:
        if isinstance(value, tuple):
            return value
        at = min((i for i in map(str(value).find, "=~") if i > 0), default=0)
        if not at:
            self.fail(f"{value!r} is no condition: write NAME=VALUE for equal, NAME~PART for contains", param, ctx)
        return value[:at].lower(), value[at], value[at + 1 :]


@click.command(cls=Reporting)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete.events)
@click.option("--server", metavar="NAME", shell_complete=complete.servers, help="One server only; otherwise all.")
@click.option(
    "--where", "conditions", multiple=True, type=Where(), help="Only events whose header K is V, or with K~V contains V."
)
@click.option("--count", type=click.IntRange(1), metavar="N", help="End after N events.")
@JSON
@click.pass_obj
def events(
    top: dict[str, Any],
    names: tuple[str, ...],
    server: str | None,
    conditions: tuple[tuple[str, str, str], ...],
    count: int | None,
    as_json: bool,
) -> None:
    """Show events as they come: all, or those with these NAMEs. Ctrl-C ends it.

    Events that were lost on the way are fetched once more, in their place. What the daemon no longer holds is shown as
    a gap; with --json that is an object of its own, {"gap": ...}.
    """
    left = count
    try:
        with Client(top["run_dir"]) as client, client.events(*names, server=server, gaps=True) as stream:
            for item in stream:
                if isinstance(item, Gap):
                    click.echo(_gap_json(item) if as_json else _gap_line(item))
                    continue
                if not matches(item, conditions):
                    continue
                click.echo(_json(item) if as_json else line(item))
                left = left and left - 1
                if left == 0:
                    return
    except KeyboardInterrupt:  # the ordinary way to end it
        return


def _gap_line(gap: Gap) -> str:
    return click.style(f"!!!! GAP {printable(feed.told(gap))}", fg="red", bold=True)


def _gap_json(gap: Gap) -> bytes:
    return wire.pack_json({"gap": asdict(gap)})


def _json(event: Event) -> bytes:
    return wire.pack_json({name: getattr(event, name) for name in ("server", "epoch", "seq", "nth", "time", "event", "fields")})


def matches(event: Event, conditions: tuple[tuple[str, str, str], ...]) -> bool:
    """Whether the event meets all conditions. Header names compare without case; one value of a repeated header is enough."""
    return all(any(_meets(value, sign, wanted) for value in _values(event, name)) for name, sign, wanted in conditions)


def _values(event: Event, name: str) -> list[str]:
    return [decoded(v) for header, value in event.fields.items() if decoded(header).lower() == name for v in lines_of(value)]


def _meets(value: str, sign: str, wanted: str) -> bool:
    return value == wanted if sign == "=" else wanted in value


def line(event: Event) -> str:
    """Time of day, server, event, and its headers."""
    clock = time.strftime("%H:%M:%S", time.localtime(event.time)) + f"{event.time % 1:.3f}"[1:]
    headers = " ".join(_header(name, v) for name, value in event.fields.items() for v in lines_of(value))
    lead = f"{click.style(clock, dim=True)} {click.style(printable(event.server), fg='cyan')}"
    return f"{lead} {click.style(printable(event.event), bold=True)} {headers}".rstrip()


def _header(name: Any, value: Any) -> str:
    return f"{click.style(printable(name), dim=True)}={_quoted(printable(value))}"


def _quoted(value: str) -> str:
    """In quotes when it would run into its neighbours."""
    return value if value and " " not in value and '"' not in value else '"' + value.replace('"', '\\"') + '"'
