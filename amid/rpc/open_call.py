"""An accepted call without an answer yet, and its effects: a `Send` to
a reader or a service, a `Reply` to its caller."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Protocol

from msgspec import Struct

from amid.errors import AmidError
from amid.rpc.messages import CallService, PullEvents, Request, RunAction, ToReader, ToService
from amid.rpc.result import EncodedEvents, EventsPage

BUG = "amid failed on this request; see its log"
"""The message of an `internal_error`."""


class Origin(Protocol):
    """Where a call came from.

    principal: lanes and limits are shared by it, for example "uid:1000". connection: None if
    unknown. request_id: names the call on its connection.
    """

    @property
    def principal(self) -> str: ...
    @property
    def connection(self) -> Hashable: ...
    @property
    def request_id(self) -> Any: ...


class Send(Struct, frozen=True):
    """A message. reader: the link to a reader or a service, as it was given to `Calls`."""

    reader: Any
    message: ToReader | ToService


class Reply(Struct, frozen=True):
    """result: encoded already, in the codec of the request; the broker does not decode it."""

    origin: Any
    result: bytes | None = None
    error: AmidError | None = None


Effect = Send | Reply


class OpenCall(Struct, eq=False):
    """link: to the reader or the service that has the call; None while it waits for one.
    recorded_pull: the request of the caller, while the recorder answers it.
    """

    origin: Origin
    server: str
    request: Request
    call_id: int
    deadline: float
    principal: str
    link: Any = None
    response: dict[Any, Any] | None = None
    recorded_pull: PullEvents | None = None

    @property
    def sent(self) -> bool:
        """Whether Asterisk may have received its action."""
        return self.link is not None and isinstance(self.request, RunAction)

    @property
    def pull(self) -> PullEvents | None:
        """The request, if the call waits for events. Such a call outlives its reader."""
        return self.request if isinstance(self.request, PullEvents) else None

    @property
    def service_call(self) -> CallService | None:
        """The request, if the call is for a service."""
        return self.request if isinstance(self.request, CallService) else None

    def ended(self, kind: str, message: str) -> Reply:
        """A failure. A pull without an event in time gets an empty result with the same cursor, and
        so does one whose recorder has ended."""
        pull, kinds = self.pull, ["timeout"]
        if self.recorded_pull is not None:
            pull, kinds = self.recorded_pull, ["timeout", "not_connected"]
        if pull is None or kind not in kinds or pull.epoch is None:
            return self.failure(kind, message)
        page = EventsPage(self.server, pull.epoch, pull.seq, 0, more=pull is self.recorded_pull)
        return Reply(self.origin, page.encode(EncodedEvents(pull.as_json)))

    def failure(self, kind: str, message: str) -> Reply:
        sent = self.sent
        action_id = self.request.action_id if sent and isinstance(self.request, RunAction) else None
        error = AmidError(kind, message, sent=sent, server=self.server or None, action_id=action_id, response=self.response)
        return Reply(self.origin, error=error)

    def timeout_reason(self) -> str:
        """What was missing when the deadline passed."""
        if self.service_call is not None:
            return f"the process that answers `{self.service_call.method}` did not"
        if self.pull is not None:
            return f"the reader of server {self.server} did not answer, and the request has no cursor to continue from"
        if self.link is None:
            return "the call was still waiting for a lane"
        if self.response is not None and isinstance(self.request, RunAction) and self.request.until is not None:
            event = self.request.until.decode("utf-8", "backslashreplace")
            return f"{event} had not come; amid's manager user receives only the classes in its `read`"
        return "Asterisk had not answered"
