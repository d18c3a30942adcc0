"""`python -m tests.languages.vectors`: generates clients/vectors.json from the messages of a
running daemon.

The daemon is in front of the simulated PBX. Values that differ from run to run (ActionIDs, times,
epochs, directories) are replaced by fixed ones and encoded again; for each message it is first
checked that encoding again gives the daemon's own bytes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import zmq

from amid import wire
from tests.daemon import Daemon
from tests.languages.harness import ROOT
from tests.languages.notation import shown
from tests.languages.world import World, world

FILE = ROOT / "clients" / "vectors.json"
EPOCH = 1_795_388_037_261
TIME = 1_795_388_072.85
Body = dict[str, Any]

REQUESTS: dict[str, Any] = {
    "an action without fields": {"action": "Ping"},
    "every kind of value": {
        "action": "UserEvent",
        "fields": {"UserEvent": "V", "Text": "Grüße, 電話, 📞", "Odd": b"Gr\xfc\xdfe", "Number": 42, "True": True, "Empty": ""},
    },
    "a header that is repeated": {"action": "UserEvent", "fields": {"UserEvent": "Vector", "Variable": ["A=1", "B=2", b"C=\xff"]}},
    "a header whose name is not UTF-8": {"action": "UserEvent", "fields": {"UserEvent": "Vector", b"H\xf6he": "3 m"}},
    "an ActionID of one's own": {"action": "CoreShowChannels", "fields": {"ActionID": "mine-1"}, "timeout": 2.5},
    "text that reads like a number": {"action": "UserEvent", "fields": {"UserEvent": "Vector", "Number": "0042"}},
    "a Command": {"action": "Command", "fields": {"Command": "core show version"}},
    "an action that fails": {"action": "Hangup", "fields": {"Channel": "nobody"}},
    "an action that is not allowed": {"action": "ModuleLoad"},
    "an injected line": {"action": "Ping", "fields": {"X": "a\r\nAction: Logoff"}},
    "a server that is not known": {"action": "Ping", "server": "nowhere"},
    "a server that is away": {"action": "Ping", "server": "away"},
    "an answer that is too large": {"action": "ListCommands", "server": "small"},
}
"""Params of `action`; `server` is pbx1 where none is named."""


def vectors() -> dict[str, Any]:
    """What the file has."""
    with world("simulated") as made:
        steady = _Steady(made.daemon)
        messages = [*_replies(made, steady), *_events(made, steady), *_pages(made, steady)]
    return {
        "about": 'Made by tests/languages/vectors.py from a running daemon. A MessagePack bin is {"$bin": "HEX"}.',
        "requests": [{"what": what, "params": shown(params)} for what, params in REQUESTS.items()],
        "messages": messages,
    }


# ── what differs from run to run ──


class _Steady:
    """Puts fixed values in the place of those that differ from run to run."""

    def __init__(self, daemon: Daemon) -> None:
        self._run_dir = str(daemon.run_dir)
        self._epochs: dict[int, int] = {}

    def message(self, what: str, body: bytes) -> Body:
        value = wire.unpack(body)
        assert wire.pack(value) == body, f"{what}: another encoding than the daemon's"
        fixed = self.of(value)
        return {"what": what, "hex": wire.pack(fixed).hex(), "value": shown(fixed)}

    def of(self, value: Any, name: object = None) -> Any:
        if isinstance(value, dict):
            return {key: self.of(one, key) for key, one in value.items()}
        if isinstance(value, list):
            return [self.of(one, name) for one in value]
        if name == "epoch" and value:
            return self._epochs.setdefault(value, EPOCH + 5000 * len(self._epochs))
        if name in ("time", "since"):
            return TIME
        if name == "elapsed":
            return 0.00125
        if name in ("action_id", "ActionID") and str(value).startswith("amid-"):
            return "amid-0123456789abcdef0123456789abcdef"
        if name == "Timestamp":
            return "1795388072.850000"
        if name in ("Uptime", "LastReload"):
            return "42"
        return value.replace(self._run_dir, "/run/amid") if isinstance(value, str) else value


# ── messages ──


def _replies(made: World, steady: _Steady) -> Iterator[Body]:
    with made.daemon.socket(zmq.REQ) as caller:
        caller.connect(made.daemon.rpc)
        for number, (what, params) in enumerate(REQUESTS.items(), 1):
            caller.send(wire.pack({"id": number, "method": "action", "params": {"server": "pbx1", **params}}))
            yield steady.message(f"the reply: {what}", caller.recv())
        caller.send(wire.pack({"id": "text", "method": "nonsense"}))
        yield steady.message("the reply: a method that is not known, and an id that is text", caller.recv())
        caller.send(wire.pack({"method": "ping"}))
        yield steady.message("the reply: no id", caller.recv())


def _events(made: World, steady: _Steady) -> Iterator[Body]:
    """One message of each kind, as a subscriber gets them."""
    daemon = made.daemon
    with daemon.socket(zmq.SUB) as events:
        events.connect(daemon.server("forgetful")["events"])
        for topic in ("event.forgetful.UserEvent.", "tick.forgetful."):
            events.subscribe(topic)
        yield steady.message("a tick before any event of this name", _until(events, lambda body: body["event"] == wire.TICK))
        for what, params in REQUESTS.items():
            if params["action"] == "UserEvent":
                daemon.action("UserEvent", params["fields"], server="pbx1") if _in_json(params) else _send(daemon, params)
                yield steady.message(f"the event: {what}", _until(events, lambda body: body["event"] == "UserEvent"))


def _pages(made: World, steady: _Steady) -> Iterator[Body]:
    """Answers of the method `events`."""
    now = made.daemon.server("forgetful")["epoch"]
    asked = {
        "from now on": None,
        "all events of an epoch": {"epoch": now, "seq": 0},
        "an epoch has ended": {"epoch": 1, "seq": 7},
    }
    with made.daemon.socket(zmq.REQ) as caller:
        caller.connect(made.daemon.rpc)
        for what, after in asked.items():
            params = {"server": "forgetful", "after": after, "timeout": 0}
            caller.send(wire.pack({"id": 1, "method": "events", "params": params}))
            yield steady.message(f"the reply: events: {what}", caller.recv())


def _in_json(params: Any) -> bool:
    return "$bin" not in json.dumps(shown(params))


def _send(daemon: Daemon, params: Any) -> None:
    with daemon.socket(zmq.REQ) as caller:
        caller.connect(daemon.rpc)
        caller.send(wire.pack({"id": 1, "method": "action", "params": {"server": "pbx1", **params}}))
        assert "result" in wire.unpack(caller.recv())


def _until(socket: zmq.Socket[bytes], wanted: Callable[[Body], bool]) -> bytes:
    """The next message whose first event is wanted."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if socket.poll(1000):
            body = socket.recv_multipart()[1]
            if wanted(wire.unpack(body)[0]):
                return body
    raise AssertionError("it did not come")


# ── the file ──


def written() -> str:
    """The file's text."""
    return json.dumps(vectors(), indent=1) + "\n"


def main() -> None:
    FILE.write_text(written())


if __name__ == "__main__":
    main()
