"""`amid audit`: the latest records of the audit trail, and new records as they are written."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import click

from amid import wire
from amid.cli.exits import Reporting
from amid.cli.options import json_option
from amid.cli.text import printable
from amid.client import Client
from amid.client.results import AuditRecord

INTERVAL_S = 1.0
"""Seconds between two requests for new records."""

NONE = 'amid: no records yet: no request was denied, and other requests are recorded only with audit = "all" in [rpc]'
NONE_DENIED = "amid: no records of denied requests"


@click.command(cls=Reporting)
@click.option("--denied", is_flag=True, help="Show denied requests only.")
@click.option("--follow", "-f", is_flag=True, help="Show new records as they are written, until Ctrl-C.")
@json_option("Print each record as a line of JSON.")
@click.pass_obj
def audit(top: dict[str, Any], denied: bool, follow: bool, as_json: bool) -> None:
    """Show the audit trail: caller, action, server, target and outcome of each request, with
    secrets hidden.

    Denied requests are always recorded, other requests only with audit = "all" in [rpc]. The broker
    keeps the latest 5,000 records until it ends; the log has all of them.
    """
    shown = 0
    try:
        with Client(top["run_dir"]) as client:
            for record in _records(client, follow):
                if not denied or record["outcome"] == "denied":
                    shown += 1
                    click.echo(wire.pack_json(record) if as_json else line(record))
    except KeyboardInterrupt:
        if follow:  # the ordinary way to end it
            return
        raise
    if not shown:
        click.echo(NONE_DENIED if denied else NONE, err=True)


def _records(client: Client, follow: bool) -> Iterator[AuditRecord]:
    seen = 0
    while True:
        page = client.audit(seen)
        yield from page["records"]
        if page["records"]:
            seen = page["records"][-1]["seq"]
        elif page["seq"] < seen:  # a new broker numbers its records from 1
            seen = 0
        elif follow:
            time.sleep(INTERVAL_S)
        else:
            return


def line(record: AuditRecord) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record["time"]))
    what = [record["method"], record["action"], record["target"] and f"({record['target']})"]
    where = record["server"] and f"on {record['server']}"
    asked = " ".join(printable(part) for part in (*what, where) if part)
    ended = f"{record['outcome']}{_sent(record)}, {record['elapsed']:.3f} s"
    left_out = f"; {record['left_out']} records before it were dropped" if record["left_out"] else ""
    colour = "red" if record["outcome"] == "denied" else None
    who = f"{printable(record['caller'])} ({printable(record['principal'])})"
    return f"{when}  {who}: {asked}: {click.style(ended, fg=colour)}{left_out}"


def _sent(record: AuditRecord) -> str:
    """Whether Asterisk received the action, for outcomes that do not say so."""
    if record["method"] != "action" or record["outcome"] in ("ok", "denied"):
        return ""
    return " (sent to Asterisk)" if record["sent"] else " (not sent to Asterisk)"
