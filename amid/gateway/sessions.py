"""Log-in sessions of the page, which a browser stores instead of a token. Pure: no HTTP and no
clock.

A session has two random halves. The browser keeps one in a cookie that scripts cannot read; the
page sends the other in a header. Cookies ignore ports, so a browser sends this cookie to every
server on the host; a server that receives it can do nothing without the other half, and a script
that reads the other half can do nothing without the cookie.

Sessions outlive the gateway process, so users stay logged in when it is replaced. `SessionFile`
stores their digests in run_dir.
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

MAX_PER_TOKEN = 200
"""Maximum number of sessions of a token; a new one replaces the least recently used."""


class Session(msgspec.Struct):
    """A session. `key` is the digest of the page's half, `token` the digest of the token, `used_at`
    in seconds since 1970."""

    name: str
    token: bytes
    key: bytes
    used_at: float


class Sessions:
    """Open sessions by the digest of the cookie's half. A session ends after `idle_s` seconds
    without use."""

    def __init__(self, idle_s: float, kept: Mapping[bytes, Session] | None = None) -> None:
        self.open = dict(kept or {})
        self._idle_s = idle_s

    def begin(self, name: str, token: bytes, now: float) -> tuple[str, str]:
        """Start a session for the token of this name and digest. Returns the cookie's half and the
        page's half."""
        self.open = {mark: one for mark, one in self.open.items() if not self._is_over(one, now)}
        own = [mark for mark, one in self.open.items() if one.name == name]
        if len(own) >= MAX_PER_TOKEN:
            del self.open[min(own, key=lambda mark: self.open[mark].used_at)]
        cookie, key = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        self.open[digest(cookie)] = Session(name, token, digest(key), now)
        return cookie, key

    def find(self, cookie: str, key: str, now: float) -> Session | None:
        """The session with these two halves, marked as used; None if there is none."""
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
    """The file of session digests, readable only by amid's user. Both methods raise `OSError`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[bytes, Session]:
        """Read the sessions. Raises `ValueError` when the file is invalid."""
        try:
            return msgspec.msgpack.decode(self._path.read_bytes(), type=dict[bytes, Session])
        except FileNotFoundError:
            return {}
        except msgspec.MsgspecError as error:
            raise ValueError(f"{self._path}: {error}") from None

    def write(self, sessions: Mapping[bytes, Session]) -> None:
        """Replace the file atomically, so that a killed gateway leaves the old one."""
        new = self._path.with_name(f".{self._path.name}")
        with contextlib.suppress(FileNotFoundError):
            new.unlink()
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(msgspec.msgpack.encode(sessions))
        new.rename(self._path)


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
