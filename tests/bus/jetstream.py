"""Models for tests of the pure modules: a JetStream stream with its last sequence, message ids and
expectations, and a daemon with a bounded replay buffer."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import msgspec

from amid.bus.protocol.checkpoint import Checkpoint, parse_position
from amid.bus.protocol.messages import Group, Message, Page


class Stored(NamedTuple):
    sequence: int
    message: Message

    @property
    def event(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.message.body)
        return found


class Stream:
    def __init__(self) -> None:
        self.messages: list[Stored] = []
        self.last_sequence = 0
        self.last_id = ""

    def store(self, message: Message) -> bytes:
        """JetStream's answer (nats-server, server/stream.go, processJetStreamMsg): ids first, then
        the expectation."""
        known = {one.message.headers["Nats-Msg-Id"]: one.sequence for one in self.messages}
        sequence = known.get(message.headers["Nats-Msg-Id"])
        if sequence is not None:
            return json.dumps({"stream": "AMID_pbx1", "seq": sequence, "duplicate": True}).encode()
        if int(message.headers["Nats-Expected-Last-Sequence"]) != self.last_sequence:
            error = {"code": 400, "err_code": 10071, "description": f"wrong last sequence: {self.last_sequence}"}
            return json.dumps({"error": error}).encode()
        if message.headers.get("Nats-Expected-Last-Msg-Id", self.last_id) != self.last_id:
            error = {"code": 400, "err_code": 10070, "description": f"wrong last msg ID: {self.last_id}"}
            return json.dumps({"error": error}).encode()
        self.last_id = message.headers["Nats-Msg-Id"]
        self.last_sequence += 1
        self.messages.append(Stored(self.last_sequence, message))
        return json.dumps({"stream": "AMID_pbx1", "seq": self.last_sequence}).encode()

    def store_all(self, group: Group, lost: frozenset[int] = frozenset()) -> bytes | None:
        """The answer to the last message. lost: indices of messages that never arrive."""
        answers = [self.store(message) if index not in lost else None for index, message in enumerate(group.messages)]
        return answers[-1] if answers else None

    def lose_tail(self, count: int) -> None:
        """Lose acknowledged messages, as in a power cut."""
        del self.messages[max(0, len(self.messages) - count) :]
        self.last_sequence = self.messages[-1].sequence if self.messages else 0
        self.last_id = ""

    @property
    def checkpoint(self) -> Checkpoint:
        if not self.messages:
            return Checkpoint(self.last_sequence, None)
        last = self.messages[-1].message
        return Checkpoint(self.last_sequence, parse_position(last.headers, last.body))


class Daemon:
    """Events by epoch. The last `held` of them can be pulled."""

    def __init__(self, held: int = 1000, first_epoch: int = 100) -> None:
        self.epochs: dict[int, list[str]] = {first_epoch: []}
        self.epoch = first_epoch
        self.held = held

    def add(self, *names: str) -> None:
        self.epochs[self.epoch] += names

    def reconnect(self, epoch: int | None = None) -> None:
        self.epoch = self.epoch + 1 if epoch is None else epoch
        self.epochs[self.epoch] = []

    def pull(self, after: dict[str, int] | None, limit: int = 5) -> Page:
        """The immediate answer of the method `events` (clients/README.md)."""
        if after is None:
            return page(self.epoch, len(self.epochs[self.epoch]), [])
        epoch, seq = after["epoch"], after["seq"]
        ring = [(e, number + 1, name) for e, names in self.epochs.items() for number, name in enumerate(names)][-self.held :]
        if epoch not in self.epochs or (epoch != self.epoch and not [one for one in ring if one[0] == epoch and one[1] > seq]):
            later = [e for e in dict.fromkeys([*(one[0] for one in ring), self.epoch]) if e > epoch]
            return page(later[0], 0, [], missed=None) if later else page(epoch, seq, [])
        mine = [one for one in ring if one[0] == epoch and one[1] > seq]
        if not mine:  # everything after the cursor was dropped, or there is nothing
            last = len(self.epochs[epoch])
            return page(epoch, last, [], missed=last - seq)
        missed = mine[0][1] - 1 - seq
        chosen = mine[:limit]
        return page(epoch, chosen[-1][1], [body(e, s, name) for e, s, name in chosen], missed=missed)


def body(epoch: int, seq: int, name: str = "Hangup", **fields: Any) -> dict[str, Any]:
    return {"server": "pbx1", "epoch": epoch, "seq": seq, "prev": 0, "time": 1.5, "event": name, "fields": fields}


def page(epoch: int, seq: int, events: list[dict[str, Any]], missed: int | None = 0, more: bool = False) -> Page:
    raw = [msgspec.Raw(msgspec.msgpack.encode(event)) for event in events]
    return Page("pbx1", epoch, seq, missed, more, raw)
