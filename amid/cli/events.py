"""`amid events`: the stream, one event a line; what is missing is shown in its place, and fetched once more if it can be."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import click

from amid import wire
from amid.cli import complete
from amid.cli.exits import Reporting
from amid.cli.options import JSON
from amid.cli.text import decoded, lines_of, printable
from amid.client import Client, Event, Gap, feed
from amid.errors import AmidError


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

    Missing events are shown as a gap, followed by those of them that the daemon still holds. With --json a gap is an
    object of its own, {"gap": ...}.
    """
    left = count
    try:
        with Client(top["run_dir"]) as client, client.events(*names, server=server, gaps=True) as stream:
            for item in _with_lost(client, stream, _gap_json if as_json else _gap_line):
                if not matches(item, conditions):
                    continue
                click.echo(_json(item) if as_json else line(item))
                left = left and left - 1
                if left == 0:
                    return
    except KeyboardInterrupt:  # the ordinary way to end it
        return


def _with_lost(client: Client, stream: Iterator[Event | Gap], show: Callable[[Gap, int, str], None]) -> Iterator[Event]:
    """The stream's events; where there is a gap, it is shown and the events that can be had again come in their place."""
    for item in stream:
        if isinstance(item, Event):
            yield item
            continue
        again, why = _replay(client, item)
        show(item, len(again), why)
        yield from again


def _replay(client: Client, gap: Gap) -> tuple[list[Event], str]:
    """(the events of a gap that the daemon still holds, why not all of them)."""
    found: list[Event] = []
    after, more = gap.after, gap.missed is not None
    try:
        while more and len(found) < (gap.missed or 0):
            events, more = client.replay(gap.server, gap.epoch, after)
            found += [event for event in events if gap.event in (None, event.event)]
            after, more = (events[-1].seq, more) if events else (after, False)
    except AmidError as error:
        return found, error.message
    return found[: gap.missed or 0], ""


def _gap_line(gap: Gap, again: int, why: str) -> None:
    lost = "" if gap.missed is None else f"; {again} of them follow, from what the daemon holds"
    reason = f" ({printable(why)})" if why else ""
    click.echo(click.style(f"!!!! GAP {printable(feed.told(gap))}{lost}{reason}", fg="red", bold=True))


def _gap_json(gap: Gap, again: int, why: str) -> None:
    known = {name: getattr(gap, name) for name in ("server", "epoch", "after", "missed", "reason", "event")}
    click.echo(wire.pack_json({"gap": {**known, "replayed": again, "why": why}}))


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
