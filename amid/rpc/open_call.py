"""An accepted call without an answer yet, and its effects: a `Send` to
a reader or a service, a `Reply` to its caller.

A reader passes requests for events that it no longer holds on to the recorder. At the end of what
is recorded, or where events were not recorded that the reader still holds, the recorder passes such
a request back, and the reader answers it from its buffer.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Protocol

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from amid.errors import AmidError
from amid.rpc.messages import CallService, PassOn, PullEvents, Request, RunAction, ToReader, ToService
from amid.rpc.requests import Cursor, EventsParams
from amid.rpc.result import EncodedEvents

BUG = "amid failed on this request; see its log"
"""The message of an `internal_error`."""

RECORDER_ANSWER_S = 0.5
"""Time for the recorder to answer, at least. A client waits one second longer than its timeout."""


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

    def pass_to_recorder(self, message: PassOn, now: float) -> None:
        """Make a request to the recorder of a request for events that the reader passes on."""
        pull = self.pull
        assert pull is not None
        self.recorded_pull = replace(pull, epoch=message.epoch, seq=message.seq)
        self.deadline = max(self.deadline, now + RECORDER_ANSWER_S)
        self.link = None
        after = Cursor(message.epoch, message.seq)
        params = msgspec.msgpack.encode(EventsParams(server=self.server, after=after, names=pull.names or None, limit=pull.limit))
        what = self.server, params, pull.as_json, self.principal, message.held
        self.request = CallService(self.call_id, self.deadline, pull.end, "events", *what)

    def pass_back(self, epoch: int, seq: int) -> None:
        """Make a request to the reader of it again, which the reader answers in any case."""
        pull = self.recorded_pull
        assert pull is not None
        self.request = replace(pull, deadline=self.deadline, epoch=epoch, seq=seq, recorded=False)
        self.recorded_pull = self.link = None

    def ended(self, kind: str, message: str) -> Reply:
        """A failure. A pull without an event in time gets an empty result with the same cursor, and
        so does one whose recorder has ended."""
        pull, kinds = self.pull, ["timeout"]
        if self.recorded_pull is not None:
            pull, kinds = self.recorded_pull, ["timeout", "not_connected"]
        if pull is None or kind not in kinds or pull.epoch is None:
            return self.failure(kind, message)
        more = pull is self.recorded_pull
        return Reply(self.origin, EncodedEvents(pull.as_json).page(self.server, pull.epoch, pull.seq, 0, more))

    def failure(self, kind: str, message: str) -> Reply:
        sent = self.sent
        action_id = self.request.action_id if sent and isinstance(self.request, RunAction) else None
        error = AmidError(kind, message, sent=sent, server=self.server, action_id=action_id, response=self.response)
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
