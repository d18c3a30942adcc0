"""Every example of clients/README.md and from-telnet.md is what a daemon, or the PBX itself, does; and the README's few lines
without a client work as they stand."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import zmq

from amid import wire
from tests.asterisk.raw import Raw
from tests.conformance.pbx import Pbx, running
from tests.daemon import Daemon, eventually
from tests.languages.harness import ROOT
from tests.languages.table import README as CONTRACT

ANY = "…"
PAGES = CONTRACT.read_text() + (CONTRACT.parent / "from-telnet.md").read_text()
FENCED = re.findall(r"^```(\w*)\n(.*?)^```$", PAGES, flags=re.M | re.S)
BLOCKS = [block for kind, block in FENCED if not kind]
SESSIONS = [block for kind, block in FENCED if kind == "ami"]
COMMANDS = [line for kind, block in FENCED if kind == "sh" for line in block.splitlines()]
EXCHANGES = [pair for block in BLOCKS for pair in re.findall(r"^→ (.*?)^← (.*?)(?=^→|\Z)", block, re.M | re.S)]
MESSAGES = [message for block in BLOCKS for message in re.findall(r"^✉ (\S+)\n(.*?)(?=^✉|\Z)", block, re.M | re.S)]


@pytest.fixture(scope="module", params=["simulated", "asterisk-22"])
def pbx(request: pytest.FixtureRequest) -> Iterator[Pbx]:
    with running(request.param) as pbx:
        yield pbx


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, pbx: Pbx) -> Iterator[Daemon]:
    tables: dict[str, Any] = {"recorder": {}, "callers__local": {"history": True}}
    with closing(Daemon(tmp_path_factory.mktemp("amid"), {"pbx1": pbx.table}, **tables)) as daemon:
        yield daemon.start()


def like(value: Any, example: Any) -> bool:
    """Whether `value` is what the example shows: `…` stands for any text, or for members and items that it leaves out."""
    if isinstance(example, dict):
        rest = value.keys() - example.keys()
        return (ANY in example or not rest) and all(k in value and like(value[k], v) for k, v in example.items() if k != ANY)
    if isinstance(example, list):
        shown = [one for one in example if one != ANY]
        enough = len(value) >= len(shown) if ANY in example else len(value) == len(shown)
        return enough and all(map(like, value, shown))
    if isinstance(example, str):
        return re.fullmatch(re.escape(example).replace(ANY, ".*"), value) is not None
    number = isinstance(example, int | float) and not isinstance(example, bool)
    return type(value) is type(example) and (number or value == example)


def test_examples_are_compared_correctly() -> None:
    assert like({"a": "xyz", "b": 1}, {"a": "x…", "…": "…"}) and like([1.5, 2.5], [1.0, "…"])
    assert not like({"a": "xyz", "b": 1}, {"a": "x…"}) and not like({"a": 1}, {"a": True}) and not like([1, 2], [1])


@pytest.mark.parametrize(("request_text", "reply_text"), EXCHANGES)
def test_requests_in_the_contract_get_the_answers_shown(daemon: Daemon, request_text: str, reply_text: str) -> None:
    request = json.loads(request_text)
    if request["method"] == "state":
        _call(daemon)
    if request["method"] == "calls":
        _record_calls(daemon)
    if "after" in request["params"] and request["params"]["after"]:
        now = daemon.result("events", {"server": "pbx1", "timeout": 0})
        if "kinds" in request["params"]:
            _call(daemon)
        request["params"]["after"] = {"epoch": now["epoch"], "seq": now["seq"]}
        daemon.action("UserEvent", {"UserEvent": "Hello"})
    with daemon.socket(zmq.REQ) as rpc:
        rpc.connect(daemon.rpc)
        rpc.send_string(json.dumps(request))
        reply, example = json.loads(rpc.recv()), json.loads(reply_text)
    assert like(reply, example), reply
    assert reply["id"] == example["id"] and reply.get("error", {}).get("code") == example.get("error", {}).get("code")


def _call(daemon: Daemon) -> None:
    """What a question about the state, or about its changes, is answered with."""
    daemon.result("state", {"timeout": 15})
    call = {"Channel": "Local/answer@calls", "Context": "calls", "Exten": "answer", "Priority": 1, "Async": True}
    daemon.action("Originate", call, until="OriginateResponse", timeout=20)


def _record_calls(daemon: Daemon) -> None:
    """At least two calls of Alice, whose number is 100."""
    call = {"Channel": "Local/answer@calls", "Application": "Hangup", "CallerID": '"Alice" <100>', "Async": True}

    def recorded() -> bool:
        """Calls before the recorder has begun are missing."""
        daemon.action("Originate", call, until="OriginateResponse", timeout=20)
        return len(daemon.result("calls", {"number": "100"})["calls"]) > 1

    eventually(recorded, "two calls are recorded")


@pytest.mark.parametrize(("topic", "body"), MESSAGES)
def test_messages_in_the_contract_are_published(daemon: Daemon, topic: str, body: str) -> None:
    example = json.loads(body)
    with daemon.socket(zmq.SUB) as events:
        events.subscribe(topic)
        events.subscribe("tick.pbx1.")
        events.connect(daemon.server("pbx1")["events" if topic.startswith("event.") else "stream"])
        came: list[Any] = []

        def it_came() -> bool:
            daemon.action("UserEvent", {"UserEvent": "Hello"})
            while events.poll(50):
                subject, packed = events.recv_multipart()
                came.append((subject.decode(), wire.unpack(packed)))
            return any(subject == topic and like(value, example) for subject, value in came)

        eventually(it_came, f"{topic}: {example}; came: {came}")


@pytest.mark.parametrize("example", SESSIONS, ids=range(len(SESSIONS)))
def test_a_telnet_session_works_as_shown(pbx: Pbx, example: str) -> None:
    """The lines come in this order, with others between them."""
    lines = example.replace("SECRET", pbx.secret).replace("Username: amid", f"Username: {pbx.username}").splitlines()
    with Raw(pbx, login="Login" not in example) as session:
        session.send("".join(line[2:] + "\r\n" for line in lines if line.startswith("→")).encode())
        for line in lines:
            if line.startswith("← "):
                session.line(re.escape(line[2:]).replace(ANY, ".*"))


@pytest.mark.parametrize("line", COMMANDS)
def test_the_command_shows_an_event(daemon: Daemon, line: str) -> None:
    environment = {**os.environ, "AMID_RUN_DIR": str(daemon.run_dir)}
    with subprocess.Popen([sys.executable, "-m", *line.split()], env=environment, stdout=subprocess.PIPE) as command:

        def it_ended() -> bool:
            daemon.action("UserEvent", {"UserEvent": "Hello"})
            return command.poll() is not None

        try:
            eventually(it_ended, line)
        finally:
            command.kill()
        assert command.stdout is not None
        assert json.load(command.stdout)["fields"]["UserEvent"] == "Hello"


def test_the_pages_have_examples() -> None:
    assert len(EXCHANGES) >= 13 and len(MESSAGES) >= 3 and len(SESSIONS) >= 6 and COMMANDS


RUN = {"js": ["node", "--input-type=module", "-e"], "php": ["php", "-r"], "ruby": ["ruby", "-e", "$stdout.sync = true", "-e"]}
SHOWN = re.findall(r"^```(js|php|ruby)\n(.*?)^```$", (ROOT / "README.md").read_text(), flags=re.M | re.S)


def program(daemon: Daemon, language: str, text: str) -> tuple[list[str], Path]:
    """Its command, and where to run it."""
    assert len(text.splitlines()) < 10
    return [
        *RUN[language],
        text.replace("/run/amid", str(daemon.run_dir)),
    ], ROOT / "clients" / "node" if language == "js" else Path("/")


def needed(language: str) -> str:
    return {"js": "Node.js", "php": "PHP", "ruby": "Ruby"}[language]


@pytest.mark.parametrize(("language", "text"), SHOWN, ids=[language for language, _ in SHOWN])
def test_a_few_lines_make_a_call_and_show_events(
    daemon: Daemon, language: str, text: str, needs: Callable[[str], None], tmp_path: Path
) -> None:
    needs(needed(language))
    argv, here = program(daemon, language, text)
    output = tmp_path / "output"

    def two_came() -> bool:
        daemon.action("UserEvent", {"UserEvent": "Hello"})
        return output.read_text().count('"Hello"') >= 2

    with output.open("wb") as file, subprocess.Popen(argv, cwd=here, stdout=file) as following:
        try:
            eventually(two_came, "two events came, in two answers")
        finally:
            following.kill()
    assert output.read_text().startswith("Pong\n")


def test_three_languages_are_shown() -> None:
    assert {language for language, _ in SHOWN} == set(RUN)
