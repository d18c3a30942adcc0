"""A call that was accepted and not answered yet, and what can come of it: a `Send` to a reader, a `Reply` to its caller."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Protocol

from msgspec import Struct

from amid.errors import AmidError
from amid.rpc.messages import Request, RunAction, ToReader


class Origin(Protocol):
    """Who asked. `principal` shares lanes and limits with the others, such as "uid:1000"; `connection` is None when it is unknown;
    `request_id` names the call on its connection."""

    @property
    def principal(self) -> str: ...
    @property
    def connection(self) -> Hashable: ...
    @property
    def request_id(self) -> Any: ...


class Send(Struct, frozen=True):
    """`reader` is whatever `Calls.connected` was given for it."""

    reader: Any
    message: ToReader


class Reply(Struct, frozen=True):
    """`result` is encoded already, in the codec of the request: the broker does not look inside."""

    origin: Any
    result: bytes | None = None
    error: AmidError | None = None


Effect = Send | Reply


@dataclass(slots=True, eq=False)
class OpenCall:
    """`principal` and `connection` are the origin's: a property of a tuple costs a call of Python's."""

    origin: Origin
    server: str
    request: Request
    call_id: int
    deadline: float
    principal: str
    connection: Hashable
    handed: bool = False
    response: dict[Any, Any] | None = None

    @property
    def sent(self) -> bool:
        """Whether Asterisk may have received its action."""
        return self.handed and isinstance(self.request, RunAction)

    @property
    def quick(self) -> bool:
        return isinstance(self.request, RunAction) and self.request.quick

    def failure(self, kind: str, message: str) -> Reply:
        sent = self.sent
        action_id = self.request.action_id if sent and isinstance(self.request, RunAction) else None
        error = AmidError(kind, message, sent=sent, server=self.server, action_id=action_id, response=self.response)
        return Reply(self.origin, error=error)

    def lateness(self) -> str:
        """What had not come when the deadline passed."""
        if not self.handed:
            return "it was still waiting for a lane"
        if self.response is not None and isinstance(self.request, RunAction) and self.request.until is not None:
            return f"{self.request.until.decode('utf-8', 'backslashreplace')} had not come"
        return "its answer had not come"
