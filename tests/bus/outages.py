"""Faults of NATS, each as a context: the fault holds inside, and afterwards all is as before."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

from tests.bus.nats_server import NatsServer
from tests.faults.relay import Relay

USERS = """
authorization {{
  users = [
    {{user: amid, password: "geheim-amid", permissions: {{publish: {{allow: ">", deny: {denied} }},
      subscribe: {{allow: ">", deny: {unread} }} }} }}
    {{user: consumer, password: "geheim-consumer"}}
  ]
}}
"""
PERMITTED = USERS.format(denied='["none"]', unread='["none"]')
WITHDRAWN = USERS.format(denied='["amid.event.>", "$JS.API.>"]', unread='["none"]')
UNREAD = USERS.format(denied='["none"]', unread='["_INBOX.>"]')
FULL = 'jetstream {{ store_dir: "{store}", max_file_store: {size} }}'
FREE_BYTES = 40_000
"""Room in a full store: for some of the events of an outage, not for all."""


class RelayedNats(NamedTuple):
    """A nats-server, and the relay through which amid reaches it."""

    server: NatsServer
    relay: Relay


Outage = Callable[[RelayedNats], AbstractContextManager[None]]


@contextmanager
def killed(nats: RelayedNats) -> Iterator[None]:
    """SIGKILL, and a start with the same store."""
    nats.server.kill()
    yield
    nats.server.start()


@contextmanager
def stopped(nats: RelayedNats) -> Iterator[None]:
    """SIGSTOP: connections stay open, without an answer."""
    nats.server.signal(signal.SIGSTOP)
    yield
    nats.server.signal(signal.SIGCONT)


@contextmanager
def slow(nats: RelayedNats) -> Iterator[None]:
    """A delay of 0.2 s in each direction."""
    with nats.relay.behaving("latency"):
        yield


@contextmanager
def silent(nats: RelayedNats) -> Iterator[None]:
    """Connections are accepted, and never answered."""
    with nats.relay.behaving("silent"):
        yield


@contextmanager
def cut(nats: RelayedNats) -> Iterator[None]:
    """All connections are reset, at the start and at the end."""
    nats.relay.cut(True)
    yield
    nats.relay.cut(False)


@contextmanager
def emptied(nats: RelayedNats) -> Iterator[None]:
    """SIGKILL, and a start without the store."""
    nats.server.kill()
    yield
    shutil.rmtree(nats.server.store)
    nats.server.start()


@contextmanager
def denied(nats: RelayedNats) -> Iterator[None]:
    """amid's user may neither publish events nor send requests to JetStream."""
    nats.server.reload(WITHDRAWN)
    yield
    nats.server.reload(PERMITTED)


@contextmanager
def unread(nats: RelayedNats) -> Iterator[None]:
    """amid's user may not receive answers. The server does not restore a subscription that it has ended."""
    nats.server.reload(UNREAD)
    yield
    nats.server.reload(PERMITTED)


@contextmanager
def full(nats: RelayedNats) -> Iterator[None]:
    """JetStream may store little more than it has."""
    server = nats.server
    size = sum(file.stat().st_size for file in server.store.rglob("*.blk")) + FREE_BYTES
    server.restart(FULL.format(store=server.store, size=size) + PERMITTED)
    yield
    server.restart(PERMITTED)


OF_THE_SERVER: dict[str, Outage] = {
    "killed": killed,
    "stopped": stopped,
    "permissions withdrawn": denied,
    "subscriptions withdrawn": unread,
    "out of space": full,
    "restarted empty": emptied,
}
OF_THE_NETWORK: dict[str, Outage] = {"slow": slow, "silent": silent, "cut": cut}
