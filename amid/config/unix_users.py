"""The Unix users of each caller: resolves `user` and `group` of [callers.NAME].

The supervisor resolves them when it reads the configuration, because a lookup may wait for a
directory server (nsswitch.conf(5)) and the broker must not wait. A change of a group's members
takes effect with the next SIGHUP.
"""

from __future__ import annotations

import grp
import pwd
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from amid.config.report import Report
from amid.config.tables import Caller

LOCAL = "local"
"""The caller on ipc, unless the configuration names one for its Unix user or group."""
OVERFLOW_ID = 65534
"""The id that the kernel reports for users and groups outside amid's user namespace
(user_namespaces(7))."""


class LocalCaller(msgspec.Struct, frozen=True):
    """The Unix users of the caller `name`: those in `uids`, and every process whose group is `gid`."""

    name: str
    uids: list[int]
    gid: int | None = None


def local_callers(callers: Mapping[str, Caller]) -> list[LocalCaller]:
    """The callers in the order in which they apply: users before groups, then in the order of the
    file."""
    return [*_of_users(callers), *_of_groups(callers)]


def find_caller(callers: Iterable[LocalCaller], uid: int, gid: int) -> str:
    """The name of the caller that a process of this user and group is."""
    return next((one.name for one in callers if uid in one.uids or gid == one.gid), LOCAL)


def check(callers: Mapping[str, Caller], report: Report) -> None:
    """Refuse a `user` or `group` that does not exist or does not identify one caller."""
    seen: dict[tuple[str, int], str] = {}
    for name, caller in callers.items():
        table = f"callers.{name}"
        for key, named, number in (("user", caller.user, _uid(caller.user)), ("group", caller.group, _gid(caller.group))):
            if named is None:
                continue
            if name == "local":
                report.refuse(table, key, "`local` stands for all local callers without a table of their own; use another name")
            elif number is None:
                report.refuse(table, key, f"{key} {named!r} does not exist on this system")
            elif number == OVERFLOW_ID:
                report.refuse(table, key, f"{named!r} also stands for every {key} outside the container; use another {key}")
            elif (other := seen.setdefault((key, number), name)) != name:
                report.refuse(table, key, f"{named!r} is already used in [callers.{other}]")


def _of_users(callers: Mapping[str, Caller]) -> Iterator[LocalCaller]:
    for name, caller in callers.items():
        uid = _uid(caller.user)
        if uid is not None:
            yield LocalCaller(name, [uid])


def _of_groups(callers: Mapping[str, Caller]) -> Iterator[LocalCaller]:
    for name, caller in callers.items():
        gid = _gid(caller.group)
        if gid is not None:
            members = [_uid(member) for member in grp.getgrgid(gid).gr_mem]
            uids = {uid for uid in members if uid is not None} | {entry.pw_uid for entry in pwd.getpwall() if entry.pw_gid == gid}
            yield LocalCaller(name, sorted(uids), gid)


def _uid(user: str | None) -> int | None:
    try:
        return pwd.getpwnam(user).pw_uid if user is not None else None
    except KeyError:
        return None


def _gid(group: str | None) -> int | None:
    try:
        return grp.getgrnam(group).gr_gid if group is not None else None
    except KeyError:
        return None
