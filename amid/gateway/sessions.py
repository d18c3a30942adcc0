"""Log-in sessions of the page: what a browser holds instead of a token. Pure: it knows no HTTP and no clock.

A session has two random halves. The browser keeps one in a cookie that no script can read, and the page sends the other one as a
header. Cookies ignore ports: a browser sends this one to every server on the host, and a program that receives it there can do
nothing without the other half. A script that reads the other half can do nothing without the cookie.

Sessions outlive the gateway's process, so that a replaced gateway logs nobody out. `SessionFile` keeps their digests in run_dir.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

import msgspec

PER_TOKEN = 200
"""Sessions of one token; a further one ends the one that was used longest ago."""


class Session(msgspec.Struct):
    """`key` is the digest of the page's half, `token` that of the token. `used_at` is in seconds of the wall clock."""

    name: str
    token: bytes
    key: bytes
    used_at: float


class Sessions:
    """Open sessions by the digest of the cookie's half. A session that is unused for `idle_s` seconds has ended."""

    def __init__(self, idle_s: float, kept: Mapping[bytes, Session] | None = None) -> None:
        self.open = dict(kept or {})
        self._idle_s = idle_s

    def begin(self, name: str, token: bytes, now: float) -> tuple[str, str]:
        """The two halves of a new session for the token of this name and digest: the cookie's and the page's."""
        self.open = {mark: one for mark, one in self.open.items() if not self._is_over(one, now)}
        own = [mark for mark, one in self.open.items() if one.name == name]
        if len(own) >= PER_TOKEN:
            del self.open[min(own, key=lambda mark: self.open[mark].used_at)]
        cookie, key = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        self.open[digest(cookie)] = Session(name, token, digest(key), now)
        return cookie, key

    def find(self, cookie: str, key: str, now: float) -> Session | None:
        """The session of these two halves, which is in use now; None when there is none."""
        session = self.open.get(digest(cookie))
        if session is None or self._is_over(session, now) or not hmac.compare_digest(session.key, digest(key)):
            return None
        session.used_at = now
        return session

    def end(self, cookie: str) -> None:
        self.open.pop(digest(cookie), None)

    def _is_over(self, session: Session, now: float) -> bool:
        return now >= session.used_at + self._idle_s


class SessionFile:
    """The sessions' digests in a file that only amid's own user can read. Both methods raise `OSError`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[bytes, Session]:
        """Raises `ValueError` when the file holds something else."""
        try:
            return msgspec.msgpack.decode(self._path.read_bytes(), type=dict[bytes, Session])
        except FileNotFoundError:
            return {}
        except msgspec.MsgspecError as error:
            raise ValueError(f"{self._path}: {error}") from None

    def write(self, sessions: Mapping[bytes, Session]) -> None:
        """Replace the file in one step: a gateway that is killed meanwhile leaves the old one."""
        new = self._path.with_name(f".{self._path.name}")
        with contextlib.suppress(FileNotFoundError):
            new.unlink()
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(msgspec.msgpack.encode(sessions))
        new.rename(self._path)


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
