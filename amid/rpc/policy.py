"""Who may do what: `allow` and `deny` lists of rules, per caller and per server.

A rule is an action's name, `Queue*`, or the name of one that `amid.ami.reach` can look into and a pattern of what it runs:
`Command: core show *`, `Originate: Dial`, `Getvar: CDR(*)`. `deny` wins over `allow`; an empty `allow` allows all. Everything
compares without case and may hold `*`. Every list that applies must agree, on each thing that the action runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Protocol

from amid.ami.action import InvalidAction
from amid.ami.reach import reach
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


def check_action(action: str, fields: Mapping[Any, Any], caller: str, lists: Mapping[str, Lists]) -> None:
    """Raise `AmidError` of kind `denied` unless every one of `lists`, named by where it stands, lets `action` through.

    Of kind `invalid_params` when the headers that a rule looks at are not such as Asterisk would read.
    """
    ruled = {where: listed for where, listed in lists.items() if listed.allow or listed.deny}
    if not ruled:
        return
    name = action.strip().lower()
    try:
        runs = reach(name, fields) or [""]
    except InvalidAction as error:
        raise AmidError("invalid_params", str(error)) from None
    for where, listed in ruled.items():
        for run in runs:
            if _matches(name, run, listed.deny) or (listed.allow and not _matches(name, run, listed.allow)):
                what = f"the action {action!r}" + (f" with {run!r}" if run else "")
                raise AmidError("denied", f"the configuration does not allow {caller!r} {what} (see [{where}])")


def check_admin(method: str, caller: str, rights: Admin) -> None:
    """Raise `AmidError` of kind `denied` unless this caller may change amid itself."""
    if not rights.admin:
        message = f"the configuration does not allow {caller!r} the method {method!r} (see admin in [callers.{caller}])"
        raise AmidError("denied", message)


def _matches(name: str, run: str, rules: Sequence[str]) -> bool:
    return any(_match(name, run, rule) for rule in rules)


def _match(name: str, run: str, rule: str) -> bool:
    action, colon, pattern = rule.lower().partition(":")
    return fnmatchcase(name, action.strip()) and (not colon or fnmatchcase(run, pattern.strip()))
