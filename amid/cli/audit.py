"""`amid audit`: the last records of the audit trail, and further ones as they come."""

from __future__ import annotations

import time
from typing import Any

import click

from amid import wire
from amid.cli.exits import Reporting
from amid.cli.options import JSON
from amid.cli.text import printable
from amid.client import Client

INTERVAL_S = 1.0
"""Seconds between two looks at what has come."""

NONE = 'amid: no records yet: no request was denied, and what was done is recorded with audit = "all" in [rpc]'
NONE_DENIED = "amid: no records of denied requests"


@click.command(cls=Reporting)
@click.option("--denied", is_flag=True, help="Only what was denied.")
@click.option("--follow", "-f", is_flag=True, help="Go on with further records as they come. Ctrl-C ends it.")
@JSON
@click.pass_obj
def audit(top: dict[str, Any], denied: bool, follow: bool, as_json: bool) -> None:
    """Show who asked for which action on which server with which target, and what came of it, secrets hidden.

    What was denied is recorded always, what was done where the configuration has audit = "all" in [rpc]. The broker keeps the last
    5,000 records, until it ends; the log has them all.
    """
    seen = shown = 0
    with Client(top["run_dir"]) as client:
        while True:
            page = client.audit(seen)
            for record in page["records"]:
                if not denied or record["outcome"] == "denied":
                    shown += 1
                    click.echo(wire.pack_json(record) if as_json else line(record))
            if page["records"]:
                seen = page["records"][-1]["seq"]
            elif page["seq"] < seen:  # another broker, which begins at 1
                seen = 0
            elif follow:
                time.sleep(INTERVAL_S)
            else:
                break
    if not shown:
        click.echo(NONE_DENIED if denied else NONE, err=True)


def line(record: dict[str, Any]) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record["time"]))
    what = [record["method"], record["action"], record["target"] and f"({record['target']})"]
    where = record["server"] and f"on {record['server']}"
    asked = " ".join(printable(part) for part in (*what, where) if part)
    ended = f"{record['outcome']}{_sent(record)}, {record['elapsed']:.3f} s"
    left_out = f"; {record['left_out']} before it were left out" if record["left_out"] else ""
    colour = "red" if record["outcome"] == "denied" else None
    who = f"{printable(record['caller'])} ({printable(record['principal'])})"
    return f"{when}  {who}: {asked}: {click.style(ended, fg=colour)}{left_out}"


def _sent(record: dict[str, Any]) -> str:
    """For an outcome that leaves open whether Asterisk received the action."""
    if record["method"] != "action" or record["outcome"] in ("ok", "denied"):
        return ""
    return " (sent to Asterisk)" if record["sent"] else " (not sent to Asterisk)"
