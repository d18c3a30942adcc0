"""`python -m tests.languages.vectors`: writes clients/vectors.json from what a running daemon says, so that it cannot drift.

The daemon stands before the simulated PBX. What differs from run to run (ActionIDs, times, epochs, directories) is replaced by
fixed values and encoded again; that encoding anew gives the daemon's own bytes is checked first, on each message.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import zmq

from amid import wire
from amid.events.sequence import Gaps
from tests.daemon import Daemon, eventually
from tests.languages.harness import ROOT
from tests.languages.notation import shown
from tests.languages.python import told
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
        messages = [*_replies(made, steady), *_events(made, steady)]
        gaps = list(_gap_cases(made.daemon, steady))
    return {
        "about": 'Made by tests/languages/vectors.py from a running daemon. A MessagePack bin is {"$bin": "HEX"}.',
        "requests": [{"what": what, "params": shown(params)} for what, params in REQUESTS.items()],
        "messages": messages,
        "gaps": shown(gaps),
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


# ── gaps ──

ACTS = {
    "U": ("UserEvent", {"UserEvent": "Vector"}),
    "V": ("Setvar", {"Variable": "VECTOR", "Value": "1"}),
    "R": ("Reload", {}),
}
"""Actions, each with one event."""
SERVER = "forgetful"
"""Its reader asks for few classes of events, so that nothing comes in between."""
U, V, R = "UserEvent", "VarSet", "Reload"


class _Epoch:
    """What a reader published in one epoch: `event(n)` is number n, `tick(n)` the tick behind number n."""

    def __init__(self, daemon: Daemon, steady: _Steady) -> None:
        old = daemon.server(SERVER)["epoch"]
        daemon.result("restart", {"server": SERVER})
        eventually(lambda: daemon.server(SERVER)["epoch"] > old, "a new epoch has begun")
        epoch = daemon.wait_up(SERVER)["epoch"]
        for name in "UVURUVVR":
            action, fields = ACTS[name]
            daemon.action(action, fields, server=SERVER)
        replayed = daemon.result("replay", {"server": SERVER, "epoch": epoch, "after": 0})
        self._events = [_bare(steady.of(body)) for body in replayed["events"]]
        assert [body["event"] for body in self._events] == ["amid:connected", "FullyBooted", U, V, U, R, U, V, V, R]
        assert self.tick(10) == _bare(steady.of(_last_tick(daemon)))

    def event(self, seq: int) -> Body:
        return self._events[seq - 1]

    def tick(self, seq: int) -> Body:
        """As the daemon makes them: it was held to the one that really came."""
        counts = Counter(body["event"] for body in self._events[:seq])
        return {**self._events[0], "seq": seq, "nth": 0, "event": wire.TICK, "counts": dict(counts)}


def _last_tick(daemon: Daemon) -> Body:
    with daemon.socket(zmq.SUB) as stream:
        stream.connect(daemon.server(SERVER)["stream"])
        stream.subscribe(f"tick.{SERVER}.")
        body: Body = wire.unpack(_until(stream, lambda body: body["seq"] == 10))[0]
        return body


def _bare(body: Body) -> Body:
    """Less what the gap rule does not look at."""
    names = ("server", "epoch", "seq", "nth", "event", "counts")
    return {name: body[name] for name in names if name in body}


def _gap_cases(daemon: Daemon, steady: _Steady) -> Iterator[Body]:
    for what, names, messages in _cases(_Epoch(daemon, steady), _Epoch(daemon, steady)):
        rule = Gaps(None if names is None else frozenset(names))
        yield {"what": what, "names": names, "messages": messages, "told": [told(rule, message) for message in messages]}


def _cases(one: _Epoch, two: _Epoch) -> Iterator[tuple[str, list[str] | None, list[Body]]]:

    def e(number: int) -> Body:
        return one.event(number + 1)

    def t(number: int) -> Body:
        return one.tick(number + 1)

    other = [{**body, "server": "pbx2"} for body in (t(1), e(2), e(6))]
    yield "nothing is lost", None, [t(1), *map(e, range(2, 10)), t(9)]
    yield "the first message is an event", None, [e(4), e(5), e(6)]
    yield "two are lost", None, [t(1), e(2), e(5), e(6)]
    yield "the last ones are lost, and a tick shows it", None, [t(1), e(2), t(2), t(4), e(5)]
    yield "a message that was seen already comes again", None, [t(1), e(2), e(3), e(2), e(3), t(2), e(4)]
    yield "everything but the ticks is lost", None, [t(0), t(3), t(9)]
    yield "a new epoch from its beginning", None, [t(1), e(2), *map(two.event, (1, 2, 3))]
    yield "a new epoch, the first ones of which are lost", None, [t(1), e(2), two.event(4), two.event(5)]
    yield "a new epoch that begins with a tick", None, [t(1), e(2), two.tick(0), two.event(1)]
    yield "a new epoch of which a tick shows that some are lost", None, [t(1), two.tick(3), two.event(4)]
    yield "two servers have nothing to do with each other", None, [t(1), other[0], e(2), other[1], e(3), other[2], e(4)]
    yield "one name: the others are no loss", [U], [t(1), e(2), e(4), e(6), t(9)]
    yield "one name: one is lost, and the next shows it", [U], [t(1), e(2), e(6)]
    yield "one name: one is lost, and a tick shows it", [U], [t(1), e(2), t(5), e(6)]
    yield "one name: its count is not known before a tick", [U], [e(4), e(6), t(9)]
    yield "one name that the tick does not count has had none", [R], [t(1), e(9)]
    yield "one name: nothing of it came in this epoch", ["Hangup"], [t(1), t(9)]
    yield "two names: of one a message is lost, of the other none", [V, U], [t(1), e(2), e(4), e(6), e(7), t(9)]
    yield "two names: an earlier one of the other name was fetched since", [V, U], [t(1), e(2), e(4), e(3), e(6)]
    yield "one name: a new epoch counts from the beginning", [U], [t(1), e(2), two.event(5), two.event(7)]
    yield "one name: a new epoch that begins with a tick", [U], [t(1), e(2), two.tick(5), two.event(7)]


def written() -> str:
    """The file's text."""
    return json.dumps(vectors(), indent=1) + "\n"


def main() -> None:
    FILE.write_text(written())


if __name__ == "__main__":
    main()
