"""The tables of etc/doc/freepbx.md: each class of manager.conf grants the listed actions, and all other
classes together do not. The sample user can run the README's first examples."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.asterisk.raw import Raw, call, request
from tests.asterisk.server import Asterisk
from tests.conftest import StartDaemon

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "etc/doc/freepbx.md").read_text()
SAMPLE = (ROOT / "etc/manager.conf.sample").read_text()
CLASSES = frozenset(
    re.findall(
        r"\w+",
        "system call log verbose agent user config command dtmf reporting cdr dialplan originate agi cc aoc test security message",
    )
)
"""All that manager.conf knows, without `all` (perms, main/manager.c)."""


def rows(heading: str) -> dict[str, set[str]]:
    """From the table that begins with `heading`: each action or event of its second column, and the classes of its third."""
    table = PAGE.partition(f"| {heading} |")[2].partition("\n\n")[0]
    cells = [[re.findall(r"`(\w+)`", cell) for cell in line.split("|")[-3:-1]] for line in table.splitlines()[2:]]
    return {name: set(classes) for names, classes in cells for name in names}


ACTIONS, EVENTS = rows("use"), rows("events")


def add(asterisk: Asterisk, users: dict[str, tuple[set[str] | frozenset[str], set[str] | frozenset[str]]]) -> None:
    """Users with these classes to read and to write."""
    file = asterisk.private / "etc/manager.conf"
    shown = [
        f"\n[{name}]\nsecret = {asterisk.secret}\nread = {','.join(read)}\nwrite = {','.join(write)}\n"
        for name, (read, write) in users.items()
    ]
    file.write_text(file.read_text() + "".join(shown))
    asterisk.command("manager reload")


def refused(asterisk: Asterisk, name: str, action: str) -> bool:
    with Raw(asterisk, username=name) as session:
        session.send(request(action))
        return session.packet().message == "Permission denied"


def test_each_action_needs_one_of_its_classes(own_asterisk: Callable[[], Asterisk]) -> None:
    asterisk = own_asterisk()
    alone = {f"only-{one}": (CLASSES, {one}) for one in CLASSES}
    others = {f"without-{action}": (CLASSES, CLASSES - classes) for action, classes in ACTIONS.items()}
    add(asterisk, {**alone, **others})
    assert len(ACTIONS) > 20
    for action, classes in ACTIONS.items():
        assert not [one for one in classes if refused(asterisk, f"only-{one}", action)], action
        assert refused(asterisk, f"without-{action}", action) is bool(classes), f"{action} with all but {classes}"


def test_each_event_needs_its_class(own_asterisk: Callable[[], Asterisk]) -> None:
    asterisk = own_asterisk()
    classes = {one for needed in EVENTS.values() for one in needed}
    add(asterisk, {f"only-{one}": ({one}, frozenset()) for one in classes})
    add(asterisk, {f"without-{one}": (CLASSES - {one}, frozenset()) for one in classes})
    with ExitStack() as stack:
        sessions = {name: stack.enter_context(Raw(asterisk, username=name, events="on")) for name in ("amid", *_names(classes))}
        made = stack.enter_context(Raw(asterisk))
        made.ask("PlayDTMF", Channel=call(made, "answer"), Digit="5")
        made.ask("QueuePause", Interface="Local/member@calls", Paused="true")
        made.ask("UserEvent", UserEvent="Privileges")
        made.ask("Originate", Channel="Local/answer@calls", Application="Wait", Data=0, Variable="A=1", Async="true")
        made.ask("Reload", Module="logger")
        missing = set(EVENTS)
        while missing:
            missing.discard(sessions["amid"].packet()["Event"] or "")
        seen = {name: {packet["Event"] for packet in session.ask("Ping")} for name, session in sessions.items()}
    for event, (one,) in EVENTS.items():
        assert event in seen[f"only-{one}"] and event not in seen[f"without-{one}"], f"{event}: {one}"


def _names(classes: set[str]) -> list[str]:
    return [f"{how}-{one}" for one in classes for how in ("only", "without")]


def test_amid_is_up_without_any_class(own_asterisk: Callable[[], Asterisk], daemon_for: StartDaemon) -> None:
    asterisk = own_asterisk()
    add(asterisk, {"nobody": (frozenset(), frozenset())})
    table = {"host": asterisk.host, "port": asterisk.port, "username": "nobody", "secret": asterisk.secret}
    daemon = daemon_for({"pbx1": table})
    assert daemon.action("Ping")["response"]["Ping"] == "Pong"
    offered = {one["name"] for one in daemon.request("actions")["result"]}
    assert "QueueStatus" in offered and "Originate" not in offered


def test_the_sample_user_can_run_the_first_examples(own_asterisk: Callable[[], Asterisk], daemon_for: StartDaemon) -> None:
    asterisk = own_asterisk()
    file = asterisk.private / "etc/manager.conf"
    file.write_text(file.read_text() + SAMPLE.replace("[amid]", "[sample]").replace("change-me", asterisk.secret))
    asterisk.command("manager reload")
    daemon = daemon_for({"pbx1": {"host": asterisk.host, "port": asterisk.port, "username": "sample", "secret": asterisk.secret}})
    assert daemon.result("state", {"timeout": 15})["channels"] == []
    assert "answers_denied" not in daemon.result("status")["counters"], "amid denies itself nothing"
    offered = {one["name"] for one in daemon.result("actions")}
    written = re.findall(r"\w+", re.findall(r"^write = (.*)$", SAMPLE, flags=re.M)[0])
    assert "Command" not in offered, "it lets a caller do nearly everything"
    assert offered & ACTIONS.keys() == {name for name, classes in ACTIONS.items() if not classes or classes & set(written)}
    assert offered >= set(re.findall(r"^\$ amid action (\w+)", (ROOT / "README.md").read_text(), flags=re.M)) != set()
