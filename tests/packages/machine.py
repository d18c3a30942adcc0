"""A Debian machine of the test under a real systemd: an overlay on a root of provision.sh, removed
afterwards.

systemd-nspawn starts it. It shares this machine's network, so the test's PBX is its PBX too.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.daemon import BOUND_S, eventually
from tests.need import start_failure
from tests.processes.process import Notified

ROOT = Path(os.environ.get("AMID_PACKAGES_ROOT", "/var/cache/amid-packages"))
RELEASES = {"bookworm": "3.11", "trixie": "3.13"}
"""Debian release -> its Python."""


def missing_prerequisite(release: str) -> str:
    """What is missing for a machine of this release; empty when nothing is."""
    if os.getuid() != 0:
        return "only root can start a machine"
    programs = ("systemd-nspawn", "buildah")
    if any(map(start_failure, programs)) or not (ROOT / release / ".complete").exists():
        return f"there is no Debian {release} for packages; as root, run tests/packages/provision.sh {release}"
    return ""


def nspawn(release: str, *options: str) -> list[str]:
    """The command line, for systemd 252 and later; there need be no systemd on this machine."""
    base = ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--volatile=overlay", "--directory", str(ROOT / release)]
    return ["env", "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1", *base, *options]


class Machine:
    """`release` booted. `shared`: directories that it sees under the same names."""

    def __init__(self, release: str, shared: list[Path], notify: Path) -> None:
        notified = Notified(notify)
        binds = [f"--bind-ro={folder}" for folder in shared]
        self._nspawn = subprocess.Popen(
            nspawn(release, *binds, "--notify-ready=yes", "--console=pipe", "--boot"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "NOTIFY_SOCKET": str(notify)},
        )
        try:
            eventually(lambda: "READY=1" in notified.said(), f"Debian {release} has started")
            self._leader = next(word.partition("=")[2] for word in notified.said() if word.startswith("X_NSPAWN_LEADER_PID="))
        except AssertionError:
            self._end(0)
            raise
        finally:
            notified.close()

    def run(self, *argv: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """As root, in the machine."""
        into = ["nsenter", f"--target={self._leader}", "--all"]
        environ = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
        return subprocess.run([*into, *argv], input=stdin, env=environ, capture_output=True, text=True, timeout=3 * BOUND_S)

    def do(self, *argv: str, stdin: str = "") -> str:
        """The same, which must go well; what it printed."""
        done = self.run(*argv, stdin=stdin)
        assert done.returncode == 0, f"{argv} ended with {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def write(self, path: str, text: str, owner: str = "root", mode: str = "644") -> None:
        self.do("install", "-D", f"--owner={owner}", f"--mode={mode}", "/dev/stdin", path, stdin=text)

    def close(self) -> None:
        self.run("systemctl", "poweroff")
        self._end(BOUND_S)

    def _end(self, wait: float) -> None:
        try:
            self._nspawn.wait(wait)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            self._nspawn.wait(BOUND_S)
