"""The live state on a terminal: `amid queues`, `amid channels`, and the current calls of `amid
calls`, shown once or redrawn at each change."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from typing import Any

import click

from amid import wire
from amid.cli import exits, text
from amid.cli.exits import Reporting
from amid.cli.options import LIST_AS_JSON, SERVER, TIMEOUT
from amid.cli.status import duration
from amid.client import Client
from amid.client.changes import Changes
from amid.errors import CallTimeout

REDRAW_S = 1.0
"""Time between two redraws of --watch without a change: durations grow."""

Thing = dict[str, Any]
Things = dict[str, list[Thing]]
Draw = Callable[[Things, float, int | None], list[str]]

WATCH = click.option(
    "--watch",
    is_flag=True,
    help="Redraw at each change until Ctrl-C. With --json: print a line for each change; the first, and the first after a "
    "loss, has the kind `reset` and the whole state in `things`.",
)


def show_calls(top: dict[str, Any], server: str | None, timeout: float, watch: bool, as_json: bool) -> None:
    """Print the current calls."""
    _show(top, server, ["calls", "callers", "channels"], "calls", draw_calls, timeout, watch, as_json)


@click.command(cls=Reporting)
@SERVER
@TIMEOUT
@WATCH
@LIST_AS_JSON
@click.pass_obj
def channels(top: dict[str, Any], server: str | None, timeout: float, watch: bool, as_json: bool) -> None:
    """Show the current channels."""
    _show(top, server, ["channels"], "channels", draw_channels, timeout, watch, as_json)


@click.command(cls=Reporting)
@click.argument("name", required=False, metavar="[NAME]")
@SERVER
@TIMEOUT
@WATCH
@LIST_AS_JSON
@click.pass_obj
def queues(top: dict[str, Any], name: str | None, server: str | None, timeout: float, watch: bool, as_json: bool) -> int:
    """Show the queues, or the queue NAME with its members and waiting callers."""

    def draw(things: Things, now: float, columns: int | None) -> list[str]:
        return draw_queues(things, now, columns) if name is None else draw_queue(name, things, now, columns)

    return _show(top, server, ["queues", "members", "callers"], "queues", draw, timeout, watch, as_json, name)


def _show(
    top: dict[str, Any],
    server: str | None,
    kinds: list[str],
    named: str,
    draw: Draw,
    timeout: float,
    watch: bool,
    as_json: bool,
    queue: str | None = None,
) -> int:
    """Return the exit status. named: the kind that --json prints. queue: the name of the only queue
    to print."""
    if watch and not as_json and not sys.stdout.isatty():
        raise click.UsageError("--watch needs a terminal; in a pipe use --watch --json")
    with Client(top["run_dir"]) as client:
        try:
            if watch and as_json:
                _stream(client.changes(server, kinds), queue)
            elif watch:
                _watch(client.changes(server, kinds, timeout=REDRAW_S), draw)
            else:
                state: Any = client.state(server, None if as_json else kinds, timeout=timeout)
                found = [one for one in state[named] if queue is None or one["name"] == queue]
                _print(state, wire.pack_json(found) if as_json else draw(state, time.time(), text.limit()))
                return 0 if queue is None or found else exits.NOT_DONE
        except KeyboardInterrupt:  # the ordinary way to end --watch
            pass
    return 0


def _print(state: Any, lines: bytes | list[str]) -> None:
    if isinstance(lines, bytes):
        click.echo(lines)
        return
    _warn(state["exact"], state["detail"])
    click.echo("\n".join(lines))


def _warn(exact: bool, detail: str) -> None:
    if not exact:
        click.echo(f"not exact: {text.printable(detail)}; see Rights in etc/doc/state.md", err=True)


def _stream(changes: Changes, queue: str | None) -> None:
    for change in changes:
        if change["kind"] == "reset":
            click.echo(wire.pack_json({**change, "things": {kind: list(of.values()) for kind, of in changes.view.things.items()}}))
        elif queue is None or change["id"] == queue or change["id"].startswith(f"{queue}/"):
            click.echo(wire.pack_json(change))


def _watch(changes: Changes, draw: Draw) -> None:
    """Draw less often where drawing takes long: a draw for each change would show ever older states."""
    from rich.live import Live
    from rich.text import Text

    draw_at = 0.0
    with Live(auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            with contextlib.suppress(CallTimeout):  # redraw the durations
                next(changes)
                if time.monotonic() < draw_at:
                    continue
            began = time.monotonic()
            things = {kind: list(of.values()) for kind, of in changes.view.things.items()}
            lines = draw(things, time.time(), text.limit())
            live.update(Text.from_ansi("\n".join(lines)), refresh=True)
            draw_at = 2 * time.monotonic() - began


# ── drawing ──


def draw_calls(things: Things, now: float, columns: int | None) -> list[str]:
    rows = call_rows(things, now)
    return text.table(rows, columns) if rows else ["no calls"]


def call_rows(things: Things, now: float) -> list[dict[str, str]]:
    """A row for each call, the oldest first."""
    waiting = {one["uniqueid"]: one for one in things["callers"]}
    by_id = {one["uniqueid"]: one for one in things["channels"]}
    rows = []
    for call in sorted(things["calls"], key=lambda call: call["since"]):
        waits = next((waiting[one] for one in call["channels"] if one in waiting), None)
        rows.append(
            {
                "who": person(call, "caller") or _first_channel(call, by_id),
                "whom": f"queue {waits['queue']}" if waits else person(call, "connected") or f"{call['exten']}",
                "state": f"waiting, position {waits['position']}" if waits else call_state(call, by_id),
                "for": duration(now - (waits["since"] if waits else call["since"])),
                "channels": str(len(call["channels"])),
                "linkedid": call["linkedid"],
            }
        )
    return rows


def _first_channel(call: Thing, channels: dict[str, Thing]) -> str:
    """The channel that began a call, without its serial number, "" if it is not known."""
    name = text.decoded(channels[call["linkedid"]]["name"]) if call["linkedid"] in channels else ""
    return name.rpartition("-")[0] or name


def call_state(call: Thing, channels: dict[str, Thing]) -> str:
    """The state of a call in one word."""
    if call["talking"]:
        return "talking"
    states = {channels[one]["state"] for one in call["channels"] if one in channels}
    return "ringing" if states & {"Ring", "Ringing"} else "up" if "Up" in states else "down"


def draw_channels(things: Things, now: float, columns: int | None) -> list[str]:
    rows = [
        {
            "channel": one["name"],
            "state": f"{one['state']}, held" if one["held"] else one["state"],
            "caller": person(one, "caller"),
            "connected": person(one, "connected"),
            "at": f"{text.decoded(one['exten'])}@{text.decoded(one['context'])}:{one['priority']}",
            "bridge": one["bridge"][:8],
            "for": duration(now - one["since"]),
        }
        for one in sorted(things["channels"], key=lambda channel: channel["since"])
    ]
    return text.table(rows, columns) if rows else ["no channels"]


def draw_queues(things: Things, now: float, columns: int | None) -> list[str]:
    rows = [_queue_row(one, things, now) for one in sorted(things["queues"], key=lambda queue: str(queue["name"]))]
    return text.table(rows, columns) if rows else ["no queues"]


def _queue_row(queue: Thing, things: Things, now: float) -> dict[str, str]:
    members = [one for one in things["members"] if one["queue"] == queue["name"]]
    waiting = [one["since"] for one in things["callers"] if one["queue"] == queue["name"]]
    return {
        "queue": queue["name"],
        "waiting": str(len(waiting)),
        "longest": duration(now - min(waiting)) if waiting else "",
        "members": str(len(members)),
        "free": str(sum(one["status"] == "not in use" and not one["paused"] for one in members)),
        "paused": str(sum(one["paused"] for one in members)),
        "completed": str(queue["completed"]),
        "abandoned": str(queue["abandoned"]),
    }


def draw_queue(name: str, things: Things, now: float, columns: int | None) -> list[str]:
    queue = next((one for one in things["queues"] if one["name"] == name), None)
    if queue is None:
        known = ", ".join(sorted(text.printable(one["name"]) for one in things["queues"])) or "none"
        return [f"no queue {text.printable(name)}; the queues are: {known}"]
    lines = text.table([_queue_row(queue, things, now)], columns)
    callers = sorted((one for one in things["callers"] if one["queue"] == name), key=lambda one: one["position"])
    rows = [
        {
            "position": str(one["position"]),
            "caller": person(one, "caller") or one["channel"],
            "waiting": duration(now - one["since"]),
        }
        for one in callers
    ]
    lines += ["", *text.table(rows, columns)] if rows else []
    members = [_member_row(one, now) for one in things["members"] if one["queue"] == name]
    return lines + (["", *text.table(members, columns)] if members else [])


def _member_row(member: Thing, now: float) -> dict[str, str]:
    reason = f": {text.decoded(member['paused_reason'])}" if member["paused_reason"] else ""
    since = f" for {duration(now - member['last_pause'])}" if member["paused"] and member["last_pause"] else ""
    return {
        "member": member["name"],
        "interface": member["interface"],
        "state": f"paused{reason}{since}" if member["paused"] else member["status"],
        "penalty": str(member["penalty"]),
        "calls": str(member["calls_taken"]),
    }


def person(thing: Thing, which: str) -> str:
    """The name and number of a party, "" if neither is known. which: "caller" or "connected"."""
    return f"{text.decoded(thing[which + '_name'])} {text.decoded(thing[which])}".strip()
