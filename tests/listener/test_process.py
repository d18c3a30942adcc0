"""The listener as a process: limits, reloads, and what clients notice when another process or
Asterisk ends."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.asterisk.server import free_port
from tests.daemon import eventually
from tests.listener.conftest import SECRET, Front
from tests.listener.setting import BOUND_S, Connection, Endpoint
from tests.processes.pbx import simulated
from tests.processes.process import stop
from tests.processes.tls import certificate

MakeFront = Callable[..., Front]
PING = b"Action: Ping\r\nActionID: p\r\n\r\n"
MANY_DESCRIPTORS = 4096
SPARE = 5
"""Descriptors that the listener may open for itself meanwhile; 300 connections would leave more."""
LARGE = b"".join(b"H%d: %b\r\n" % (number, b"x" * 900) for number in range(20))
EVENT = b"Action: UserEvent\r\nUserEvent: E\r\nX: %b\r\n\r\n"


def pong(connection: Connection) -> bool:
    return connection.fenced(b"") == b""


def test_an_action_and_its_event(front: Front) -> None:
    with Connection(front.endpoint) as one, Connection(front.endpoint) as other:
        assert b"accepted" in one.login(events="user") and b"accepted" in other.login("wall", events="on")
        one.send(b"Action: UserEvent\r\nActionID: 1\r\nUserEvent: E\r\nX: \xff\r\nY: 1\r\nX: 2\r\n\r\n")
        event = b"Event: UserEvent\r\nPrivilege: user,all\r\nUserEvent: E\r\nActionID: 1\r\nX: \xff\r\nY: 1\r\nX: 2\r\n\r\n"
        assert one.until(b"X: 2\r\n\r\n").startswith(b"Response: Success\r\nActionID: 1\r\n")
        assert other.until(b"X: 2\r\n\r\n").endswith(event)


def test_counters_in_status(front_for: MakeFront) -> None:
    front = front_for()
    with Connection(front.endpoint) as crm, Connection(front.endpoint) as waiting, Connection(front.endpoint) as guess:
        crm.login(events="user")
        guess.send(b"Action: Login\r\nUsername: crm\r\nSecret: wrong\r\n\r\n")
        guess.until_closed()
        crm.send(EVENT % b"1")
        crm.until(b"X: 1\r\n\r\n")

        def counted() -> bool:
            report = front.daemon.result("status")["services"].get("listener", {})
            expected = {"clients": 1, "unauthenticated_clients": 1, "logins": 1, "failed_logins": 1, "events_sent": 1, "actions": 1}
            expected |= {"refused_connections": 0, "missed_events": 0, "slow_clients_closed": 0, "unread_bytes": 0}
            return all(report.get(name) == value for name, value in expected.items()) and bool(report["connections"] >= 4)

        eventually(counted, "status has the counters")
        assert waiting.greeting
    assert "refused the login of 'crm' from 127.0.0.1: wrong secret" in front.daemon.log.read_text()


def test_the_rules_of_a_user(front: Front) -> None:
    with Connection(front.endpoint) as connection:
        connection.login("wall")
        denied = b"Response: Error\r\nActionID: 1\r\nMessage: Permission denied\r\n\r\n"
        for action in (b"QueueStatus", b"UserEvent", b"Command"):
            assert connection.fenced(b"Action: %b\r\nActionID: 1\r\n\r\n" % action) == denied
    lead = "refused an action of wall from 127.0.0.1"
    reasons = (
        f"{lead}: Command needs a class that `write` in [wall] of users_file does not have",
        f"{lead}: the configuration does not allow 'wall' to use the action 'QueueStatus'",
    )
    eventually(lambda: all(one in front.daemon.log.read_text() for one in reasons), "the log has the reasons")


def test_a_shell_that_the_classes_forbid_is_logged(front: Front) -> None:
    with Connection(front.endpoint) as connection:
        connection.login("dialer")
        fields = b"Channel: Local/1@sales\r\nApplication: System\r\nData: id\r\n"
        refusal = b"Message: Originate Access Forbidden: app"
        assert refusal in connection.fenced(b"Action: Originate\r\nActionID: 1\r\n%b\r\n" % fields)
    reason = "refused an action of dialer from 127.0.0.1: Originate Access Forbidden: app"
    eventually(lambda: reason in front.daemon.log.read_text(), "the log has the reason")
    record = 'action=Originate server=pbx1 target="system, 1@sales" outcome=denied'
    eventually(lambda: record in front.daemon.log.read_text(), "the audit trail has the action")


def test_clients_stay_connected_while_asterisk_is_down(front_for: MakeFront) -> None:
    front = front_for()
    with Connection(front.endpoint) as connection, Connection(front.endpoint) as closing:
        connection.login(events="on")
        connection.until_quiet()
        closing.login("closing", events="off")
        port = front.pbx.port
        front.pbx.stop()
        connection.send(b"Action: CoreShowChannels\r\nActionID: 1\r\n\r\n")
        error = b"Response: Error\r\nActionID: 1\r\nMessage: Asterisk is not connected\r\n\r\n"
        answer = connection.until(b"\r\n\r\n")
        assert answer == error or b"was lost" in answer
        connection.send(b"Action: CoreShowChannels\r\nActionID: 1\r\n\r\n" + PING)
        assert error in connection.until(b"\r\n\r\n") + connection.until(b"\r\n\r\n")
        with Connection(front.endpoint) as late:
            assert late.greeting == connection.greeting and b"accepted" in late.login()
        with simulated(port):
            assert b"Event: FullyBooted" in connection.until(b"Status: Fully Booted\r\n\r\n")
            asked = b"Action: CoreShowChannels\r\nActionID: 2\r\n\r\n"
            eventually(lambda: b"EventList: Complete" in connection.fenced(asked), "it is connected again")
            assert closing.until_closed() == b""


def test_clients_notice_that_the_reader_was_replaced(front_for: MakeFront) -> None:
    """By a FullyBooted, which is the new session's own or, if that was published before the listener
    subscribed, the listener's."""
    front = front_for()
    with Connection(front.endpoint) as connection, Connection(front.endpoint) as unconcerned:
        connection.login(events="system")
        connection.until(b"Status: Fully Booted\r\n\r\n")
        unconcerned.login(events="call")
        front.daemon.kill("reader pbx1")
        event = connection.until(b"Status: Fully Booted\r\n\r\n")
        assert event.count(b"Event: FullyBooted\r\nPrivilege: system,all\r\nUptime: ") == 1
        front.daemon.wait_up("pbx1")
        connection.send(EVENT % b"1")
        assert b"FullyBooted" not in connection.fenced(b"") + unconcerned.fenced(b"")


