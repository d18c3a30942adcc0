"""Answers of Asterisk that the listener gives itself, byte for byte (`astman_send_response_full` and
the actions of main/manager.c)."""

from __future__ import annotations

ID_LINE_BYTES = 255
"""Limit of the line with the ActionID in the answers of Events and WaitEvent; Asterisk truncates it,
including the line end."""
COMMAND_BYTES = 511
"""Limit of the message about an unknown action; Asterisk truncates it."""

UNKNOWN = b"Invalid/unknown command: %b. Use Action: ListCommands to show available commands."
MISSING = b"Missing action in request"
PERMISSION_DENIED = b"Permission denied"
LOGIN_FAILED = b"Authentication failed"


def greeting(version: str) -> bytes:
    return f"Asterisk Call Manager/{version}\r\n".encode()


def response(kind: bytes, action_id: bytes, message: bytes) -> bytes:
    return b"Response: %b\r\n%bMessage: %b\r\n\r\n" % (kind, id_line(action_id), message)


def success(action_id: bytes, message: bytes) -> bytes:
    return response(b"Success", action_id, message)


def error(action_id: bytes, message: bytes) -> bytes:
    return response(b"Error", action_id, message)


def goodbye(action_id: bytes) -> bytes:
    return response(b"Goodbye", action_id, b"Thanks for all the fish.")


def unknown_action(action_id: bytes, action: bytes) -> bytes:
    return error(action_id, (UNKNOWN % action)[:COMMAND_BYTES])


def challenge(action_id: bytes, challenge: bytes) -> bytes:
    return b"Response: Success\r\n%bChallenge: %b\r\n\r\n" % (id_line(action_id), challenge)


def events(action_id: bytes, are_on: bool) -> bytes:
    return b"Response: Success\r\n%bEvents: %b\r\n\r\n" % (_short_id_line(action_id), b"On" if are_on else b"Off")


def wait_event_complete(action_id: bytes) -> bytes:
    return b"Event: WaitEventComplete\r\n%b\r\n" % _short_id_line(action_id)


def pong(action_id: bytes, wall: float) -> bytes:
    return b"Response: Success\r\n%bPing: Pong\r\nTimestamp: %.6f\r\n\r\n" % (id_line(action_id), wall)


def fully_booted(uptime_s: int, last_reload_s: int) -> bytes:
    """The event after a login."""
    text = b"Event: FullyBooted\r\nPrivilege: system,all\r\nUptime: %d\r\nLastReload: %d\r\nStatus: Fully Booted\r\n\r\n"
    return text % (uptime_s, last_reload_s)


def id_line(action_id: bytes) -> bytes:
    return b"ActionID: %b\r\n" % action_id if action_id else b""


def _short_id_line(action_id: bytes) -> bytes:
    return id_line(action_id)[:ID_LINE_BYTES]
