"""Sends replies to callers: encoded as the request was, bounded by the
caller's unread bytes, counted, audited."""

from __future__ import annotations

import logging
from collections import Counter

from amid import wire
from amid.broker.audit_log import AuditLog
from amid.broker.caller_sockets import CallerSockets
from amid.broker.origin import Origin
from amid.errors import AmidError
from amid.rpc.open_call import Reply

log = logging.getLogger("amid.broker")


class Replies:
    """Sends every reply of the broker."""

    def __init__(self, callers: CallerSockets, counters: Counter[str], audit: AuditLog) -> None:
        self._callers = callers
        self._counters = counters
        self._audit = audit

    def send(self, reply: Reply) -> None:
        """Send the reply, or an error if its caller has too much unread.

        Drop and count it if that does not fit either.
        """
        origin: Origin = reply.origin
        body = _encode(reply)
        fits = self._callers.send(origin, body)
        if not fits:
            message = f"the answer has {len(body)} bytes, and the caller has too many unread: read answers as they arrive"
            reply = Reply(origin, error=AmidError("too_large", message, sent=True))
            fits = self._callers.send(origin, _encode(reply))
        if origin.asked is not None:
            self._audit.write_reply(origin.asked, reply.error)
        self._counters[f"answers_{reply.error.kind}" if reply.error else "answers_ok"] += 1
        if not fits:
            self._counters["undeliverable_answers"] += 1
            log.warning("dropped an answer: %s has more than max_unread_bytes of unread answers", origin.identity.principal)


def _encode(reply: Reply) -> bytes:
    origin: Origin = reply.origin
    if reply.error is not None:
        return wire.encode_reply(wire.error(origin.request_id, reply.error), origin.as_json)
    assert reply.result is not None
    return (wire.json_result if origin.as_json else wire.packed_result)(origin.request_id, reply.result)