def test_the_broker_ends_with_an_open_action(front_for: MakeFront) -> None:
    front = front_for()
    with Connection(front.endpoint) as connection:
        connection.login()
        front.daemon.action("SimFault", {"Kind": "silence", "Target": "CoreStatus"})
        connection.send(b"Action: CoreStatus\r\nActionID: 1\r\n\r\n")
        eventually(lambda: front.daemon.server("pbx1")["lanes"]["busy"], "the action was sent")
        front.daemon.kill("broker")
        answer = connection.until(b"\r\n\r\n")
        assert answer.startswith(b"Response: Error\r\nActionID: 1\r\nMessage: The connection to Asterisk was lost")
        eventually(lambda: b"AMIversion" in _ask_settings(connection), "the next broker answers")


def test_many_requests_without_a_broker_are_answered_in_order(front_for: MakeFront) -> None:
    """The listener died of their number, and sent the answers of a few in another order."""
    front = front_for()
    core, challenge = b"Action: CoreStatus\r\n\r\n", b"Action: Challenge\r\nAuthType: MD5\r\n\r\n"
    with Connection(front.endpoint) as connection:
        connection.login()
        assert front.daemon.process is not None
        stop(front.daemon.process.pid)
        try:
            front.daemon.kill("broker")
            eventually(lambda: b"not connected" in connection.fenced(core), "the listener has no broker")
            connection.send((core + challenge) * 300)
            answers = [connection.until(b"\r\n\r\n") for _ in range(600)]
        finally:
            os.kill(front.daemon.process.pid, signal.SIGCONT)
        assert all(b"Asterisk is not connected" in answer for answer in answers[::2])
        assert all(b"Challenge: " in answer for answer in answers[1::2])


