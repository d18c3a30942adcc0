"""What every client must do, a trial for each column of the table in clients/README.md.

A trial takes the world and the harnesses of all languages, and tries them side by side where the fault is one for all: a broker is
killed once, a flood comes once. It gives what went wrong with each language that it went wrong with.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from amid import wire
from tests.daemon import eventually
from tests.languages.harness import BOUND_S, ROOT, Harness
from tests.languages.notation import meant, shown
from tests.languages.side_by_side import Harnesses, all_do, each
from tests.languages.world import World, flood, hang_up, slow
from tests.processes.caller import Caller

FLOOD = 24_000
"""Events that come while a client reads nothing: more than one answer has, and less than the reader holds."""
CALLS = 1000
PATIENCE_S = 3.0
"""The timeout of a call whose broker dies; a client waits a second more."""
SOON_S = 15.0
"""Seconds in which events come again after the broker's death. A client notices it 6 s after its last request at the latest."""
ENOUGH = 100
"""Events after which a stream of the trial "reader killed" ends: more than come by themselves."""

Trial = Callable[[World, Harnesses], dict[str, str]]
VECTORS = ROOT / "clients" / "vectors.json"


# ── the vectors ──


def vectors(world: World, harnesses: Harnesses) -> dict[str, str]:
    """Every message of clients/vectors.json is read right, and every request packed right."""
    known = json.loads(VECTORS.read_text())

    def check(harness: Harness) -> None:
        for message in known["messages"]:
            value = harness.ask("decode", hex=message["hex"])["value"]
            assert value == meant(message["value"]), f"{message['what']}: {shown(value)}"
        for request in known["requests"]:
            packed = harness.ask("encode", value=meant(request["params"]))["hex"]
            assert wire.unpack(bytes.fromhex(packed)) == meant(request["params"]), f"{request['what']}: {packed}"

    return each(harnesses, check)


# ── calls ──


def methods(world: World, harnesses: Harnesses) -> dict[str, str]:
    """Every method of the contract."""

    def check(harness: Harness) -> None:
        pong = harness.result("action", action="Ping", server="pbx1", fields={"ActionID": harness.language})
        assert pong["response"]["Ping"] == "Pong" and pong["response"]["ActionID"] == harness.language
        channels = harness.result("action", action="CoreShowChannels", server="pbx1", timeout=2.5)
        assert channels["complete"]["EventList"] == "Complete", channels
        # Another language's call, below, may be there for a moment.
        assert all(item["Event"] == "CoreShowChannel" for item in channels["events"]), channels
        command = harness.result("action", action="Command", server="pbx1", fields={"Command": "core show version"})
        assert command["output"][0].startswith("Asterisk")
        fields = {"Channel": "Local/answer@calls/n", "Application": "Hangup", "Async": True}
        made = harness.result("action", action="Originate", server="pbx1", fields=fields, until="OriginateResponse", timeout=10)
        assert made["until"]["Event"] == "OriginateResponse"
        assert [server["name"] for server in harness.result("servers")] == list(world.daemon.servers)
        status = harness.result("status")
        assert {process["name"] for process in status["processes"]} >= {"broker", "reader pbx1"}
        assert {"Ping", "Originate"} <= {action["name"] for action in harness.result("actions", server="pbx1")}
        last = world.daemon.server("pbx1")
        after = {"epoch": last["epoch"], "seq": last["seq"] - 1}
        page = harness.result("events", server="pbx1", after=after, limit=1, timeout=0)
        assert [event["seq"] for event in page["events"]] == [last["seq"]], page
        assert (page["seq"], page["missed"]) == (last["seq"], 0), page
        page = harness.result("events", server="pbx1", names=["Nothing"], timeout=0.1)
        assert (page["epoch"], page["events"], page["more"]) == (last["epoch"], [], False), page
        trail = harness.result("audit", limit=2)
        assert trail.keys() == {"records", "seq", "left_out"}, trail
        assert harness.result("ping") == {}
        assert harness.result("restart", server="spare") == {"server": "spare"}

    return each(harnesses, check)


