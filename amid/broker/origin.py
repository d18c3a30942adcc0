"""Where a request came from, as the broker keeps it until the answer."""

from __future__ import annotations

from typing import Any, NamedTuple

from amid.broker.caller_sockets import Sender
from amid.broker.reply_backlog import Connection
from amid.process.loop import clock
from amid.rpc.audit import Asked
from amid.rpc.requests import Params


class Origin(NamedTuple):
    """Who asked: the sender of the message, the request's id and codec, and the principal that it counts for.

    asked: what the audit trail records with the answer; None when it does not.
    """

    sender: Sender
    request_id: Any
    as_json: bool
    principal: str
    asked: Asked | None = None

    @property
    def connection(self) -> Connection:
        return self.sender.connection

    def asks(self, method: str, params: Params) -> Asked:
        """For the audit trail."""
        return Asked(self.caller, self.principal, method, params, clock.monotonic())

    @property
    def caller(self) -> str:
        """The name of the [callers.NAME] whose rights apply."""
        return self.sender.identity.caller
