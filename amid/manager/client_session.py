"""One client of the listener: a session as Asterisk implements it, in front of amid.

Bytes, answers, events and the time go in; effects come out. Login, Logoff, Challenge, Events,
Filter, WaitEvent and malformed requests are answered here. All other actions go to Asterisk if the
user's classes and rules allow them.

Asterisk processes the actions of a client one after the other. Here an action with an ActionID of
its own may be overtaken by later ones, because the client can tell their answers apart, but only if
it takes longer than `order_s`: the actions of a program that sends several at once have Asterisk's
order. All other actions are exclusive: one begins when all earlier ones are answered, and no later
one begins before its answer.
"""

from __future__ import annotations

import math

from msgspec import Struct

from amid.errors import AmidError
from amid.manager import responses
from amid.manager.action_ids import Original
from amid.manager.classes import SYSTEM, parse_event_mask
from amid.manager.commands import select_commands
from amid.manager.event_block import EventBlock
from amid.manager.event_filter import WRONG_FORMAT, EventFilter, EventFilters, FilterError
from amid.manager.failures import Failure, message_of
from amid.manager.forwarding import Forward, Refused, check_rights, may_list, prepare
from amid.manager.login import LoggedIn, Login, LoginFailed
from amid.manager.manager import Manager
from amid.manager.open_actions import OpenAction, OpenActions
from amid.manager.outbox import Outbox
from amid.manager.request_parser import Request, RequestParser
from amid.manager.user import User
from amid.manager.wait_event import WaitEvent

MAX_FILTERS = 32
"""Limit of the filters of one session: every event is compared with each."""


class Send(Struct, frozen=True):
    """Bytes for the client. events: the number of events, 0 for answers."""

    data: bytes
    events: int = 0


class Close(Struct, frozen=True):
    """Close the connection after everything was sent."""


Effect = Send | Forward | Refused | LoggedIn | LoginFailed | Close