ERRORS: dict[str, tuple[bool, str, dict[str, Any]]] = {
    "parse_error": (False, "action", {"action": "Ping", "server": "pbx1", "fields": {"X": eval("[" * 40 + "]" * 40)}}),
    "invalid_request": (False, "action", {"action": "Ping", "server": "pbx1", "fields": {"X": "x" * 1_100_000}}),
    "unknown_method": (False, "nonsense", {}),
    "invalid_params": (False, "action", {"action": "Ping", "server": "pbx1", "fields": {"X": "a\r\nb"}}),
    "action_failed": (True, "action", {"action": "Hangup", "server": "pbx1", "fields": {"Channel": "nobody"}}),
    "timeout": (True, "action", slow("pbx1", 1, timeout=0.3)),
    "not_connected": (False, "action", {"action": "Ping", "server": "away"}),
    "busy": (False, "action", {"action": "Ping", "server": "narrow"}),
    "denied": (False, "action", {"action": "ModuleLoad", "server": "pbx1", "fields": {"LoadType": "load"}}),
    "unknown_server": (False, "action", {"action": "Ping", "server": "nowhere"}),
    "too_large": (True, "action", {"action": "ListCommands", "server": "small"}),
}
"""`sent`, and what leads to it. `connection_lost`, `unreachable`, and a timeout in the queue are had below."""


def errors(world: World, harnesses: Harnesses) -> dict[str, str]:
    """Every kind of error that a client can be led to, and an honest `sent` with each."""

    def check(harness: Harness) -> None:
        for kind, (sent, method, params) in ERRORS.items():
            error = harness.error(method, **params)
            assert (error["kind"], error["sent"]) == (kind, sent), error
            assert error["message"], error
        assert harness.error("action", **ERRORS["action_failed"][2])["response"]["Response"] == "Error"
        assert harness.error("action", **ERRORS["denied"][2])["kind"] == "denied"
        assert harness.result("ping") == {}, "and it goes on"

    with _narrow_is_full(world):
        failed = each(harnesses, check)
    return failed | _connection_lost(world, harnesses) | _unreachable(world, list(harnesses))


def _shows_one(world: World, fact: str) -> bool:
    view = world.daemon.server("narrow")
    return bool({**view["lanes"], **view}[fact] == 1)


@contextmanager
def _narrow_is_full(world: World) -> Iterator[None]:
    """Its lane is taken, and so is its queue."""
    with Caller(world.daemon) as caller:
        for fact in ("busy", "queued"):
            caller.send("action", slow("narrow", 60, timeout=60))
            eventually(partial(_shows_one, world, fact), fact)
        yield
    world.daemon.result("restart", {"server": "narrow"})
    hang_up(world)


def _connection_lost(world: World, harnesses: Harnesses) -> dict[str, str]:
    lost, alive = all_do(harnesses, lambda one: one.say("call", method="action", params=slow("small", 30, timeout=30)))
    eventually(lambda: world.daemon.server("small")["lanes"]["busy"] == len(alive), "all wait")
    world.daemon.result("restart", {"server": "small"})

    def check(harness: Harness) -> None:
        error = harness.hear()["error"]
        assert (error["kind"], error["sent"]) == ("connection_lost", True), error

    lost |= each(alive, check)
    hang_up(world)
    return lost


def _unreachable(world: World, languages: list[str]) -> dict[str, str]:
    """Without a daemon a client says so, at once or soon."""
    failed: dict[str, str] = {}
    for run_dir in (world.empty, world.dead):
        with ExitStack() as stack:
            harnesses = {language: stack.enter_context(Harness(language, run_dir)) for language in languages}
            failed |= each(harnesses, _is_unreachable)
    return failed


def _is_unreachable(harness: Harness) -> None:
    error = harness.error("ping")
    assert (error["kind"], error["sent"]) == ("unreachable", False), error


def calls(world: World, harnesses: Harnesses) -> dict[str, str]:
    """A thousand calls, ten at a time: each gets its own answer."""
    failed: dict[str, str] = {}
    for language, harness in harnesses.items():
        failed |= each({language: harness}, lambda first: _many_calls(world, first))
    return failed


