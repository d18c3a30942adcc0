"""`amid status`: servers, processes and counters, once or updated every second."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from amid import wire
from amid.cli import exits, text
from amid.cli.options import RESULT_AS_JSON
from amid.client import Client
from amid.client.results import Process, Server, Status
from amid.errors import AmidError

INTERVAL_S = 1.0
"""Seconds between two updates of --watch."""

_COLOURS = {"up": "green", "connecting": "yellow", "booting": "yellow", "lost": "red", "rejected": "red"}


@click.command(cls=exits.Reporting)
@click.option("--watch", is_flag=True, help="Update every second until Ctrl-C; with --json, print a line every second.")
@RESULT_AS_JSON
@click.pass_obj
def status(top: dict[str, Any], watch: bool, as_json: bool) -> None:
    """Show the servers, the daemon's processes, and its counters."""
    if watch and not as_json and not sys.stdout.isatty():
        raise click.UsageError("--watch requires a terminal; use --watch --json in a pipe")
    with Client(top["run_dir"]) as client:
        if not watch:
            _once(client, as_json)
            return
        try:
            _stream(client) if as_json else _watch(client)
        except KeyboardInterrupt:  # the ordinary way to end it
            return


def _once(client: Client, as_json: bool) -> None:
    result = client.status()
    click.echo(wire.pack_json(result) if as_json else "\n".join(drawn(result, time.time(), text.limit())))


def _stream(client: Client) -> None:
    while True:
        _once(client, as_json=True)
        time.sleep(INTERVAL_S)


def _watch(client: Client) -> None:
    from rich.live import Live
    from rich.text import Text

    with Live(auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            live.update(Text.from_ansi("\n".join(_status_lines(client))), refresh=True)
            time.sleep(INTERVAL_S)


def _status_lines(client: Client) -> list[str]:
    """The status as lines, or the error: --watch continues until the daemon is back."""
    try:
        return drawn(client.status(), time.time(), text.limit())
    except AmidError as failure:
        return exits.format_error(failure, reaches_asterisk=False)


def drawn(status: Status, now: float, columns: int | None) -> list[str]:
    servers, processes = status["servers"], status["processes"]
    lines = [click.style(f"amid {status['version']}, up {duration(status['uptime'])}", bold=True), ""]
    lines += text.table([_server(s, now) for s in servers], columns, _paint) if servers else ["no servers"]
    lines += ["", *text.table([_process(p) for p in processes], columns)] if processes else []
    lines += [click.style(f"{p['name']}: {text.printable(p['problem'])}", fg="red") for p in processes if p["problem"]]
    lines += _bus(status["services"].get("bus"), columns)
    callers = [{"caller": caller["name"], "open calls": str(caller["open_calls"])} for caller in status["callers"]]
    lines += ["", *text.table(callers, columns)] if callers else []
    counters = {"": status["counters"]} | {f"{s['name']}.": s["counters"] for s in servers}
    counted = {prefix + name: n for prefix, group in counters.items() for name, n in group.items() if n}
    return lines + (["", *text.pairs(counted)] if counted else [])


def _bus(report: dict[str, Any] | None, columns: int | None) -> list[str]:
    """The connection to NATS, and which amid serves each PBX there."""
    if not report:
        return []
    if not report["nats"]:
        return ["", f"bus: no connection to NATS: {text.printable(report['error']) or 'not connected yet'}"]
    served = {name: "this amid" if owner == report["instance"] else owner for name, owner in report["owners"].items()}
    rows = [{"bus": name, "served by": owner or "unknown", "NATS": report["nats"]} for name, owner in served.items()]
    problems = [f"bus, {name}: {problem}" for name, problem in report["problems"].items() if problem]
    return ["", *text.table(rows, columns), *(click.style(text.printable(one), fg="red") for one in problems)] if rows else []


def _server(server: Server, now: float) -> dict[str, str]:
    lanes = server["lanes"]
    return {
        "server": server["name"],
        "state": server["state"],
        "since": f"{duration(now - server['since'])} ago" if server["since"] else "",
        "asterisk": server["asterisk"],
        "lanes": f"{lanes['busy']} busy, {lanes['free']} free, at most {lanes['limit']}",
        "queued": str(server["queued"]),
        "epoch": str(server["epoch"]),
        "events": str(server["seq"]),
        "detail": server["detail"],
    }


def _process(process: Process) -> dict[str, str]:
    return {
        "process": process["name"],
        "pid": str(process["pid"] or "none"),
        "up": duration(process["uptime"]),
        "restarts": str(process["restarts"]),
        "last exit": process["last_exit"] or "",
    }


def _paint(name: str, cell: str) -> str:
    return click.style(cell, fg=_COLOURS.get(cell.strip())) if name == "state" else cell


def duration(seconds: float) -> str:
    """The two largest units of a time span: 3d 4h, 12m 3s, 7s."""
    whole = max(0, int(seconds))
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "m"), (whole % 60, "s")]
    first = next((i for i, (n, _) in enumerate(parts) if n), 3)
    return " ".join(f"{n}{unit}" for n, unit in parts[first : first + 2])