class ClientSession:
    """address: of the client, without a port. now: in monotonic seconds, as in all methods."""

    def __init__(self, manager: Manager, address: str, now: float) -> None:
        self._manager = manager
        self._parser = RequestParser()
        self._login = Login(manager, address, now)
        self._upstream = manager.upstreams[manager.first]
        self._outbox = Outbox(manager.limits)
        self._actions = OpenActions()
        self._next: Request | None = None
        self._wait: WaitEvent | None = None
        self._again_at = math.inf
        self._mask = 0
        self._filters = EventFilters()
        self._added_filters: list[EventFilter] = []
        self._paused = self._at_end = False
        self.ended = False
        self._effects: list[Effect] = [Send(responses.greeting(manager.version))]

    @property
    def user(self) -> User | None:
        """The user that has logged in."""
        return self._login.user

    @property
    def buffered(self) -> int:
        """Received bytes that are not processed yet: the owner stops reading if they are many."""
        return self._parser.buffered

    @property
    def held_bytes(self) -> int:
        """Bytes of events that wait for answers."""
        return self._outbox.held_bytes

    def take_effects(self) -> list[Effect]:
        effects, self._effects = self._effects, []
        return effects

    # ── input ──

    def receive(self, data: bytes, now: float) -> None:
        """Process bytes of the client."""
        if self.ended:
            return
        self._parser.feed(data)
        if self._wait is not None:
            self._end_wait(b"", now)
        self._proceed(now)

    def receive_end(self, now: float) -> None:
        """The client sends no more: its requests are processed, then the session ends."""
        self._at_end = True
        if self._wait is not None:
            self._end_wait(b"", now)
        self._proceed(now)

    def pause(self) -> None:
        """The client does not read: begin no action until `resume`."""
        self._paused = True

    def resume(self, now: float) -> None:
        self._paused = False
        self._proceed(now)

    def answer(self, number: int, packets: list[bytes], now: float) -> None:
        """Process the answer to a `Forward`."""
        opened = self._actions.get(number)
        if opened is None:
            return
        if opened.forward.action.lower() == "listcommands":
            packets = [select_commands(packet, lambda action: may_list(action, self._user, self._upstream)) for packet in packets]
        self._finish(number, opened, self._upstream.ids.restore(b"".join(packets)), now)

    def fail(self, number: int, failure: Failure, now: float, wall: float) -> None:
        """Process the failure of a `Forward`. wall: seconds since 1970."""
        if failure.packets:
            self.answer(number, failure.packets, now)
            return
        opened = self._actions.get(number)
        if opened is None:
            return
        disconnected = failure.kind in ("not_connected", "unreachable")
        if disconnected and opened.forward.action.lower() == "ping":
            self._finish(number, opened, responses.pong(opened.action_id, wall), now)
        else:
            if failure.kind == "denied":
                self._effects.append(Refused(failure.message))
            self._finish(number, opened, responses.error(opened.action_id, message_of(failure)), now)

    def receive_events(self, block: EventBlock, now: float) -> None:
        """Process events of the user's server."""
        if self._wait is not None and block:
            self._end_wait(block.select(self._mask, self._filters).data, now)
            self._proceed(now)
        elif self._mask and (events := block.select(self._mask, self._filters)).number:
            if self._actions or self._outbox:
                self._outbox.add(events, self._actions.newest, self._actions.numbers_of(block.action_ids), now)
            else:
                self._effects.append(Send(*events))

    def tick(self, now: float) -> None:
        """Process the deadlines; due at `next_deadline`."""
        self._release(now)
        if self._wait is not None and now >= self._wait.until:
            self._end_wait(b"", now)
        if self.user is None and now >= self._login.deadline:
            self._send(self._login.refusal or b"")
            self._end()
        self._proceed(now)

    @property
    def refusal_due(self) -> float | None:
        """When its failed login is answered; None if it has none."""
        return self._login.deadline if self._login.refusal is not None and not self.ended else None

    def next_deadline(self) -> float:
        """In monotonic seconds; infinite if there is none."""
        login = math.inf if self.ended or self.user is not None else self._login.deadline
        wait = self._wait.until if self._wait is not None else math.inf
        return min(login, wait, self._outbox.next_deadline, self._again_at)

    def change_user(self, user: User) -> None:
        """Apply a changed user. The filters that the client added stay."""
        assert self.user is not None
        self._mask = user.read if self._mask == self.user.read else self._mask & user.read
        self._filters = EventFilters([*user.new_filters(), *self._added_filters])
        self._login.user = user

    # ── requests ──

    def _proceed(self, now: float) -> None:
        self._again_at = math.inf
        self._parser.begin_pass()
        while not self.ended and self._may_begin():
            request = self._next or self._parser.next_request()
            self._next = None
            if request is None:
                if self._parser.at_limit:
                    self._again_at = now
                elif self._at_end and not self._actions:
                    self._end()
                return
            if self._actions and self._is_exclusive(request):
                self._next = request
                return
            if now < self._actions.next_from:
                self._next, self._again_at = request, self._actions.next_from
                return
            self._begin(request, now)

    def _may_begin(self) -> bool:
        if self._paused or self._wait is not None or self._login.refusal is not None:
            return False
        return len(self._actions) < self._manager.limits.open_actions and not self._actions.has_exclusive

    def _is_exclusive(self, request: Request) -> bool:
        """Whether its answer cannot be told from others, or it ends or changes the session."""
        action_id = request.action_id
        if not action_id or request.fault or request.action.lower() in (b"logoff", b"login", b"waitevent"):
            return True
        return self._actions.has_action_id(action_id)

    def _begin(self, request: Request, now: float) -> None:
        """In the order of `process_message`."""
        action, action_id = request.action, request.action_id
        name = action.lower()
        if request.fault or not action:
            self._send(responses.error(action_id, request.fault or responses.MISSING))
        elif name in (b"login", b"challenge"):
            self._log_in(name, request, now)
        elif name == b"logoff":
            self._send(responses.goodbye(action_id))
            self._end()
        elif self.user is None:
            self._send(responses.error(action_id, responses.PERMISSION_DENIED))
        elif name == b"events":
            self._release(math.inf)  # after the answer, none comes that the old mask selected
            self._send(self._set_mask(request))
        elif name == b"filter":
            self._release(math.inf)
            self._send(self._add_filter(request))
        elif name == b"waitevent":
            self._wait = WaitEvent.of(request, now)
            if now >= self._wait.until:
                self._end_wait(b"", now)
        else:
            self._forward(request, now)

    def _log_in(self, action: bytes, request: Request, now: float) -> None:
        if action == b"challenge":
            self._send(self._login.challenge(request))
            return
        if self.user is not None:
            self._send(responses.success(request.action_id, b"Already authenticated"))
            return
        outcome = self._login.log_in(request, now)
        self._effects.append(outcome)
        if isinstance(outcome, LoggedIn):
            self._begin_session(outcome.user, request, now)

    def _begin_session(self, user: User, request: Request, now: float) -> None:
        self._send(responses.success(request.action_id, b"Authentication accepted"))
        mask = parse_event_mask(request.get(b"events"))
        self._mask = user.read if mask is None else mask & user.read
        self._filters = EventFilters(user.new_filters())
        self._upstream = self._manager.upstream_of(user)
        if self._mask & SYSTEM and self._upstream.booted:
            self._send(responses.fully_booted(*self._upstream.ages(now)))

    def _set_mask(self, request: Request) -> bytes:
        """The answer to Events."""
        mask = parse_event_mask(request.get(b"eventmask"))
        if mask is None:
            return responses.error(request.action_id, b"Invalid event mask")
        self._mask = mask & self._user.read
        return responses.events(request.action_id, mask > 0)

    def _add_filter(self, request: Request) -> bytes:
        """The answer to Filter."""
        action_id = request.action_id
        if not self._user.write & SYSTEM:
            self._effects.append(Refused("Filter needs the class system, which `write` of the user does not have", request))
            return responses.error(action_id, responses.PERMISSION_DENIED)
        if request.get(b"operation").lower() != b"add":
            return responses.error(action_id, b"Unknown operation")
        try:
            new = self._new_filter(request)
        except FilterError as error:
            return responses.error(action_id, error.message)
        self._filters.add(new)
        self._added_filters.append(new)
        return responses.success(action_id, b"Success")

    def _new_filter(self, request: Request) -> EventFilter:
        """An Asterisk without criteria ignores them, and accepts an empty expression."""
        if len(self._filters) >= MAX_FILTERS:
            raise FilterError(b"Internal Error. Failed adding filter.")
        knows_criteria = self._upstream.has_filter_criteria
        criteria = request.get(b"matchcriteria") if knows_criteria else b""
        try:
            return EventFilter(request.get(b"filter"), criteria or None)
        except FilterError as error:
            if error.message != WRONG_FORMAT or knows_criteria:
                raise
            return EventFilter(b"!.*" if request.get(b"filter") else b".*")  # an empty expression matches everything

    def _forward(self, request: Request, now: float) -> None:
        action_id = request.action_id
        upstream = self._upstream
        try:
            check_rights(request, self._user, upstream)
            number, wire_id = self._actions.newest + 1, self._manager.new_wire_id()
            forward = prepare(request, number, wire_id, self._manager.limits.action_timeout_s)
        except AmidError as error:
            failure = Failure.of(error)
            self._effects.append(Refused(failure.message, request if failure.kind == "denied" else None))
            self._send(b"".join(failure.packets) or responses.error(action_id, message_of(failure)))
            return
        upstream.ids.add(wire_id, Original(action_id, request.lines[line] if (line := request.find(b"actionid")) >= 0 else b""))
        self._actions.add(OpenAction(forward, action_id, self._is_exclusive(request), now + self._manager.limits.order_s))
        self._effects.append(forward)

    # ── output ──

    def _finish(self, number: int, opened: OpenAction, answer: bytes, now: float) -> None:
        self._actions.remove(number)
        self._upstream.ids.expire(opened.forward.wire_id, now + opened.forward.keep_s)
        self._send(answer)
        self._release(now)
        self._proceed(now)

    def _end_wait(self, events: bytes, now: float) -> None:
        assert self._wait is not None
        action_id, self._wait = self._wait.action_id, None
        answer = responses.success(action_id, b"Waiting for Event completed.")
        self._send(answer + events + responses.wait_event_complete(action_id))

    def _send(self, data: bytes) -> None:
        if data and not self.ended:
            self._effects.append(Send(data))

    def _release(self, now: float) -> None:
        if self._outbox and (events := self._outbox.release(self._actions, now)).number:
            self._effects.append(Send(*events))

    def _end(self) -> None:
        self.ended = True
        self._effects.append(Close())

    @property
    def _user(self) -> User:
        assert self.user is not None
        return self.user