def _many_calls(world: World, first: Harness) -> None:
    """Of a client that has one call open at a time, ten processes."""
    alone = first.ask("calls", count=CALLS // 10, at_once=10)
    assert alone["right"] == CALLS // 10, alone
    processes = 9 if alone["at_once"] == 1 else 1
    count = CALLS // 10 if processes > 1 else CALLS * 9 // 10

    def check(harness: Harness) -> None:
        answer = harness.ask("calls", count=count, at_once=10)
        assert answer["right"] == count and answer["wrong"] == 0, answer

    with ExitStack() as stack:
        others = {str(n): stack.enter_context(Harness(first.language, world.daemon.run_dir)) for n in range(processes)}
        failed = each(others, check)
    assert not failed, "; ".join(failed.values())


# ── what dies ──


def broker(world: World, harnesses: Harnesses) -> dict[str, str]:
    """The broker is killed while each has a call open: each says so in time, never sends it again, and goes on."""
    asked = time.monotonic()
    failed, alive = all_do(harnesses, lambda one: one.say("call", method="action", params=slow("pbx1", 30, timeout=PATIENCE_S)))
    eventually(lambda: world.daemon.result("status")["counters"]["open_calls"] >= len(alive), "all calls are open")
    pid = world.daemon.signal("broker", signal.SIGKILL)
    killed = time.monotonic()

    def check(harness: Harness) -> None:
        error = harness.hear()["error"]
        now = time.monotonic()
        assert (error["kind"], error["sent"]) == ("timeout", True), error
        assert asked + PATIENCE_S < now < killed + PATIENCE_S + 3, f"{now - asked:.1f} s after the call"
        eventually(lambda: harness.result("ping") == {}, "it goes on")

    failed |= each(alive, check)
    eventually(lambda: world.daemon.pid("broker") not in (0, pid), "it was replaced")
    hang_up(world)
    return failed | _requests_for_events_lost(world, alive)


def _requests_for_events_lost(world: World, harnesses: Harnesses) -> dict[str, str]:
    """The broker is killed while it has each one's request for events: the next event is given soon, not after the 25 s that a
    request waits by default."""
    failed, alive = all_do(harnesses, lambda one: one.listen(["UserEvent"], 1, SOON_S))
    eventually(lambda: world.daemon.result("status")["counters"]["open_calls"] >= len(alive), "all wait for events")
    _replace_broker(world)
    eventually(lambda: _mark(world, "found"), "the new broker has the reader")

    def check(harness: Harness) -> None:
        items = list(harness.items())
        assert [_token(item) for item in items[:-1]] == ["found"], items

    return failed | each(alive, check)


def _replace_broker(world: World) -> None:
    pid = world.daemon.signal("broker", signal.SIGKILL)
    eventually(lambda: world.daemon.pid("broker") not in (0, pid), "it was replaced")


def reader(world: World, harnesses: Harnesses) -> dict[str, str]:
    """The reader is killed while each takes its events: the epoch's end shows, and the new one's events come from the first on."""
    before: dict[str, list[dict[str, Any]]] = {}

    def listen(harness: Harness) -> None:
        harness.listen(None, ENOUGH, BOUND_S / 2)
        _mark(world, f"before {harness.language}")
        before[harness.language] = until(harness, f"before {harness.language}")

    failed, alive = all_do(harnesses, listen)
    old = world.daemon.server("pbx1")["epoch"]
    world.daemon.signal("reader pbx1", signal.SIGKILL)
    eventually(lambda: world.daemon.server("pbx1")["epoch"] > old, "a new epoch has begun")
    world.daemon.wait_up("pbx1")
    flood(world.pbx, ENOUGH)

    def check(harness: Harness) -> None:
        items = [*before[harness.language], *harness.items()]
        assert sum("event" in item for item in items) == ENOUGH, items[-5:]
        ends = [item["gap"] for item in items if "gap" in item]
        assert [(gap["epoch"], gap["missed"]) for gap in ends] == [(old, None)], ends
        later = [event["seq"] for event in (item["event"] for item in items if "event" in item) if event["epoch"] != old]
        assert later == list(range(1, len(later) + 1)), f"the new epoch's numbers: {later}"

    return failed | each(alive, check)


def until(harness: Harness, token: str) -> list[dict[str, Any]]:
    """The items up to the mark with this token. A stream that ends before it fails at once: no line would follow."""
    items = []
    for item in harness.items():
        items.append(item)
        if _token(item) == token:
            return items
    raise AssertionError(f"the events ended before the mark {token!r}: {items[-5:]}")


def _token(item: dict[str, Any]) -> str:
    """What a mark says; "" for everything else."""
    return str(item.get("event", {}).get("fields", {}).get("Token", ""))


def _mark(world: World, token: str) -> bool:
    """Makes an event with this token. True, so that it can be tried until it succeeds."""
    world.daemon.action("UserEvent", {"UserEvent": "Mark", "Token": token}, server="pbx1")
    return True


# ── what is lost ──


def away(world: World, harnesses: Harnesses) -> dict[str, str]:
    """Each reads nothing while 24,000 events come; it gets every one, once and in order."""
    return _flooded(world, harnesses, "pbx1", lambda: None)


def minute(world: World, harnesses: Harnesses) -> dict[str, str]:
    """The same, and the broker that had each one's request is killed meanwhile: what being away for a minute does, in less time."""

    return _flooded(world, harnesses, "pbx1", lambda: _replace_broker(world))


def _flooded(world: World, harnesses: Harnesses, server: str, meanwhile: Callable[[], None]) -> dict[str, str]:

    def check(harness: Harness) -> None:
        *items, end = harness.items()
        tokens = [int(item["event"]["fields"]["Token"]) for item in items if "event" in item]
        assert tokens == list(range(1, FLOOD + 1)), f"{len(tokens)} events; gaps: {[i for i in items if 'gap' in i]}; {end}"
        assert len(items) == FLOOD and end["missed"] == 0, end

    failed, listening = all_do(harnesses, lambda harness: harness.listen(["UserEvent"], FLOOD, 40.0, server))
    return failed | _stopped(world, listening, server, meanwhile, check)


def gap(world: World, harnesses: Harnesses) -> dict[str, str]:
    """The same where little is held: the numbers of the events and the sizes of the gaps account for each."""

    def check(harness: Harness) -> None:
        *items, end = harness.items()
        number = None
        for item in items:
            first = item["event"]["seq"] if "event" in item else item["gap"]["after"] + 1
            assert number in (None, first), f"{item} where {number} was due"
            number = first + item.get("gap", {}).get("missed", 1)
        tokens = [int(_token(item)) for item in items if _token(item)]
        missed = sum(item["gap"]["missed"] for item in items if "gap" in item)
        assert (len(tokens) + missed, tokens[-1]) == (FLOOD, FLOOD), f"{len(tokens)} came, {missed} are missing"
        assert end["missed"] == missed > 0, end

    failed, listening = all_do(harnesses, lambda harness: harness.listen(None, FLOOD, 25.0, "forgetful"))
    return failed | _stopped(world, listening, "forgetful", lambda: None, check)


def _stopped(
    world: World, listening: Harnesses, server: str, meanwhile: Callable[[], None], check: Callable[[Harness], None]
) -> dict[str, str]:
    """All are stopped while `FLOOD` events come, and go on when the reader has them."""
    before = world.daemon.server(server)["seq"]
    died, stopped = all_do(listening, Harness.stop)
    meanwhile()
    flood(world.pbx, FLOOD)
    eventually(lambda: world.daemon.server(server)["seq"] >= before + FLOOD, "all were read")
    for harness in stopped.values():
        harness.go()
    return died | each(stopped, check)


def odd_bytes(world: World, harnesses: Harnesses) -> dict[str, str]:
    """UTF-8 and Latin-1, in values and in a header's name, go through Asterisk and come back as they were."""

    def check(harness: Harness) -> None:
        harness.listen(["UserEvent"], 1, 5.0)
        with Harness(harness.language, world.daemon.run_dir) as other:
            fields = {"UserEvent": "Odd", "Utf8": "Grüße, 電話 📞", "Latin1": b"Gr\xfc\xdfe", b"H\xf6he": ["1", "2"]}
            other.result("action", action="UserEvent", server="pbx1", fields=fields)
            value = b"f\xfcr 5 \xa3"
            other.result("action", action="Setvar", server="pbx1", fields={"Variable": "ODD", "Value": value})
            got = other.result("action", action="Getvar", server="pbx1", fields={"Variable": "ODD"})
            assert got["response"]["Value"] == value, got
        *items, _ = harness.items()
        assert [{name: item["event"]["fields"].get(name) for name in fields} for item in items] == [fields], items

    failed: dict[str, str] = {}
    for language, harness in harnesses.items():
        failed |= each({language: harness}, check)
    return failed


# ── the live state ──


def state(world: World, harnesses: Harnesses) -> dict[str, str]:
    """The channels of a call, and the error for a kind that does not exist."""
    _ring(world)
    listed = {item["Uniqueid"] for item in world.daemon.action("CoreShowChannels", server="pbx1")["events"]}

    def check(harness: Harness) -> None:
        found = harness.result("state", server="pbx1", kinds=["channels"])
        assert {channel["id"] for channel in found["channels"]} == listed, found
        assert found["exact"] and found["epoch"] == world.daemon.server("pbx1")["epoch"], found
        none = harness.result("state", server="pbx1", kinds=["channels"], where="name=nobody")
        assert none["channels"] == [], none
        for error in (
            harness.error("state", server="pbx1", kinds=["nonsense"]),
            harness.ask("changes", server="pbx1", kinds=["nonsense"], resets=1, timeout=5)["error"],
        ):
            assert (error["kind"], error["sent"]) == ("invalid_params", False), error
            assert "channels" in error["message"], error

    failed = each(harnesses, check)
    hang_up(world)
    return failed


def _ring(world: World) -> None:
    """A call that rings until it is hung up; it has two channels."""
    fields = {**slow("pbx1", 120, timeout=5)["fields"], "Async": True}
    world.daemon.action("Originate", fields, server="pbx1")
    eventually(lambda: len(world.daemon.action("CoreShowChannels", server="pbx1")["events"]) == 2, "both channels exist")


def changes(world: World, harnesses: Harnesses) -> dict[str, str]:
    """A call from its first channel to its last; then the state process is killed: the loss shows, with the whole state."""
    failed, alive = all_do(harnesses, _follow)
    _ring(world)
    hang_up(world)
    wrong, alive = all_do(alive, _sees_a_call)
    pid = world.daemon.signal("state", signal.SIGKILL)
    eventually(lambda: world.daemon.pid("state") not in (0, pid), "it was replaced")

    def check(harness: Harness) -> None:
        assert _reset(harness)["channels"] == []
        end = harness.hear()
        assert end == {"end": True}, end

    return failed | wrong | each(alive, check)


def _follow(harness: Harness) -> None:
    harness.say("changes", server="pbx1", kinds=["channels"], resets=2, timeout=BOUND_S / 2)
    assert _reset(harness)["channels"] == []


def _reset(harness: Harness) -> dict[str, Any]:
    """The state in a line that must have the whole state."""
    line = harness.hear()
    assert line.get("change", {}).get("kind") == "reset", line
    state: dict[str, Any] = line["change"]["state"]
    return state


def _sees_a_call(harness: Harness) -> None:
    """Changes that add up to two channels, and then to none."""
    known: dict[str, dict[str, Any]] = {}
    names: set[str] = set()
    while len(names) < 2 or known:
        change = harness.hear()["change"]
        assert (change["server"], change["kind"]) == ("pbx1", "channel"), change
        if change.get("gone"):
            del known[change["id"]]
        else:
            known.setdefault(change["id"], {}).update(change["set"])
            names.add(known[change["id"]]["name"])


TRIALS: dict[str, Trial] = {
    "vectors": vectors,
    "every method": methods,
    "every error": errors,
    "1,000 calls, ten at a time": calls,
    "broker killed": broker,
    "reader killed": reader,
    "away": away,
    "a minute away, then catches up": minute,
    "a gap": gap,
    "UTF-8 and Latin-1": odd_bytes,
    "state": state,
    "changes of state": changes,
}
"""By the heading of its column."""
