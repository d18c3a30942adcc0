"""Faults of the AMI listener and of its clients. In their worlds an AMI client is judged beside the
load (ami_client.py)."""

from __future__ import annotations

import resource
import select
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from amid.rpc.guesses import LOCK_OVER_S
from tests.daemon import Daemon, eventually
from tests.faults.ami_client import AmiClient
from tests.faults.faults import fault
from tests.faults.on_clients import descriptors, memory
from tests.faults.world import World
from tests.listener.setting import Connection, Endpoint
from tests.processes.process import stop

LISTENER = "listener"
LARGE = b"".join(b"H%d: %b\r\n" % (number, b"x" * 900) for number in range(20))
BURST = 10
"""Large events that a client causes before it waits for its answers."""
KEPT = 100
"""Large events that a slow client may leave unread: 1.8 MB, fewer than `max_unread_bytes_per_client`."""
FLOOD = 20_000
FLOOD_COST = 100e6
CLIENTS, VISITS = 1000, 300
SPARE = 20
"""Descriptors that the listener may open for itself and its judged client meanwhile."""
MANY_DESCRIPTORS = 4096
GUESSES = 20
"""Wrong logins at once."""
PING = b"Action: Ping\r\nActionID: p\r\n\r\n"


@fault("listener", "SIGKILL")
def listener_killed(world: World) -> None:
    """Connections of AMI clients end, as when Asterisk restarts. They can log in again at once;
    other callers notice nothing."""
    assert_replaced(world, signal.SIGKILL)


@fault("listener", "SIGSTOP")
def listener_stopped(world: World) -> None:
    """The same after 2 s without a heartbeat."""
    assert_replaced(world, signal.SIGSTOP)


@fault("listener", "the sessions with Asterisk end")
def sessions_lost(world: World) -> None:
    """AMI clients stay connected and get a FullyBooted with the new session. An open action gets
    `Response: Error`; events in between are lost."""
    with Connection(ami(world).endpoint) as client:
        client.login(events="system")
        client.until(b"Status: Fully Booted\r\n\r\n")
        world.relay.cut(reset=True)
        client.until(b"Status: Fully Booted\r\n\r\n")
        eventually(lambda: b"EventList: Complete" in client.fenced(b"Action: CoreShowChannels\r\n\r\n"), "its actions run again")


@fault("listener", "one client reads nothing, one reads late")
def slow_clients(world: World) -> None:
    """The client that reads nothing is disconnected at `max_unread_bytes_per_client` and counted in
    `slow_clients_closed`. The late one, and all others, receive all events in order."""
    endpoint, closed = ami(world).endpoint, counter(world.daemon, "slow_clients_closed")
    with ExitStack() as stack:
        stalled, late, fast, source = (stack.enter_context(Connection(endpoint)) for _ in range(4))
        stalled.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for client in (stalled, late, fast):
            client.login(events="user")
        source.login()
        while counter(world.daemon, "slow_clients_closed") == closed:
            received = []
            for first in range(0, KEPT, BURST):
                source.fenced(b"".join(large_event(number) for number in range(first, first + BURST)))
                received += large_numbers(fast, BURST)
            assert sorted(received) == list(range(KEPT)) and large_numbers(late, KEPT) == received
        assert counter(world.daemon, "slow_clients_closed") == closed + 1
        world.load.well()


@fault("listener", "one client sends 20,000 actions and reads nothing")
def flood(world: World) -> None:
    """It is not read any further while it does not read; other AMI clients and callers notice
    nothing."""
    pid = world.daemon.pid(LISTENER)
    before = memory(pid)
    with Connection(ami(world).endpoint) as client:
        client.login()
        client.socket.settimeout(0.2)
        with suppress(TimeoutError):
            for _ in range(FLOOD // 100):
                client.send(PING * 100)
        ami(world).well()
        world.load.well()
        print(f"listener: {before / 1e6:.0f} MB before, {memory(pid) / 1e6:.0f} MB during the flood")
        assert memory(pid) < before + FLOOD_COST
    assert world.daemon.pid(LISTENER) == pid


@fault("listener", "1,000 clients at once, and some that leave in a loop")
def many_clients(world: World) -> None:
    """All are answered, some with an Error if more than `queue` calls wait; no descriptor is left
    behind."""
    endpoint, pid = ami(world).endpoint, world.daemon.pid(LISTENER)
    before = descriptors(pid)
    with many_descriptors(), ExitStack() as stack:
        clients = [stack.enter_context(logged_in(endpoint)) for _ in range(CLIENTS)]
        for number in range(VISITS):
            with Connection(endpoint) as visitor:
                if number % 2:
                    visitor.login()
        for client in clients:
            client.send(PING)
        answers = [client.until(b"\r\n\r\n") for client in clients]
        assert all(b"Pong" in answer or b"Too many actions" in answer for answer in answers)
        ami(world).well()
    eventually(lambda: descriptors(pid) <= before + SPARE, "the listener has closed the connections")
    assert world.daemon.pid(LISTENER) == pid


@fault("listener", "brute force on a secret")
def brute_force(world: World) -> None:
    """Wrong logins of a network and user are answered a second or more apart, and those for which this
    would take too long are not compared. Sessions that exist, and other users, notice nothing."""
    failed = counter(world.daemon, "failed_logins")
    began = time.monotonic()
    with ExitStack() as stack:
        guesses = [stack.enter_context(Connection(ami(world).endpoint)) for _ in range(GUESSES)]
        for guess in guesses:
            guess.send(b"Action: Login\r\nUsername: guessed\r\nSecret: wrong\r\n\r\n")
        eventually(lambda: counter(world.daemon, "failed_logins") >= failed + GUESSES, "they are counted")
        ami(world).well()
        with logged_in(ami(world).endpoint) as other:
            assert other.fenced(b"") == b""
        eventually(lambda: answered(guesses) == GUESSES, "all are answered")
        assert time.monotonic() - began > LOCK_OVER_S


def answered(connections: list[Connection]) -> int:
    """How many of them have something to read."""
    readable, _, _ = select.select([connection.socket for connection in connections], [], [], 0)
    return len(readable)


@contextmanager
def many_descriptors() -> Iterator[None]:
    """Raise the limit of this process, which is often 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, MANY_DESCRIPTORS)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def ami(world: World) -> AmiClient:
    assert world.ami is not None
    return world.ami


def assert_replaced(world: World, number: signal.Signals) -> None:
    """A signal ends the listener; its clients and their connections recover."""
    client, old = ami(world), world.daemon.pid(LISTENER)
    client.well()
    ends = client.ends
    if number == signal.SIGSTOP:
        stop(old)
    else:
        world.signal(LISTENER, number)
    world.load.well()
    world.replaced(LISTENER, old)
    client.well()
    assert client.ends > ends


def logged_in(endpoint: Endpoint) -> Connection:
    connection = Connection(endpoint)
    assert b"accepted" in connection.login()
    return connection


def large_event(number: int) -> bytes:
    return b"Action: UserEvent\r\nUserEvent: Large\r\nActionID: large-%d\r\n%bX: %d\r\n\r\n" % (number, LARGE, number)


def large_numbers(client: Connection, count: int) -> list[int]:
    """The numbers of its next large events; several lanes send them, so their order is Asterisk's."""
    numbers = []
    for _ in range(count):
        client.until(b"UserEvent: Large\r\n")
        numbers.append(int(client.until(b"\r\n\r\n").rpartition(b"X: ")[2]))
    return numbers


def counter(daemon: Daemon, name: str) -> int:
    count: int = daemon.result("status")["services"].get(LISTENER, {}).get(name, 0)
    return count
