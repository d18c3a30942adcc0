"""Actions for Asterisk: whether the user may send them, and how they are sent."""

from __future__ import annotations

from msgspec import Struct

from amid.ami.action import MAX_HEADERS, fields_of_lines
from amid.errors import AmidError
from amid.manager import responses
from amid.manager.escalation import check_arguments
from amid.manager.manager import Upstream
from amid.manager.request_parser import TOO_MANY_LINES, Request
from amid.manager.user import User
from amid.rpc.policy import USERS_FILE, check_action, permits_name

MAX_TIMEOUT_S = 3600.0
ORIGINATE_S = 30.0
"""Ringing time of an Originate without Timeout."""
KEEP_S = 10.0
"""Time after an answer in which events may have the ActionID of the action."""
KEEP_ORIGINATE_S = 60.0
"""The same for OriginateResponse, in addition to the ringing time."""

ALWAYS_ALLOWED = frozenset({b"ping", b"listcommands"})
"""Actions that the user's rules do not forbid: programs use them as a keepalive and at start."""


class Forward(Struct, frozen=True):
    """An action for Asterisk.

    number: its number in the session. lines: all lines except `Action`. wire_id: amid's ActionID.
    keep_s: time after the answer for which the client's ActionID must be kept.
    """

    number: int
    action: str
    lines: list[bytes]
    wire_id: str
    timeout_s: float
    keep_s: float


class Refused(Struct, frozen=True):
    """An action that is refused, for the log: the client learns no reason. request: for the audit
    trail, if the user's classes or rules do not allow it; None if the broker has denied and recorded it."""

    reason: str
    request: Request | None = None


def check_rights(request: Request, user: User, upstream: Upstream) -> None:
    """Raise `AmidError` if an action is unknown, or if the user's classes or rules do not allow it;
    with the answer, if Asterisk has one."""
    action, action_id = request.action, request.action_id
    where = f"[{user.name}] of {USERS_FILE}"
    if not upstream.commands:
        raise AmidError("not_connected", "Asterisk's list of actions is not known yet")
    if action not in upstream.commands:
        what = f"Asterisk does not offer {_text(action)} to amid's own manager user"
        advice = "it has no such action, or `write` of that user in manager.conf lacks a class"
        raise AmidError("action_failed", f"{what}: {advice}", packets=[responses.unknown_action(action_id, action)])
    if not upstream.commands.allows(action, user.write):
        raise AmidError("denied", f"{_text(action)} needs a class that `write` in {where} does not have")
    if forbidden := check_arguments(request, user.write, upstream):
        reason = f"{forbidden.decode()}; `write` in {where} does not have the class system"
        raise AmidError("denied", reason, packets=[responses.error(action_id, forbidden)])
    if action.lower() not in ALWAYS_ALLOWED:
        check_action(_text(action), fields_of_lines(request.other_lines), user.name, {where: user.entry})


def may_list(action: bytes, user: User, upstream: Upstream) -> bool:
    """Whether ListCommands shows an action to this user."""
    if not upstream.commands.allows(action, user.write):
        return False
    return action.lower() in ALWAYS_ALLOWED or permits_name(_text(action), user.entry)


def prepare(request: Request, number: int, wire_id: str, timeout_s: float) -> Forward:
    """The action as it is sent. Raises `AmidError` if amid's ActionID would be one line too many."""
    lines = request.other_lines
    if len(lines) + (request.find(b"actionid") < 0) >= MAX_HEADERS:
        raise AmidError("invalid_params", TOO_MANY_LINES.decode())
    action, keep_s = _text(request.action), KEEP_S
    if action.lower() == "originate":
        ringing_s = _ringing_s(request.get(b"timeout"))
        timeout_s, keep_s = timeout_s + ringing_s, ringing_s + KEEP_ORIGINATE_S
    return Forward(number, action, lines, wire_id, min(timeout_s, MAX_TIMEOUT_S), min(keep_s, MAX_TIMEOUT_S))


def _ringing_s(milliseconds: bytes) -> float:
    return int(milliseconds[:9]) / 1000 if milliseconds.isdigit() else ORIGINATE_S


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
