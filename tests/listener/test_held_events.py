"""Events that wait for a client's open action."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.daemon import eventually
from tests.listener.conftest import Front
from tests.listener.setting import Connection
from tests.processes.pbx import arm

MakeFront = Callable[..., Front]
LARGE = b"".join(b"H%d: %b\r\n" % (number, b"x" * 900) for number in range(50))
EVENT = b"Action: UserEvent\r\nUserEvent: E\r\nActionID: %b\r\n%bX: %d\r\n\r\n"


def test_held_events_close_no_client_that_reads(front_for: MakeFront) -> None:
    front = front_for()
    with Connection(front.endpoint) as victim, Connection(front.endpoint) as other:
        victim.login(events="user")
        other.login()
        arm(front.daemon, "silence", "CoreStatus")
        victim.send(b"Action: CoreStatus\r\nActionID: 1\r\n\r\n")
        eventually(lambda: front.daemon.server("pbx1")["lanes"]["busy"], "the action was sent")
        flood = b"".join(EVENT % (b"%d" % number, LARGE, number) for number in range(1, 200))
        with ThreadPoolExecutor() as pool:
            sent = pool.submit(other.fenced, flood)
            assert victim.until(b"X: 199\r\n").endswith(b"X: 199\r\n")
            sent.result()
    assert front.daemon.result("status")["services"]["listener"]["slow_clients_closed"] == 0
