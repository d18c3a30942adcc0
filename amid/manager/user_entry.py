"""The section of a listener's user, as text: what the daemon's processes exchange and `User` compiles."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

OnReconnect = Literal["keep", "close"]


class UserEntry(Struct, frozen=True, kw_only=True):
    """A section as text.

    access: `permit` and `deny` in their order, as (permitted, network). eventfilters: (pattern,
    criteria), the latter None without parentheses. on_reconnect: whether a client is kept when the
    session with Asterisk was lost, and gets a FullyBooted of the new session, or is closed.
    """

    secret: str = ""
    read: str = ""
    write: str = ""
    eventfilters: list[tuple[str, str | None]] = []
    access: list[tuple[bool, str]] = []
    allow: list[str] = []
    deny: list[str] = []
    server: str = ""
    allowmultiplelogin: bool = True
    on_reconnect: OnReconnect = "keep"
