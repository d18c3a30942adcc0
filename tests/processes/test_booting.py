"""FullyBooted when it arrives in one segment with other packets."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.conftest import StartDaemon
from tests.daemon import eventually

ANSWER = b"Response: Success\r\nActionID: %s\r\nMessage: x\r\n\r\n"
BOOTED = b"Event: FullyBooted\r\nPrivilege: system,all\r\nStatus: Fully Booted\r\n\r\n"


class Peer:
    """Answers everything. `FullyBooted` comes in one segment with the answer to the action behind the login."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.actions: list[str] = []

    def run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            connection.sendall(b"Asterisk Call Manager/11.0.0\r\n")
            data, listens, booted = b"", False, False
            while received := connection.recv(65536):
                *packets, data = (data + received).split(b"\r\n\r\n")
                for packet in packets:
                    action, action_id = re.findall(rb"^Action(?:ID)?: ([^\r]*)", packet, re.M)
                    self.actions.append(action.decode())
                    listens |= action == b"Login" and b"Events: off" not in packet
                    first = listens and not booted and action != b"Login"
                    connection.sendall((BOOTED if first else b"") + ANSWER % action_id)
                    booted |= first


@contextmanager
def peer() -> Iterator[tuple[Peer, int]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = Peer(listener)
        threading.Thread(target=made.run, daemon=True).start()
        try:
            yield made, listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)


def test_fully_booted_with_the_login_counts_before_the_next_answer(daemon_for: StartDaemon) -> None:
    with peer() as (made, port):
        daemon = daemon_for({"pbx1": {"host": "127.0.0.1", "port": port, "username": "u", "secret": "sesame", "auth": "plain"}})
        daemon.action("Events", {"EventMask": "off"})
        eventually(lambda: "Events" in made.actions, "an action came behind all that the login brought")
        assert "Command" not in made.actions
