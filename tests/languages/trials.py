"""What every client must do, a trial for each column of the table in clients/README.md.

A trial takes the world and the harnesses of all languages, and tries them side by side where the fault is one for all: a broker is
killed once, a flood comes once. It gives what went wrong with each language that it went wrong with.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

from amid import wire
from tests.daemon import eventually
from tests.languages.harness import ROOT, Harness
from tests.languages.notation import meant, shown
from tests.languages.world import World, flood, hang_up, slow
from tests.processes.caller import Caller

FLOOD = 24_000
"""Events of a name that somebody who does not read does not get: under 20,000 are kept there, 1,000 here, a few in the kernel."""
CALLS = 1000
PATIENCE_S = 3.0
"""The timeout of a call whose broker dies; a client waits a second more."""

Harnesses = dict[str, Harness]
Trial = Callable[[World, Harnesses], dict[str, str]]
VECTORS = ROOT / "clients" / "vectors.json"


def each(harnesses: Harnesses, check: Callable[[Harness], None]) -> dict[str, str]:
    """The same for every language, side by side."""

    def reason(harness: Harness) -> str:
        try:
            check(harness)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return ""

    with ThreadPoolExecutor(max(1, len(harnesses))) as pool:
        reasons = dict(zip(harnesses, pool.map(reason, harnesses.values()), strict=True))
    return {language: why for language, why in reasons.items() if why}


def all_do(harnesses: Harnesses, step: Callable[[Harness], None]) -> tuple[dict[str, str], Harnesses]:
    """One step of a trial: what went wrong, and the harnesses that go on with the next one."""
    failed = each(harnesses, step)
    return failed, {language: harness for language, harness in harnesses.items() if language not in failed}


# ── the vectors ──


def vectors(world: World, harnesses: Harnesses) -> dict[str, str]:
    """Every message of clients/vectors.json is read right, every request packed right, every gap found."""
    known = json.loads(VECTORS.read_text())

    def check(harness: Harness) -> None:
        for message in known["messages"]:
            value = harness.ask("decode", hex=message["hex"])["value"]
            assert value == meant(message["value"]), f"{message['what']}: {shown(value)}"
        for request in known["requests"]:
            packed = harness.ask("encode", value=meant(request["params"]))["hex"]
            assert wire.unpack(bytes.fromhex(packed)) == meant(request["params"]), f"{request['what']}: {packed}"
        for case in known["gaps"]:
            told = harness.ask("gaps", names=case["names"], messages=case["messages"])["told"]
            assert told == case["told"], f"{case['what']}: {told}"

    return each(harnesses, check)


# ── calls ──


def methods(world: World, harnesses: Harnesses) -> dict[str, str]:
    """Every method of the contract."""

    def check(harness: Harness) -> None:
        pong = harness.result("action", action="Ping", server="pbx1", fields={"ActionID": harness.language})
        assert pong["response"]["Ping"] == "Pong" and pong["response"]["ActionID"] == harness.language
        settings = harness.result("action", action="CoreShowChannels", server="pbx1", timeout=2.5)
        assert settings["complete"]["EventList"] == "Complete" and settings["events"] == []
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
        page = harness.result("replay", server="pbx1", epoch=last["epoch"], after=last["seq"] - 1, limit=1)
        assert [event["seq"] for event in page["events"]] == [last["seq"]]
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
    "gone": (False, "replay", {"server": "pbx1", "epoch": 1, "after": 0, "limit": 10}),
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


@contextmanager
def _narrow_is_full(world: World) -> Iterator[None]:
    """Its lane is taken, and so is its queue."""
    with Caller(world.daemon) as caller:
        for fact in ("busy", "queued"):
            caller.send("action", slow("narrow", 60, timeout=60))
            eventually(lambda fact=fact: (view := world.daemon.server("narrow")) and (view["lanes"] | view)[fact] == 1, fact)
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
    failed = {}
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
    failed, alive = all_do(harnesses, lambda one: one.say("call", method="action", params=slow("pbx1", 30, timeout=PATIENCE_S)))
    eventually(lambda: world.daemon.result("status")["counters"]["open_calls"] >= len(alive), "all calls are open")
    pid = world.daemon.signal("broker", signal.SIGKILL)
    began = time.monotonic()

    def check(harness: Harness) -> None:
        error = harness.hear()["error"]
        took = time.monotonic() - began
        assert (error["kind"], error["sent"]) == ("timeout", True), error
        assert PATIENCE_S - 1 < took < PATIENCE_S + 3, f"after {took:.1f} s"
        assert harness.result("ping") == {}

    failed |= each(alive, check)
    eventually(lambda: world.daemon.pid("broker") not in (0, pid), "it was replaced")
    hang_up(world)
    return failed


def reader(world: World, harnesses: Harnesses) -> dict[str, str]:
    """The reader is killed while each takes its events: the epoch's end shows, and the new one's events come from the first on."""
    before: dict[str, list[dict[str, Any]]] = {language: [] for language in harnesses}

    def listen(harness: Harness) -> None:
        harness.listen(None, 100_000, 4.0)
        _mark(world, f"before {harness.language}")
        while not before[harness.language] or _token(before[harness.language][-1]) != f"before {harness.language}":
            before[harness.language].append(harness.hear())

    failed, alive = all_do(harnesses, listen)
    old = world.daemon.server("pbx1")["epoch"]
    world.daemon.signal("reader pbx1", signal.SIGKILL)
    eventually(lambda: world.daemon.server("pbx1")["epoch"] > old, "a new epoch has begun")
    world.daemon.wait_up("pbx1")
    _mark(world, "after")

    def check(harness: Harness) -> None:
        items = [*before[harness.language], *harness.items()]
        after = next(item["event"] for item in items if _token(item) == "after")
        ends = [item["gap"] for item in items if "gap" in item]
        assert [(gap["epoch"], gap["until"], gap["missed"]) for gap in ends] == [(old, None, None)], ends
        later = [item["event"]["seq"] for item in items if item.get("event", {}).get("epoch") == after["epoch"]]
        assert later == list(range(1, len(later) + 1)), f"the new epoch's numbers: {later}"

    return failed | each(alive, check)


def _token(item: dict[str, Any]) -> str:
    """What a mark says; "" for everything else."""
    return str(item.get("event", {}).get("fields", {}).get("Token", ""))


def _mark(world: World, token: str) -> None:
    world.daemon.action("UserEvent", {"UserEvent": "Mark", "Token": token}, server="pbx1")


# ── what is lost ──


def replay(world: World, harnesses: Harnesses) -> dict[str, str]:
    """Each reads nothing while more events come than are kept for it; it gets every one, once and in order."""

    def check(harness: Harness) -> None:
        *items, end = harness.items()
        tokens = [int(item["event"]["fields"]["Token"]) for item in items if "event" in item]
        assert tokens == list(range(1, FLOOD + 1)), f"{len(tokens)} events; gaps: {[i for i in items if 'gap' in i]}; {end}"
        assert end["missed"] == 0 and end["replayed"] > 0, end

    return _flooded(world, harnesses, "pbx1", 30.0, check)


def gap(world: World, harnesses: Harnesses) -> dict[str, str]:
    """The same where little is held: what comes comes in order, and each gap says exactly what is missing there."""

    def check(harness: Harness) -> None:
        *items, end = harness.items()
        expected = 1
        for item in items:
            if "gap" in item:
                assert item["gap"]["event"] == "UserEvent", item
                expected += item["gap"]["missed"]
            else:
                assert int(item["event"]["fields"]["Token"]) == expected, f"{item} where {expected} was due"
                expected += 1
        assert expected == FLOOD + 1, f"{expected - 1} of {FLOOD} are accounted for"
        missed = sum(item["gap"]["missed"] for item in items if "gap" in item)
        assert end["missed"] == missed > 0, end

    return _flooded(world, harnesses, "forgetful", 10.0, check)


def _flooded(world: World, harnesses: Harnesses, server: str, timeout: float, check: Callable[[Harness], None]) -> dict[str, str]:
    """timeout: seconds without an event that end an iterator; longer than the flood takes, for which it is stopped."""
    failed, listening = all_do(harnesses, lambda harness: harness.listen(["UserEvent"], FLOOD, timeout, server))
    before = world.daemon.server(server)["seq"]
    died, stopped = all_do(listening, Harness.stop)
    flood(world.pbx, FLOOD)
    eventually(lambda: world.daemon.server(server)["seq"] >= before + FLOOD, "all were published")
    for harness in stopped.values():
        harness.go()
    return failed | died | each(stopped, check)


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

    failed = {}
    for language, harness in harnesses.items():
        failed |= each({language: harness}, check)
    return failed


TRIALS: dict[str, Trial] = {
    "vectors": vectors,
    "every method": methods,
    "every error": errors,
    "1,000 calls, ten at a time": calls,
    "broker killed": broker,
    "reader killed": reader,
    "replay": replay,
    "a gap": gap,
    "UTF-8 and Latin-1": odd_bytes,
}
"""By the heading of its column."""