def _ask_settings(connection: Connection) -> bytes:
    """Not a Ping, which the listener answers while it has no broker."""
    connection.send(b"Action: CoreSettings\r\n\r\n")
    return connection.until(b"\r\n\r\n")


def test_a_listener_that_ends_or_hangs_is_replaced(front_for: MakeFront) -> None:
    front = front_for()

    def is_replaced(pid: int) -> bool:
        with Connection(front.endpoint) as again:
            return b"accepted" in again.login() and front.daemon.pid("listener") != pid

    for signal_number in (signal.SIGKILL, signal.SIGSTOP):
        with Connection(front.endpoint) as connection:
            connection.login()
            pid = front.daemon.pid("listener")
            os.kill(pid, signal_number)
            assert connection.until_closed() == b""
        eventually(partial(is_replaced, pid), "its replacement listens", 60)


def greeted(front: Front, stack: contextlib.ExitStack, count: int) -> list[Connection]:
    """Connections without a login. One is refused while that of the fixture, which has ended, still
    counts."""

    def connected() -> Connection | None:
        connection = stack.enter_context(Connection(front.endpoint))
        return connection if connection.greeting else None

    return [eventually(connected, "it is greeted") for _ in range(count)]


def test_connections_without_a_login_are_limited(front_for: MakeFront) -> None:
    front = front_for(auth_limit=5, auth_timeout=6.0)
    with contextlib.ExitStack() as stack:
        user = stack.enter_context(Connection(front.endpoint))
        user.login()
        held = greeted(front, stack, 5)
        with Connection(front.endpoint, greeted=False) as refused:
            assert refused.until_closed() == b""
        held[0].send(b"Action: Challenge\r\nAuthType: MD5\r\n\r\n")
        assert all(each.until_closed().count(b"Challenge") <= 1 for each in held)
        assert pong(user)


WRONG = b"Action: Login\r\nUsername: crm\r\nSecret: wrong\r\n\r\n"


def test_failed_logins_keep_no_connection_out(front_for: MakeFront) -> None:
    """As many as may be without a login wait for the answer to a wrong secret, the last one for 10 s."""
    front = front_for(auth_limit=5)
    with contextlib.ExitStack() as stack:
        for guess in (guesses := greeted(front, stack, 5)):
            guess.send(WRONG)
        eventually(lambda: front.daemon.log.read_text().count("refused the login of 'crm'") == 5, "all were compared")
        others = [stack.enter_context(Connection(front.endpoint)) for _ in range(5)]
        assert all(each.greeting for each in others)
        assert all(b"Authentication failed" in guess.until_closed() for guess in guesses)
        with Connection(front.endpoint, greeted=False) as refused:
            assert refused.until_closed() == b"", "the others have not tried to log in yet"
        assert b"accepted" in others[0].login("wall")


def test_the_failed_login_that_is_due_first_makes_room(front_for: MakeFront) -> None:
    """Their answers are due after 1 s, 3 s, 7 s, 12 s and 12 s: each connection that comes closes the
    next one of them."""
    front = front_for(auth_limit=5)

    def is_compared(count: int) -> bool:
        return front.daemon.log.read_text().count("refused the login of 'crm'") == count

    with contextlib.ExitStack() as stack:
        guesses = greeted(front, stack, 5)[::-1]  # the first one to connect is not the first one due
        for number, guess in enumerate(guesses, 1):
            guess.send(WRONG)
            eventually(partial(is_compared, number), "it was compared")
        for guess in guesses[:3]:
            stack.enter_context(Connection(front.endpoint))
            assert b"Authentication failed" in guess.until_closed()
            answered, _, _ = select.select([each.socket for each in guesses], [], [], 0)
            assert answered == [each.socket for each in guesses[: len(answered)]], "those that are due later wait"


