"""A call that was accepted and not answered yet, and what can come of it: a `Send` to a reader, a `Reply` to its caller."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Protocol

from msgspec import Struct

from amid.errors import AmidError


class Origin(Protocol):
    """Who asked. `principal` shares lanes and limits with the others, such as "uid:1000"; `connection` is None when it is unknown;
    `request_id` names the call on its connection."""

    @property
    def principal(self) -> str: ...
    @property
    def connection(self) -> Hashable: ...
    @property
    def request_id(self) -> Any: ...


class Order(Struct, frozen=True):
    """What a reader is asked to do. `kind` is "call", which takes a lane, or "replay", which does not."""

    kind: str
    body: dict[str, Any]


class Send(Struct, frozen=True):
    """`reader` is whatever `Calls.state` was given for it."""

    reader: Any
    message: list[Any]


class Reply(Struct, frozen=True):
    """`result` is encoded already, in the codec of the request: the broker does not look inside."""

    origin: Any
    result: bytes | None = None
    error: AmidError | None = None


Effect = Send | Reply


@dataclass(slots=True, eq=False)
class OpenCall:
    """`principal` and `connection` are the origin's: a property of a tuple costs a call of Python's."""

    call_id: int
    origin: Origin
    server: str
    order: Order
    deadline: float
    principal: str
    connection: Hashable
    handed: bool = False
    response: dict[Any, Any] | None = None

    @property
    def sent(self) -> bool:
        """Whether Asterisk may have received its action."""
        return self.handed and self.order.kind == "call"

    def failure(self, kind: str, message: str) -> Reply:
        action_id = self.order.body.get("action_id") if self.sent else None
        error = AmidError(kind, message, sent=self.sent, server=self.server, action_id=action_id, response=self.response)
        return Reply(self.origin, error=error)

    def lateness(self) -> str:
        """What had not come when the deadline passed."""
        if not self.handed:
            return "it was still waiting for a lane"
        return f"{self.order.body['until']} had not come" if self.response is not None else "its answer had not come"
