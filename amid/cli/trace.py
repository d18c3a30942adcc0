"""`amid trace`: the packets between amid and Asterisk as they go by, and in their place a word where some were lost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import click
import zmq

from amid import wire
from amid.cli import complete
from amid.cli.exits import Reporting
from amid.cli.options import JSON
from amid.cli.text import decoded, printable, time_of_day
from amid.client import Client
from amid.client.discovery import find_endpoint
from amid.errors import AmidError

Seen = dict[str, Any]

ARROWS = {"sent": "-->", "received": "<--"}


@click.command(cls=Reporting)
@click.option("--server", metavar="NAME", shell_complete=complete.servers, help="One server only; otherwise all.")
@click.option("--action", metavar="ID", help="Only packets of this ActionID: amid's own, or the caller's.")
@JSON
@click.pass_obj
def trace(top: dict[str, Any], server: str | None, action: str | None, as_json: bool) -> None:
    """Show the packets of the sessions with Asterisk as they go by, secrets hidden. Ctrl-C ends it.

    --> is what amid sends and <-- what Asterisk does. A line ends with CR LF unless another end is shown. Packets that come faster
    than they can be shown are left out, and counted. It begins within a second; nothing is started anew for it.
    """
    numbers = Numbers()
    try:
        for seen in _packets(top["run_dir"], server):
            gap = numbers.gap(seen)
            if gap:
                click.echo(click.style(f"!!!! {gap}", fg="red", bold=True), err=as_json)
            own_id = seen["own_id"] and decoded(seen["own_id"])
            if action is None or action in (seen["action_id"], own_id):
                click.echo(wire.pack_json(seen) if as_json else block(seen))
    except KeyboardInterrupt:  # the ordinary way to end it
        return


class Numbers:
    """What is missing, by the numbers of each server's packets."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[int, int]] = {}

    def gap(self, seen: Seen) -> str:
        """What was lost before `seen`, in words; "" when nothing was."""
        server, epoch, seq = seen["server"], seen["epoch"], seen["seq"]
        last_epoch, last_seq = self._last.get(server, (epoch, seq - 1))
        self._last[server] = (epoch, seq)
        if epoch != last_epoch:
            return f"{server}: its reader was replaced; what went by meanwhile is not known"
        return f"{server}: {seq - last_seq - 1} packets were lost here" if seq != last_seq + 1 else ""


def _packets(run_dir: str | None, server: str | None) -> Iterator[Seen]:
    folder = os.path.dirname(find_endpoint(run_dir, None).removeprefix("ipc://"))
    with Client(run_dir) as client:
        names = [view["name"] for view in client.servers()]
    if server is not None and server not in names:
        raise AmidError("unknown_server", f"there is no server {server!r}; the servers are {', '.join(names) or 'none'}")
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        for name in names if server is None else [server]:
            _look(socket, folder, name)
        while True:
            yield wire.unpack(socket.recv_multipart()[1])


def _look(socket: zmq.Socket[bytes], folder: str, server: str) -> None:
    path = os.path.join(folder, wire.trace_socket(server))
    if not os.path.exists(path):
        raise AmidError("denied", f"{server} may not be traced: [callers.local] in the daemon's configuration lacks admin = true")
    if not os.access(path, os.W_OK):
        why = "a local caller in the daemon's configuration lacks admin = true"
        raise AmidError("denied", f"only root and amid's own user may trace {server}: {why}")
    socket.subscribe(wire.trace_topic(server))
    socket.connect(wire.ipc(folder, wire.trace_socket(server)))


def block(seen: Seen) -> str:
    """Time of day, server, session and direction, then the packet's lines."""
    clock = time_of_day(seen["time"], 6)
    head = f"{click.style(clock, dim=True)} {click.style(seen['server'], fg='cyan')} {seen['session']} {ARROWS[seen['direction']]}"
    whose = f" ({printable(seen['own_id'])})" if seen["own_id"] is not None else ""
    lines = seen["data"].removesuffix(b"\r\n").removesuffix(b"\r\n").split(b"\r\n")
    return "\n".join([head + whose, *(f"    {printable(line)}" for line in lines)])
