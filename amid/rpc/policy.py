"""Who may do what: `allow` and `deny` lists of action names, per caller and per server.

`deny` wins over `allow`; an empty `allow` allows all. Names compare without case and may hold `*`. Every list that applies must
agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Protocol

from amid.errors import AmidError


class Lists(Protocol):
    """Whatever has the two lists: a caller or a server of the configuration."""

    @property
    def allow(self) -> Sequence[str]: ...
    @property
    def deny(self) -> Sequence[str]: ...


class Admin(Protocol):
    @property
    def admin(self) -> bool: ...


def check_action(action: str, caller: str, lists: Mapping[str, Lists]) -> None:
    """Raise `AmidError` of kind `denied` unless every one of `lists`, named by where it stands, lets `action` through."""
    name = action.strip().lower()
    for where, listed in lists.items():
        if _matches(name, listed.deny) or (listed.allow and not _matches(name, listed.allow)):
            raise AmidError("denied", f"the configuration does not allow {caller!r} the action {action!r} (see [{where}])")


def check_admin(method: str, caller: str, rights: Admin) -> None:
    """Raise `AmidError` of kind `denied` unless this caller may change amid itself."""
    if not rights.admin:
        message = f"the configuration does not allow {caller!r} the method {method!r} (see admin in [callers.{caller}])"
        raise AmidError("denied", message)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern.lower()) for pattern in patterns)
