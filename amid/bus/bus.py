"""The bus's process: one connection to NATS at a time, with all servers on it.

`python -m amid bus`: started by the supervisor, or by hand with a configuration, for debugging.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from functools import partial

from nats.micro import add_service
from nats.micro.service import ServiceConfig

from amid import __version__
from amid.bus.announcer import TTL_S, Announcer
from amid.bus.connection import Connection, ConnectionLost
from amid.bus.lease_keeper import LeaseKeeper
from amid.bus.local_broker import LocalBroker
from amid.bus.nats_errors import NATS_ERRORS, describe
from amid.bus.protocol.checkpoint import NOTHING_STORED
from amid.bus.protocol.subjects import Subjects
from amid.bus.rpc_responder import RpcForwarder, RpcResponder, callers_by_prefix, subscribe_for_instance
from amid.bus.server_bus import ServerBus
from amid.bus.server_states import ServerStates
from amid.bus.stream_publisher import StreamPublisher
from amid.bus.streams import open_bucket
from amid.config.tables import Config
from amid.process.child import Child
from amid.process.loop import clock, new_event_loop, run_together
from amid.process.service import Service
from amid.process.settings import BusSettings, bus_settings
from amid.rpc.messages import ServiceHello
from amid.supervision.backoff import Backoff

log = logging.getLogger("amid.bus")

RECONNECT_MIN_S = 0.2
RECONNECT_MAX_S = 5.0
"""Seconds between two attempts to connect to NATS, at first and at most."""
REPORT_S = 1.0
"""Seconds between two reports to the broker."""

NEVER_EXPIRES = """\
the keys of the bucket %s do not expire, so no standby takes over from an amid that dies; \
run nats stream edit KV_%s --max-age %gs"""


class Bus:
    def __init__(self, settings: BusSettings) -> None:
        self._settings = settings
        self._subjects = Subjects(settings.nats.prefix)
        self._callers = callers_by_prefix(settings.callers)
        self._broker = LocalBroker(settings.run_dir)
        self._states = ServerStates(self._broker)
        self._service = Service(settings.run_dir, ServiceHello("bus", []), lambda *_: None, lambda _: None)
        self._connected_to = ""
        self._error = ""
        self._leases: dict[str, LeaseKeeper] = {}
        self._publishers: dict[str, StreamPublisher] = {}
        self._replies: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self._broker.on_reply = lambda reply_to, reply: self._replies.put_nowait((reply_to, reply))

    async def run(self) -> None:
        """Run until cancelled."""
        await run_together(self._states.run(), self._stay_connected(), self._report())

    async def _report(self) -> None:
        """Report to the broker, for `status`."""
        while True:
            owners = {name: lease.owner for name, lease in self._leases.items()}
            where = {"instance": self._settings.instance, "nats": self._connected_to, "error": self._error}
            problems = {name: lease.problem or self._publishers[name].problem for name, lease in self._leases.items()}
            self._service.report({**where, "owners": owners, "problems": problems})
            await asyncio.sleep(REPORT_S)

    async def _stay_connected(self) -> None:
        backoff = Backoff(RECONNECT_MIN_S, RECONNECT_MAX_S)
        while True:
            began = clock.monotonic()
            await self._connect()
            backoff.settled(clock.monotonic() - began)
            await asyncio.sleep(backoff.next())

    async def _connect(self) -> None:
        """Open a connection and use it until it fails."""
        connection = Connection(self._settings.nats)
        try:
            await connection.open(f"amid {self._settings.instance}")
            log.info("connected to NATS at %s as %s", connection.server, self._settings.instance)
            self._connected_to, self._error = connection.server, ""
            await self._use(connection)
        except* ConnectionLost as lost:
            self._error = _first_error(lost)
            log.warning("lost the connection to NATS at %s, reconnecting: %s", self._connected_to, self._error)
        except* NATS_ERRORS as failed:
            self._error = f"{', '.join(self._settings.nats.servers)}: {connection.last_error or _first_error(failed)}"
            log.warning("cannot use NATS, retrying: %s", self._error)
        finally:
            self._connected_to = ""
            self._leases.clear()
            await connection.close()

    async def _use(self, connection: Connection) -> None:
        nats = self._settings.nats
        forwarder = RpcForwarder(connection, self._broker, self._settings.instance)
        await self._announce_instance(connection)
        await subscribe_for_instance(forwarder, self._subjects, self._callers)
        make_owners = partial(open_bucket, connection.jetstream, self._subjects.owners, nats.lease_ttl, nats)
        make_servers = partial(open_bucket, connection.jetstream, self._subjects.servers, TTL_S, nats)
        owners, servers = await make_owners(), await make_servers()
        ttl_s = float((await owners.status()).ttl or 0.0)
        if not ttl_s:
            ttl_s = nats.lease_ttl
            log.warning(NEVER_EXPIRES, self._subjects.owners, self._subjects.owners, ttl_s)
        buses: list[ServerBus] = []
        for name in self._settings.servers:
            lease = self._leases[name] = LeaseKeeper(owners, make_owners, ttl_s, name, self._settings.instance)
            stored = self._publishers[name].stored if name in self._publishers else NOTHING_STORED
            publisher = self._publishers[name] = StreamPublisher(
                connection, self._broker, name, nats, self._settings.instance, lease.holds, stored
            )
            responder = RpcResponder(forwarder, self._states, name, self._subjects, self._callers)
            announcer = Announcer(connection, servers, make_servers, self._states, publisher, name, nats.prefix)
            buses.append(ServerBus(name, lease, publisher, responder, announcer))
        await run_together(connection.watch(), self._send_replies(forwarder), *(bus.run() for bus in buses))

    async def _announce_instance(self, connection: Connection) -> None:
        """Register this instance as a NATS micro service (`$SRV.PING.amid`)."""
        metadata = {"instance": self._settings.instance, "servers": ",".join(self._settings.servers)}
        service = ServiceConfig(name="amid", version=__version__, description="Asterisk PBXs behind amid", metadata=metadata)
        await add_service(connection.client, service)

    async def _send_replies(self, forwarder: RpcForwarder) -> None:
        while True:
            await forwarder.send_reply(*await self._replies.get())


def _first_error(group: BaseExceptionGroup[BaseException]) -> str:
    """The first error of a group, for the log."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return describe(error)


async def _run(child: Child[BusSettings], settings: BusSettings) -> None:
    bus = asyncio.create_task(Bus(settings).run())
    child.start()
    ended = asyncio.create_task(child.ended.wait())
    await asyncio.wait({bus, ended}, return_when=asyncio.FIRST_COMPLETED)
    bus.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await bus  # an error ends the process, and the supervisor replaces it


def _is_worth_logging(record: logging.LogRecord) -> bool:
    """Filter a warning about the protocol of nats-py, which the loop logs at the end of each TLS connection."""
    return "eof_received" not in record.getMessage()


def main(config: Config | None = None) -> None:
    if config is not None and config.nats is None:
        sys.exit("amid: the configuration has no table [nats]; add it to run the bus")
    by_hand = bus_settings(config, config.nats) if config is not None and config.nats is not None else None
    child = Child(BusSettings, by_hand)
    settings = child.settings
    child.set_up_log([settings.nats.password], process="bus")
    logging.getLogger("asyncio").addFilter(_is_worth_logging)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_run(child, settings))
    logging.shutdown()
    os._exit(0)
