"""A real Asterisk, started and stopped by a test.

`provision.sh` installs each version into a root directory of its own. An instance runs inside it
with chroot, with a configuration generated from `config/` in a private directory below the root's
/tmp, and on unique ports, so any number can run side by side.

Nothing must remain, even if the tests are killed. The parent-death signal would also fire when the
thread that started Asterisk ends, and it removes no directory. Therefore a guard, a one-line shell
script, waits on a pipe: the word `done` ends it; at end of file the tests are dead, and it kills
Asterisk and removes the directory.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(os.environ.get("AMID_ASTERISK_ROOT", "/var/cache/amid-asterisk"))
VERSIONS = ("22", "16")
CONFIG = Path(__file__).parent / "config"
BOOT_SECONDS = 30.0
STOP_SECONDS = 5.0
GUARD = 'read word || { kill -KILL "$0"; rm -rf "$1"; }'
MODULE_DIRECTORIES = (
    "usr/lib/x86_64-linux-gnu/asterisk/modules",
    "usr/lib/aarch64-linux-gnu/asterisk/modules",
    "usr/lib/asterisk/modules",
)


class AsteriskError(Exception):
    """An Asterisk did not start or did not obey a command; the text ends with the last lines of its
    log."""


class Asterisk:
    """An Asterisk of one version, on loopback, with a private directory.

    `start` and `stop` may be called again and again: ports and secret stay the same, so that a client finds the next
    one where the last one was. What it wrote (AstDB, recordings) goes with `stop`.

    Attributes: `version` ("22"), `host`, `port` (AMI, TCP), `sip_port` (UDP), `username`, `secret`;
    a second user `limited` has the same secret and only the class `call`.
    """

    host = "127.0.0.1"
    username = "amid"

    def __init__(self, version: str, directory: Path = ROOT, more: Path | None = None) -> None:
        """`directory` holds the provisioned versions, each in a folder named after it; `more` has files that are appended to those
        of `config/`."""
        self.version = version
        self.more = more
        self.root = directory / version
        self.port = free_port()
        self.sip_port = free_port(socket.SOCK_DGRAM)
        self.secret = f"s{random.getrandbits(64):016x}"
        self._private: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id; `core restart now` keeps it. AsteriskError when it is not running."""
        if self._process is None:
            raise AsteriskError(f"Asterisk {self.version} has not been started")
        return self._process.pid

    @property
    def private(self) -> Path:
        """The private directory as this machine sees it; AsteriskError when there is none."""
        if self._private is None:
            raise AsteriskError(f"Asterisk {self.version} has not been started")
        return self._private

    def start(self) -> None:
        """Returns once it greets on the AMI port and says that it is fully booted (under a second, as a rule)."""
        if self._process is not None:
            raise AsteriskError(f"Asterisk {self.version} is already running, pid {self.pid}")
        self._private = Path(tempfile.mkdtemp(prefix="amid-", dir=self.root / "tmp"))
        self._write_configuration()
        with open(self.private / "log" / "console", "wb") as console:
            self._process = subprocess.Popen(
                ["chroot", str(self.root), "asterisk", "-f", "-C", self._inside("etc/asterisk.conf")],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                cwd="/",
                start_new_session=True,
            )
        self._guard = subprocess.Popen(
            ["sh", "-c", GUARD, str(self.pid), str(self.private)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            self.wait_booted()
        except BaseException:
            self.stop()
            raise

    def wait_booted(self, seconds: float = BOOT_SECONDS) -> None:
        """Waits for the two facts that it greets and is fully booted; also after `core restart now` or `start`."""
        deadline = time.monotonic() + seconds
        while not (self._greets() and self._booted(deadline)):
            if self.poll() is not None:
                raise self._failure(f"ended with status {self.poll()} while it booted")
            if time.monotonic() > deadline:
                raise self._failure(f"was not up on port {self.port} within {seconds:g} s")
            time.sleep(0.02)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL after 5 s; reaps it and removes its directory. Does nothing when it is not started."""
        if self._process is not None:
            self._end_process(self._process)
        if self._guard is not None:
            self._guard.communicate(b"done\n")
        if self._private is not None:
            shutil.rmtree(self._private)
        self._process = self._guard = self._private = None

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Sends a signal. After SIGKILL it is dead when this returns, and `stop` still has to be called."""
        os.kill(self.pid, number)
        if number == signal.SIGKILL and self._process is not None:
            self._process.wait(STOP_SECONDS)

    def poll(self) -> int | None:
        """The exit status, or None while it runs."""
        return None if self._process is None else self._process.poll()

    def command(self, text: str, seconds: float = 10.0) -> str:
        """What Asterisk's own command line answers to `text`; AsteriskError when it cannot be reached."""
        try:
            done = self._remote(text, seconds)
        except subprocess.TimeoutExpired as error:
            raise self._failure(f"did not carry out `{text}` within {seconds:g} s") from error
        if done.returncode:
            raise self._failure(f"refused `{text}`: {(done.stdout + done.stderr).strip()}")
        return done.stdout

    def log(self) -> str:
        """Its output so far, on the console and in the log."""
        files = (self.private / "log" / name for name in ("console", "messages", "messages.log"))
        return "".join(file.read_text(errors="replace") for file in files if file.exists())

    def _remote(self, text: str, seconds: float) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["chroot", str(self.root), "asterisk", "-C", self._inside("etc/asterisk.conf"), "-rx", text],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=seconds,
            cwd="/",
            check=False,
        )

    def _greets(self) -> bool:
        try:
            with socket.create_connection((self.host, self.port), 1.0) as probe:
                return probe.recv(64).startswith(b"Asterisk Call Manager/")
        except OSError:
            return False

    def _booted(self, deadline: float) -> bool:
        try:
            left = max(0.1, deadline - time.monotonic())
            return "fully booted" in self._remote("core waitfullybooted", left).stdout
        except subprocess.TimeoutExpired:
            return False

    def _end_process(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_SECONDS)

    def _write_configuration(self) -> None:
        for name in ("etc", "lib/keys", "spool/monitor", "run", "log", "cache"):
            (self.private / name).mkdir(parents=True)
        rtp_first = random.randrange(10_000, 19_000, 1_000)
        values = {
            "directory": self._inside(""),
            "modules": self._modules(),
            "port": self.port,
            "sip_port": self.sip_port,
            "username": self.username,
            "secret": self.secret,
            "rtp_first": rtp_first,
            "rtp_last": rtp_first + 999,
        }
        for template in CONFIG.glob("*.conf"):
            text = template.read_text()
            if self.more is not None and (self.more / template.name).exists():
                text += (self.more / template.name).read_text()
            text = re.sub(r"@(\w+)@", lambda match: str(values[match[1]]), text)
            (self.private / "etc" / template.name).write_text(text)

    def _modules(self) -> str:
        for name in MODULE_DIRECTORIES:
            if (self.root / name).is_dir():
                return f"/{name}"
        raise AsteriskError(f"no modules of Asterisk in {self.root}; run tests/asterisk/provision.sh {self.version}")

    def _inside(self, path: str) -> str:
        """A path of the private directory as Asterisk sees it, from within its root."""
        return f"/{(self.private / path).relative_to(self.root)}"

    def _failure(self, what: str) -> AsteriskError:
        tail = "\n".join(self.log().splitlines()[-20:]) if self._private else "(no log)"
        return AsteriskError(f"Asterisk {self.version} {what}; its log ends:\n{tail}")


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """An unused port of 127.0.0.1, below the range of ephemeral ports. Each worker of pytest-xdist
    has a share of its own, since a port is not reserved until it is used."""
    first = 20_000 + 2_000 * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 6)
    while True:
        port = random.randrange(first, first + 2_000)
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def missing_prerequisite(version: str) -> str | None:
    """Why this version cannot run here and what to do, or None."""
    if not (ROOT / version / ".complete").exists():
        return f"Asterisk {version} is not in {ROOT}; as root, run tests/asterisk/provision.sh {version}"
    if os.geteuid() != 0:
        return "a real Asterisk is run by chroot, which needs root (see tests/asterisk/provision.sh)"
    return None