@contextlib.contextmanager
def flooded(front: Front, stalled: int) -> Iterator[Callable[[int], None]]:
    """Clients that do not read, beside one that does. Yields a function that causes so many large
    events, and returns when the latter has them."""
    with contextlib.ExitStack() as stack:
        source, healthy, *others = [stack.enter_context(Connection(front.endpoint)) for _ in range(2 + stalled)]
        for each in others:
            each.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for each in (healthy, *others):
            each.login(events="user")
        source.login(events="off")

        def send(count: int) -> None:
            for number in range(count):
                source.send(b"Action: UserEvent\r\nUserEvent: E\r\nActionID: %d\r\n%bX: %d\r\n\r\n" % (number, LARGE, number))
            source.fenced(b"")
            for _ in range(count):
                healthy.until(b"X: ")

        yield send
        healthy.fenced(b"")
        source.fenced(b"")


def test_a_client_that_does_not_read_is_closed_and_affects_no_other(front_for: MakeFront) -> None:
    front = front_for(max_unread_bytes_per_client=65536)
    with flooded(front, stalled=1) as send:

        def closed() -> bool:
            send(50)
            return "(max_unread_bytes_per_client in [listener])" in front.daemon.log.read_text()

        eventually(closed, "the stalled client is closed", 60)


def test_the_unread_bytes_of_all_clients_are_limited(front_for: MakeFront) -> None:
    front = front_for(max_unread_bytes_total=1_000_000)

    def reported(name: str) -> int:
        count: int = front.daemon.result("status")["services"]["listener"][name]
        return count

    with flooded(front, stalled=4) as send:

        def closed() -> bool:
            send(20)
            return reported("slow_clients_closed") >= 2

        eventually(closed, "two of four stalled clients are closed", 60)
        assert "(max_unread_bytes_total in [listener])" in front.daemon.log.read_text()
        assert "(max_unread_bytes_per_client in [listener])" not in front.daemon.log.read_text()
        eventually(lambda: reported("unread_bytes") <= 1_000_000, "what is left fits")
    eventually(lambda: reported("unread_bytes") == 0, "nothing is unread without clients")


def test_a_client_is_not_closed_for_large_answers(front_for: MakeFront) -> None:
    front = front_for(max_unread_bytes_per_client=65536)
    with Connection(front.endpoint) as connection:
        connection.login()
        connection.send(b"Action: Command\r\nCommand: core show channels\r\n\r\n" * 200 + PING)
        assert connection.until(b"Ping: Pong\r\n").count(b"Message: Command output follows") == 200


def test_wrong_secrets_are_delayed(front_for: MakeFront) -> None:
    front = front_for()
    waits = []
    for _ in range(3):
        with Connection(front.endpoint) as guess:
            began = time.monotonic()
            guess.send(b"Action: Login\r\nUsername: crm\r\nSecret: wrong\r\n\r\n")
            assert b"Authentication failed" in guess.until_closed()
            waits.append(time.monotonic() - began)
    assert waits[0] >= 1.0 and waits[1] >= 2.0 and waits[2] >= 4.0
    with Connection(front.endpoint) as user:
        assert b"accepted" in user.login()


def test_tls(front_for: MakeFront, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path, "listener")
    key.chmod(0o600)
    address = f"127.0.0.1:{free_port()}"
    front = front_for(tls_listen=address, tls_cert=str(cert), tls_key=str(key))
    context = ssl.create_default_context(cafile=str(cert))
    host, _, port = address.partition(":")
    with Connection(Endpoint("listener", host, int(port), "crm", SECRET), greeted=False) as connection:
        connection.socket = context.wrap_socket(connection.socket, server_hostname="127.0.0.1")
        assert connection.until(b"\r\n").startswith(b"Asterisk Call Manager/") and b"accepted" in connection.login()
        assert pong(connection)
    with Connection(front.endpoint) as plain:
        assert b"accepted" in plain.login()


