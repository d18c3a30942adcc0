"""Names on NATS: subjects, streams and buckets.

All begin with `prefix`, one token in lower case, so that several installations can share an
account. Server names are tokens already (`amid.config.convert.SERVER_NAME`); names of events and
actions may not be. NATS accepts `*`, `.` and `:` in a published subject without an error, and
subscribers would then miss messages. So each character except letters, digits, `_`, `:` and `-` is
replaced by `_`. The body has the true name.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from amid.errors import AmidError

MAX_TOKEN_LENGTH = 128
"""Characters of a name in a subject. nats-server accepts protocol lines of 4,096 bytes."""
EVERY_INSTANCE = frozenset({"status"})
"""Methods with a subject without a server, answered by every instance."""

_UNSAFE = re.compile(r"[^A-Za-z0-9_:-]")


@lru_cache(4096)
def token(name: str) -> str:
    """The name as one token of a subject."""
    return _UNSAFE.sub("_", name[:MAX_TOKEN_LENGTH]) or "_"


def is_inbox(subject: str) -> bool:
    """Whether a reply may go there. amid may publish where its caller may not: a caller that names
    another subject for the reply could store events, take a lease or send requests."""
    return subject.startswith("_")


class RpcSubject(NamedTuple):
    """The parts of a request's subject. server: None for a method of every instance. action: the
    token, for the method `action`."""

    server: str | None
    method: str
    action: str | None = None


class Subjects(NamedTuple):
    """All names below one prefix."""

    prefix: str

    def event(self, server: str, name: str) -> str:
        return f"{self.prefix}.event.{server}.{token(name)}"

    def events(self, server: str) -> str:
        """All events of a server, which are the subjects of its stream."""
        return f"{self.prefix}.event.{server}.>"

    def tick(self, server: str) -> str:
        return f"{self.prefix}.tick.{server}"

    def stream(self, server: str) -> str:
        return f"{self.prefix.upper()}_{server}"

    @property
    def owners(self) -> str:
        """The bucket of the leases."""
        return f"{self.prefix}-owners"

    @property
    def servers(self) -> str:
        """The bucket of the servers' states."""
        return f"{self.prefix}-servers"

    def rpc(self, server: str, caller: str = "") -> str:
        """All requests for a server, of the caller with this prefix; "" for callers without one."""
        return f"{self._of_caller(caller)}.rpc.{server}.>"

    def rpc_of_instance(self, method: str, caller: str = "") -> str:
        """Requests for every instance."""
        return f"{self._of_caller(caller)}.rpc.{method}"

    def _of_caller(self, caller: str) -> str:
        return f"{self.prefix}-{caller}" if caller else self.prefix


def parse_rpc(subject: str) -> RpcSubject:
    """Split the subject of a request. Raises `AmidError` of kind `invalid_request` if it names no
    method."""
    match subject.split(".")[2:]:
        case [method] if method in EVERY_INSTANCE:
            return RpcSubject(None, method)
        case [server, "action", action]:
            return RpcSubject(server, "action", action)
        case [server, method] if method != "action":
            return RpcSubject(server, method)
    raise AmidError(
        "invalid_request", f"{subject} is not the subject of a request; use …rpc.SERVER.METHOD or …rpc.SERVER.action.ACTION"
    )
