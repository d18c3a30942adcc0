"""`amid call`: what happened to a recorded call; and the list of recorded calls of `amid calls`."""

from __future__ import annotations

import time
from typing import Any

import click

from amid import wire
from amid.cli import exits, text
from amid.cli.events import line as event_line
from amid.cli.exits import Reporting
from amid.cli.options import RESULT_AS_JSON, SERVER
from amid.cli.status import duration
from amid.cli.text import printable, time_of_day
from amid.cli.when import When
from amid.client import Client
from amid.client.event import as_event
from amid.client.results import CallSummary, RecordedCall

ENDED_BY = {
    "caller": "ended by the caller",
    "callee": "ended by the callee",
    "agent": "ended by the agent",
    "pbx": "ended by the PBX",
    "restart": "ended by a restart of Asterisk",
}
NAMED = {"queue": "`amid queues` lists the queues", "agent": "`amid queues NAME` lists the members of a queue"}
"""Filters that compare whole names, and what lists these."""
NEAR_S = 60.0
"""People give times in minutes."""
OUTCOMES = ["answered", "voicemail", "abandoned", "busy", "no answer", "failed", "cancelled", "unknown"]


def show_calls(top: dict[str, Any], as_json: bool, filters: dict[str, Any]) -> None:
    """Print the recorded calls that match `filters`, the params of `Client.calls`."""
    with Client(top["run_dir"]) as client:
        page = client.calls(**filters)
    _warn_of(page.get("unreadable", []))
    if as_json:
        for call in page["calls"]:
            click.echo(wire.pack_json(call))
    else:
        for row in text.table([_columns(call) for call in page["calls"]], text.limit()) if page["calls"] else ["no calls"]:
            click.echo(row)
    number = filters["number"]
    if number and not page["calls"] and not any(map(str.isdigit, number)):
        click.echo("amid: --number compares numbers and extensions; use --name for the name of a party", err=True)
    for name in [name for name in NAMED if filters[name] and not page["calls"]]:
        with Client(top["run_dir"]) as client:
            any_time = client.calls(filters["server"], timeout=filters["timeout"], limit=1, **{name: filters[name]})
        if not any_time["calls"]:
            click.echo(f"amid: no recorded call has the {name} {filters[name]}; {NAMED[name]}", err=True)
    if page["more"]:
        click.echo("amid: there are more calls; use --until or --limit", err=True)


@click.command(cls=Reporting)
@click.argument("linkedid", required=False)
@click.option(
    "--number", metavar="N", help="Instead of a Linkedid: the last call of this number or extension, or its call --at a time."
)
@click.option(
    "--at",
    type=When(),
    metavar="TIME",
    help="14:03, yesterday, 2h, 2026-11-27, '2026-11-27 14:03'. The call in progress then, or the nearest one within 12 hours: "
    "if it is over a minute away, stderr says how far.",
)
@click.option("--all", "every", is_flag=True, help="Show every event as well.")
@SERVER
@RESULT_AS_JSON
@click.pass_obj
def call(
    top: dict[str, Any],
    linkedid: str | None,
    number: str | None,
    at: float | None,
    every: bool,
    server: str | None,
    as_json: bool,
) -> int:
    """Show what happened to a call: who called whom, when it rang, what it waited for, and who hung
    up first.

    LINKEDID is the last column of `amid calls`. A current call is shown up to now.

    \b
    amid call 1795786966.0
    amid call --number 5551234 --at 14:03
    """
    if (linkedid is None) == (number is None):
        raise click.UsageError("give either the LINKEDID of the call or --number")
    with Client(top["run_dir"]) as client:
        found = client.recorded_call(linkedid, server, number=number, at=at, all=every or None)
    if as_json:
        click.echo(wire.pack_json(found))
    elif found["call"] is not None:
        click.echo("\n".join(_describe(found, found["call"])))
    _warn_of(found.get("unreadable", []))
    if found["call"] is None:
        what = linkedid or f"of {number}" + (f" within 12 hours of {_date(at)}" if at is not None else "")
        click.echo(f"amid: no call {what} was recorded", err=True)
        return exits.NOT_DONE
    if at is not None and (away := _distance(found["call"], at)):
        click.echo(f"amid: no call of {number} is recorded at {_date(at)}; this is the nearest one, {away}", err=True)
    return 0


def _columns(call: CallSummary) -> dict[str, Any]:
    return {
        "began": _began(call),
        "seconds": f"{call['ended'] - call['began']:.0f}{'+' * call['late']}" if call["ended"] is not None else "…",
        "who": call["who"],
        "whom": call["whom"] or call["dialled"],
        "queue": call["queue"],
        "outcome": call["outcome"] if call["ended"] is not None else "in progress",
        "ended by": call["ended_by"],
        "linkedid": call["linkedid"],
    }


def _describe(found: RecordedCall, call: CallSummary) -> list[str]:
    """The call in a line, its ladder, and its events when they were asked for."""
    lines = [_title(call), ""]
    for step in found["ladder"]:
        lead = f"{time_of_day(step['time'], 1)} {step['after']:8.1f} s"
        lines.append(f"{click.style(lead, dim=True)}  {printable(step['text'])}")
    if "events" in found:
        lines += ["", *(event_line(as_event(event)) for event in found["events"])]
    if found.get("left_out"):
        lines.append(f"{found['left_out']} further events are left out")
    return lines


def _distance(call: CallSummary, at: float) -> str:
    """How far a call is from a time; "" if it was in progress then, or within a minute of it."""
    if call["began"] > at + NEAR_S:
        return f"{duration(call['began'] - at)} later"
    if call["ended"] is not None and call["ended"] < at - NEAR_S:
        return f"{duration(at - call['ended'])} earlier"
    return ""


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _began(call: CallSummary) -> str:
    return f"{'before ' * call['late']}{_date(call['began'])}"


def _title(call: CallSummary) -> str:
    began = _began(call)
    parties = " → ".join(printable(one) for one in (call["who"], call["whom"] or call["dialled"]) if one)
    if call["ended"] is None:
        return f"{click.style(parties, bold=True)}  {began}, in progress"
    facts = [
        call["outcome"],
        f"{'more than ' * call['late']}{call['ended'] - call['began']:.0f} s",
        ENDED_BY.get(call["ended_by"], ""),
    ]
    return f"{click.style(parties, bold=True)}  {began}, {', '.join(fact for fact in facts if fact)}"


def _warn_of(unreadable: list[str]) -> None:
    for file in unreadable:
        click.echo(f"amid: cannot read a recorded file: {printable(file)}", err=True)
