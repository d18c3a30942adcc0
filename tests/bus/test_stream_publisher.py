"""The publisher of events with a stand-in for the connection to NATS."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from amid.bus.protocol.checkpoint import NOTHING_STORED
from amid.bus.protocol.messages import Message
from amid.bus.stream_publisher import StreamPublisher
from amid.config.tables import Nats
from tests.bus.jetstream import body, page


class FullStream:
    """A connection to a JetStream that checks the expected sequence first, and then finds no space."""

    max_body_bytes = 1_000_000

    async def publish_all(self, messages: list[Message]) -> None: ...

    async def request(self, message: Message) -> bytes:
        if message.headers["Nats-Expected-Last-Sequence"] != "0":
            return json.dumps({"error": {"err_code": 10071, "description": "wrong last sequence: 0"}}).encode()
        return json.dumps({"error": {"err_code": 10077, "description": "maximum bytes exceeded"}}).encode()


def test_the_reason_why_a_group_is_not_stored_is_reported() -> None:
    """The answer to the last message of a group does not tell it."""
    connection: Any = FullStream()
    broker: Any = None
    publisher = StreamPublisher(connection, broker, "pbx1", Nats(), "a", lambda: True, NOTHING_STORED)
    for problem in ("", "cannot store events in NATS: maximum bytes exceeded (code 10077)"):
        publisher._writer.start(NOTHING_STORED)
        group = publisher._writer.group(page(1, 3, [body(1, number) for number in (1, 2, 3)]), 0.0)
        assert not asyncio.run(publisher._store(group))
        assert publisher.problem == problem
