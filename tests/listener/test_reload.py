"""Reloads of the listener: which clients stay, and what those may still do that are closed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

from tests.asterisk.server import free_port
from tests.conftest import StartDaemon
from tests.daemon import Daemon, eventually
from tests.listener.conftest import SECRET, USERS, Front
from tests.listener.setting import Connection, Endpoint, endpoint_of, listener_table
from tests.processes.pbx import arm, simulated, table

MakeFront = Callable[..., Front]


def pong(connection: Connection) -> bool:
    return connection.fenced(b"") == b""


def reload(daemon: Daemon) -> None:
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGHUP)


def has_open_action(daemon: Daemon, server: str) -> bool:
    return bool(daemon.server(server)["lanes"]["busy"])


def test_a_reload_keeps_clients_and_applies_users(front_for: MakeFront) -> None:
    front = front_for()
    with Connection(front.endpoint) as crm, Connection(front.endpoint) as wall, Connection(front.endpoint) as removed:
        crm.login()
        wall.login("wall")
        removed.login("closing")
        text = USERS.replace("write = call", "write = user").partition("[closing]")[0] + f"[new]\nsecret = {SECRET}\n"
        front.users_file.write_text(text)
        another = f"127.0.0.1:{free_port()}"
        front.daemon.configure(front.daemon.servers, listener={**front.table, "listen": [front.table["listen"], another]})
        reload(front.daemon)
        assert removed.until_closed() == b"", "its user was removed"
        assert pong(crm)
        ask = b"Action: UserEvent\r\nUserEvent: a\r\nActionID: 1\r\n\r\n"
        assert b"Permission denied" not in wall.fenced(ask) and front.daemon.processes()["listener"]["restarts"] == 0
        host, _, port = another.partition(":")
        with Connection(Endpoint("listener", host, int(port), "new", SECRET)) as new:
            assert b"accepted" in new.login()


def test_a_reload_with_an_invalid_users_file_is_refused(front_for: MakeFront) -> None:
    front = front_for()
    with Connection(front.endpoint) as connection:
        connection.login()
        front.users_file.write_text("[crm]\nread = all\n")
        reload(front.daemon)
        eventually(lambda: "[crm] secret: is missing" in front.daemon.log.read_text(), "the reload is refused")
        assert pong(connection)


def test_the_waiting_requests_of_a_removed_user_are_dropped(front_for: MakeFront) -> None:
    front = front_for()
    with Connection(front.endpoint) as removed, Connection(front.endpoint) as watcher:
        removed.login("closing")
        watcher.login(events="user")
        arm(front.daemon, "delay", "CoreStatus", Seconds=1)
        removed.send(b"Action: CoreStatus\r\n\r\nAction: UserEvent\r\nUserEvent: late\r\n\r\n")
        eventually(lambda: has_open_action(front.daemon, "pbx1"), "the first action was sent")
        front.users_file.write_text(USERS.partition("[closing]")[0])
        reload(front.daemon)
        assert removed.until_closed() == b""
        eventually(lambda: not has_open_action(front.daemon, "pbx1"), "the first action was answered")
        assert watcher.fenced(b"") == b""


def test_a_server_is_removed_during_an_action(tmp_path: Path, daemon_for: StartDaemon) -> None:
    users = "".join(f"[of-{name}]\nsecret = {SECRET}\nwrite = all\nserver = {name}\n" for name in ("pbx1", "pbx2"))
    own = listener_table(tmp_path, users)
    with simulated() as first, simulated() as second:
        daemon = daemon_for({"pbx1": table(first), "pbx2": table(second)}, listener=own)
        kept = endpoint_of(daemon, own, "of-pbx1", SECRET)
        with Connection(kept) as stays, Connection(kept) as removed:
            stays.login()
            removed.login("of-pbx2")
            arm(daemon, "silence", "CoreStatus", server="pbx2")
            removed.send(b"Action: CoreStatus\r\nActionID: 1\r\n\r\n")
            eventually(lambda: has_open_action(daemon, "pbx2"), "the action was sent")
            Path(own["users_file"]).write_text(users.partition("[of-pbx2]")[0])
            daemon.configure({"pbx1": table(first)}, listener=own)
            broker = daemon.pid("broker")
            os.kill(broker, signal.SIGSTOP)  # it fails the action when the listener has no such server any more
            try:
                reload(daemon)
                assert removed.until_closed() == b""
            finally:
                os.kill(broker, signal.SIGCONT)
            assert pong(stays) and daemon.processes()["listener"]["restarts"] == 0


def test_a_user_whose_name_changes_case_may_log_in_again(front_for: MakeFront) -> None:
    front = front_for()
    once = f"[once]\nsecret = {SECRET}\nallowmultiplelogin = no\n"

    def users_are(text: str) -> None:
        front.users_file.write_text(text)
        os.truncate(front.daemon.log, 0)
        reload(front.daemon)
        eventually(lambda: "applied a new configuration" in front.daemon.log.read_text(), "the listener has the users")

    users_are(once)
    with Connection(front.endpoint) as connection:
        assert b"accepted" in connection.login("once")
        users_are(once.replace("once", "Once"))

    def accepted() -> bool:
        with Connection(front.endpoint) as again:
            return b"accepted" in again.login("once")

    eventually(accepted, "it may log in when its first session has ended")
