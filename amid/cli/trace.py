"""`amid trace`: the packets between amid and Asterisk, with a line for each gap."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import click
import zmq

from amid import wire
from amid.cli import complete
from amid.cli.exits import Reporting
from amid.cli.options import json_option
from amid.cli.text import decoded, printable, time_of_day
from amid.client import Client
from amid.client.discovery import find_endpoint
from amid.errors import AmidError, unknown_server

TracedPacket = dict[str, Any]

ARROWS = {"sent": "-->", "received": "<--"}


@click.command(cls=Reporting)
@click.option("--server", metavar="NAME", shell_complete=complete.servers, help="Show one server only.  [default: all]")
@click.option("--action", metavar="ID", help="Show only packets with this ActionID, amid's or the caller's.")
@json_option("Print each packet as a line of JSON.")
@click.pass_obj
def trace(top: dict[str, Any], server: str | None, action: str | None, as_json: bool) -> None:
    """Show the packets between amid and Asterisk, with secrets hidden, until Ctrl-C.

    --> marks packets that amid sends, <-- those that it receives. Lines end with CR LF unless
    another line end is shown. If packets come faster than they can be shown, some are dropped and
    counted. Tracing starts within a second and restarts nothing.
    """
    gaps = GapCounter()
    try:
        for packet in _packets(top["run_dir"], server):
            gap = gaps.before(packet)
            if gap:
                click.echo(click.style(f"!!!! {gap}", fg="red", bold=True), err=as_json)
            own_id = packet["own_id"] and decoded(packet["own_id"])
            if action is None or action in (packet["action_id"], own_id):
                click.echo(wire.pack_json(packet) if as_json else block(packet))
    except KeyboardInterrupt:  # the ordinary way to end it
        return


class GapCounter:
    """Detects missing packets from the sequence numbers of each server."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[int, int]] = {}

    def before(self, packet: TracedPacket) -> str:
        """The loss before `packet` as text; "" if there is none."""
        server, epoch, seq = packet["server"], packet["epoch"], packet["seq"]
        last_epoch, last_seq = self._last.get(server, (epoch, seq - 1))
        self._last[server] = (epoch, seq)
        if epoch != last_epoch:
            return f"{server}: the reader was replaced; packets in between are unknown"
        return f"{server}: {seq - last_seq - 1} packets were lost here" if seq != last_seq + 1 else ""


def _packets(run_dir: str | None, server: str | None) -> Iterator[TracedPacket]:
    folder = os.path.dirname(find_endpoint(run_dir, None).removeprefix("ipc://"))
    with Client(run_dir) as client:
        names = [view["name"] for view in client.servers()]
    if server is not None and server not in names:
        raise unknown_server(server, names)
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        for name in names if server is None else [server]:
            _connect(socket, folder, name)
        while True:
            yield wire.unpack(socket.recv_multipart()[1])


def _connect(socket: zmq.Socket[bytes], folder: str, server: str) -> None:
    path = os.path.join(folder, wire.trace_socket(server))
    if not os.path.exists(path):
        raise AmidError("denied", f"{server} may not be traced: set admin = true in [callers.local] of the daemon's configuration")
    if not os.access(path, os.W_OK):
        why = "not every local caller has admin = true in the daemon's configuration"
        raise AmidError("denied", f"only root and amid's own user may trace {server}: {why}")
    socket.subscribe(wire.trace_topic(server))
    socket.connect(wire.ipc(folder, wire.trace_socket(server)))


def block(packet: TracedPacket) -> str:
    """A packet as text: local time, server, session and direction, then its lines."""
    clock = time_of_day(packet["time"], 6)
    where = f"{click.style(packet['server'], fg='cyan')} {packet['session']} {ARROWS[packet['direction']]}"
    whose = f" ({printable(packet['own_id'])})" if packet["own_id"] is not None else ""
    lines = packet["data"].removesuffix(b"\r\n").removesuffix(b"\r\n").split(b"\r\n")
    return "\n".join([f"{click.style(clock, dim=True)} {where}{whose}", *(f"    {printable(line)}" for line in lines)])