def test_failed_logins_that_do_not_close_are_limited(front_for: MakeFront, tmp_path: Path) -> None:
    """The end of TLS waits for the client, for `CLOSE_S`: such connections make no room."""
    cert, key = certificate(tmp_path, "listener")
    key.chmod(0o600)
    port = free_port()
    front = front_for(auth_limit=3, tls_listen=f"127.0.0.1:{port}", tls_cert=str(cert), tls_key=str(key))
    context = ssl.create_default_context(cafile=str(cert))
    with contextlib.ExitStack() as stack:

        def is_refused() -> bool:
            try:
                raw = stack.enter_context(socket.create_connection(("127.0.0.1", port), BOUND_S))
                guess = stack.enter_context(context.wrap_socket(raw, server_hostname="127.0.0.1"))
                assert guess.recv(1), "it is greeted"
                guess.sendall(WRONG)
            except (OSError, AssertionError):
                return True
            return False

        assert any(is_refused() for _ in range(30))
        assert front.daemon.result("status")["services"]["listener"]["unauthenticated_clients"] <= 6


def test_requests_before_a_half_close_are_processed(front: Front) -> None:
    with Connection(front.endpoint) as watcher, Connection(front.endpoint) as leaving:
        watcher.login(events="user")
        login = f"Action: Login\r\nUsername: crm\r\nSecret: {SECRET}\r\nEvents: off\r\n\r\n".encode()
        leaving.send(login + EVENT % b"one" + EVENT % b"two")
        leaving.socket.shutdown(socket.SHUT_WR)
        assert leaving.until_closed().count(b"Event Sent") == 2
        assert b"X: one" in watcher.until(b"X: two")


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """A login often begins with a limit of 1,024, which a process may raise."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < MANY_DESCRIPTORS:
        pytest.skip(f"processes may have {hard} descriptors only; this test needs {MANY_DESCRIPTORS} (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, MANY_DESCRIPTORS), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_descriptors")
def test_a_thousand_clients(front_for: MakeFront) -> None:
    front = front_for(auth_limit=1010)  # the connection of the fixture, which has ended, may still count
    clients = [Connection(front.endpoint) for _ in range(1000)]
    try:
        for client in clients:
            client.login(events="user")
        with Connection(front.endpoint) as source:
            source.login()
            source.fenced(EVENT % b"for all")
        assert all(b"for all" in client.until(b"X: for all\r\n\r\n") for client in clients)
    finally:
        for client in clients:
            client.socket.close()


def test_a_flood_of_requests_delays_no_other_client(front: Front) -> None:
    with Connection(front.endpoint) as flood, Connection(front.endpoint) as other:
        flood.login()
        other.login()
        flood.socket.settimeout(0.2)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 20_000:
                flood.send(PING * 100)
                sent += 100
        for _ in range(10):
            other.fenced(b"")
        flood.socket.settimeout(BOUND_S)
        assert front.daemon.processes()["listener"]["restarts"] == 0


@pytest.mark.parametrize("lines", [b"\r\n", b"a\n"], ids=["blank lines", "no end of a request"])
def test_a_flood_of_lines_without_a_login_stops_nobody(front: Front, lines: bytes) -> None:
    with contextlib.ExitStack() as stack:
        floods = greeted(front, stack, 10)
        other = stack.enter_context(Connection(front.endpoint))
        other.login()
        for flood in floods:
            flood.socket.settimeout(0.02)
        for _ in range(10):
            for flood in floods:
                with contextlib.suppress(TimeoutError):
                    flood.send(lines * 500_000)
            other.fenced(b"")
        assert front.daemon.processes()["listener"]["restarts"] == 0


def test_short_connections_leave_no_descriptors(front: Front) -> None:
    descriptors = Path(f"/proc/{front.daemon.pid('listener')}/fd")
    before = len(list(descriptors.iterdir()))
    for number in range(300):
        with Connection(front.endpoint) as leaving:
            if number % 3:
                leaving.send(f"Action: Login\r\nUsername: crm\r\nSecret: {SECRET}\r\n\r\n".encode() + PING)
            if number % 3 == 2:
                leaving.until(b"Ping: Pong")
    eventually(lambda: len(list(descriptors.iterdir())) <= before + SPARE, "all descriptors are closed")
    with Connection(front.endpoint) as user:
        assert b"accepted" in user.login()
