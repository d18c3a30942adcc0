"""A complete amid daemon for a test: its configuration in a directory of its own, and real
processes.

Nothing here sleeps to wait for a fact: `eventually` polls the fact and fails with its last value.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import zmq

from tests.asterisk.server import free_port

T = TypeVar("T")

BOUND_S = 20.0
"""Seconds after which a fact that has not come is a failure: far over what anything takes, on a noisy machine too."""


def eventually(fact: Callable[[], T | None], what: str, bound: float = BOUND_S) -> T:
    """Wait for the first true value of `fact`. An exception counts as not yet true."""
    end = time.monotonic() + bound
    last: object = None
    while time.monotonic() < end:
        try:
            value = fact()
            if value:
                return value
            last = value
        except Exception as error:
            last = error
        time.sleep(0.01)  # the pace of asking, not a wait for the fact
    raise AssertionError(f"not within {bound:g} s: {what}; last seen: {last!r}")


class Daemon:
    """`amid run` with a configuration file written here. servers: server name to the keys of its
    table."""

    def __init__(self, directory: Path, servers: dict[str, dict[str, Any]], **tables: Any) -> None:
        self.directory = directory
        self.run_dir = directory / "run"
        self.file = directory / "amid.toml"
        self.log = directory / "amid.log"
        self.configure(servers, **tables)
        self.process: subprocess.Popen[bytes] | None = None
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()

    def configure(self, servers: dict[str, dict[str, Any]], **tables: Any) -> None:
        """Write the file; a running daemon reads it on SIGHUP."""
        self.servers = servers
        top = {"run_dir": str(self.run_dir), "state_dir": str(self.directory / "state"), "log_level": "debug"}
        top |= {key: value for key, value in tables.items() if not isinstance(value, dict)}
        lines = [f"{key} = {json.dumps(value)}" for key, value in top.items()]
        groups = {f"servers.{name}": table for name, table in servers.items()}
        groups |= {name.replace("__", "."): table for name, table in tables.items() if isinstance(table, dict)}
        for name, table in groups.items():
            lines += ["", f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
        self.file.write_text("\n".join(lines) + "\n")

    def start(self, wait: bool = True) -> Daemon:
        self.launch(["-m", "amid", "run", "-c", str(self.file)])
        if wait:
            for name in self.servers:
                self.wait_up(name)
        return self

    def launch(self, arguments: list[str]) -> None:
        """Python with these arguments is the daemon."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([sys.executable, *arguments], stdout=log, stderr=log)

    def argv(self, command: str) -> list[str]:
        """The command line for `amid COMMAND` on this daemon's file."""
        return [sys.executable, "-m", "amid", command, "-c", str(self.file)]

    def wait_up(self, server: str) -> dict[str, Any]:
        """Wait until the server is up and Asterisk's version is known."""

        def up() -> dict[str, Any] | None:
            view = self.server(server)
            return view if view["state"] == "up" and view["lanes"]["free"] and view["asterisk"] else None

        try:
            return eventually(up, f"{server} up")
        except AssertionError as error:
            raise AssertionError(f"{error}; log:\n{self.log.read_text()[-2000:]}") from None

    def stop(self) -> int:
        """Send SIGTERM and return the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(BOUND_S)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(BOUND_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(BOUND_S)
        self._context.destroy(linger=0)

    # ── the wire, as a program in any language sees it ──

    @property
    def rpc(self) -> str:
        return f"ipc://{self.run_dir}/rpc"

    def socket(self, kind: int) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind)
        socket.set(zmq.LINGER, 0)
        return socket

    def request(self, method: str, params: dict[str, Any] | None = None, wait: float = BOUND_S) -> dict[str, Any]:
        """Send one JSON request on a new REQ socket and return the reply. Raises `TimeoutError`."""
        with self.socket(zmq.REQ) as socket:
            socket.connect(self.rpc)
            socket.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}).encode())
            if not socket.poll(int(wait * 1000)):
                raise TimeoutError(f"no reply to {method} within {wait:g} s")
            reply: dict[str, Any] = json.loads(socket.recv())
            return reply

    def result(self, method: str, params: dict[str, Any] | None = None) -> Any:
        reply = self.request(method, params)
        assert "result" in reply, reply
        return reply["result"]

    def action(self, action: str, fields: dict[str, Any] | None = None, **params: Any) -> Any:
        """The result of an action."""
        return self.result("action", {"action": action, "fields": fields or {}, **params})

    def failure(self, action: str, fields: dict[str, Any] | None = None, **params: Any) -> dict[str, Any]:
        """The error of an action that must fail."""
        reply = self.request("action", {"action": action, "fields": fields or {}, **params})
        assert "error" in reply, reply
        error: dict[str, Any] = reply["error"]
        return error

    def server(self, name: str) -> dict[str, Any]:
        views: list[dict[str, Any]] = self.request("servers", wait=2.0)["result"]
        return next(view for view in views if view["name"] == name)

    def processes(self) -> dict[str, dict[str, Any]]:
        """The processes in `status`, by name."""
        return {process["name"]: process for process in self.result("status")["processes"]}

    def pid(self, name: str) -> int:
        pid: int = self.processes()[name]["pid"]
        assert pid, f"{name} is being started"  # a signal to 0 would end the tests themselves
        return pid

    def peak_bytes(self, process: str) -> int:
        """The most that a process of the daemon has had resident (VmHWM, proc(5))."""
        status = Path(f"/proc/{self.pid(process)}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024

    def kill(self, name: str) -> int:
        return self.signal(name, signal.SIGKILL)

    def signal(self, name: str, number: signal.Signals) -> int:
        pid = self.pid(name)
        os.kill(pid, number)
        return pid


def gateway_table(directory: Path, tokens: str) -> dict[str, Any]:
    """The `gateway` table for a daemon: a free port on loopback, and `tokens` in a file in `directory`."""
    file = directory / "tokens.toml"
    file.touch(mode=0o600)
    file.write_text(tokens)
    return {"listen": f"127.0.0.1:{free_port()}", "tokens_file": str(file)}
