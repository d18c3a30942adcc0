"""The method `events` beyond the reader's buffer, in a whole daemon whose recorder and reader are
killed."""

from __future__ import annotations

import json
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
import zmq

from amid import wire
from amid.recorder.archive import Archive
from tests.conftest import StartDaemon
from tests.daemon import Daemon, eventually, gateway_table
from tests.processes.caller import Caller
from tests.processes.pbx import simulated, table

LARGE = {f"Padding{number}": "x" * 900 for number in range(9)}
"""Headers of 8 KB."""
BURST = 1000
"""Events of a burst. The buffer holds some two of them."""
REPLAY_BYTES = 192 * 1024
WORD = "hangups-0123456789abcdef-0123"
TOKENS = f'[hangups]\ntoken = "{WORD}"\nevents_allow = ["Hangup"]\n'
Cursor = tuple[int, int]
StartRecording = Callable[..., Daemon]


@pytest.fixture
def recording_of(daemon_for: StartDaemon, tmp_path: Path) -> Iterator[StartRecording]:
    """Starts a daemon that records everything, except the events with these names."""
    with simulated() as pbx:

        def start(*leave_out: str, **tables: Any) -> Daemon:
            recorder = {"directory": str(tmp_path), "leave_out": list(leave_out)}
            daemon = daemon_for({"pbx1": table(pbx, replay_bytes=REPLAY_BYTES)}, recorder=recorder, **tables)
            eventually(lambda: Archive(tmp_path, "pbx1").cursor(), "events are recorded")
            return daemon

        yield start


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of `recording`, which records everything."""
    return tmp_path_factory.mktemp("recorder")


@pytest.fixture(scope="module")
def module_recording(directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with simulated() as pbx:
        servers = {"pbx1": table(pbx, replay_bytes=REPLAY_BYTES)}
        with closing(
            Daemon(tmp_path_factory.mktemp("amid"), servers, recorder={"directory": str(directory), "leave_out": []})
        ) as daemon:
            yield daemon.start()


@pytest.fixture
def recording(module_recording: Daemon, directory: Path) -> Daemon:
    """Shared: its processes may be killed, but its files must stay. It is up and records."""
    module_recording.wait_up("pbx1")
    burst(module_recording, directory)
    return module_recording


def now(daemon: Daemon) -> Cursor:
    page = daemon.result("events", {"timeout": 0})
    return page["epoch"], page["seq"]


def is_recorded(directory: Path, cursor: Cursor) -> bool:
    found = Archive(directory, "pbx1").cursor()
    return found is not None and found[0] >= cursor


def burst(daemon: Daemon, directory: Path) -> None:
    """A burst, and the time that the recorder needs for it. What comes later pushes it out of the buffer."""
    before = now(daemon)
    daemon.action("SimFault", {"Kind": "burst", "Count": BURST}, timeout=60)
    eventually(lambda: now(daemon) >= (before[0], before[1] + BURST), "the burst is read")
    eventually(lambda: is_recorded(directory, (before[0], before[1] + BURST)), "the burst is recorded")


def pages(daemon: Daemon, after: Cursor, **params: Any) -> Iterator[dict[str, Any]]:
    """All answers up to now."""
    more = True
    while more:
        page = daemon.result("events", {"after": {"epoch": after[0], "seq": after[1]}, "timeout": 5, **params})
        after, more = (page["epoch"], page["seq"]), page["more"]
        yield page


def check(found: list[dict[str, Any]], after: Cursor) -> None:
    """Every event after a cursor, once and in order."""
    assert all(page["missed"] == 0 for page in found)
    events = [event for page in found for event in page["events"]]
    first = after[1] + 1
    assert [event["seq"] for event in events] == list(range(first, first + len(events)))
    assert {event["epoch"] for event in events} == {after[0]}


def test_a_consumer_that_was_away_misses_nothing(recording: Daemon, directory: Path) -> None:
    """While the recorder is killed in bursts of events, and another program takes part of them."""
    start = cursor = now(recording)
    slow: list[dict[str, Any]] = []
    for number in range(6):
        if number % 2:
            recording.kill("recorder")
            page = next(pages(recording, cursor, limit=700))
            slow.append(page)
            cursor = page["epoch"], page["seq"]
        burst(recording, directory)
    away = list(pages(recording, start, limit=10_000))
    check(away, start)
    check([*slow, *pages(recording, cursor, limit=1000)], start)
    assert sum(len(page["events"]) for page in away) >= 6 * BURST and away[-1]["seq"] == now(recording)[1]


def test_it_is_the_same_in_messagepack_and_with_names(recording: Daemon, directory: Path) -> None:
    start = now(recording)
    recording.action("Originate", {"Channel": "Local/answer@calls", "Application": "Hangup", "Async": True})
    for _ in range(3):
        burst(recording, directory)
    as_json = next(pages(recording, start, limit=100))
    with Caller(recording) as caller:
        params = {"after": {"epoch": start[0], "seq": start[1]}, "limit": 100, "timeout": 5}
        caller.raw(b"", wire.pack({"id": 1, "method": "events", "params": params}))
        assert caller.next()["result"] == as_json
    assert len(as_json["events"]) == 100 and as_json["more"] is True
    hangups = list(pages(recording, start, names=["hangup"], limit=1, timeout=0))
    names = [event["event"] for page in hangups for event in page["events"]]
    assert names == ["Hangup"] * len(names) and len(names) > 1
    assert all(page["missed"] == 0 and len(page["events"]) <= 1 for page in hangups)


def test_two_epochs(recording: Daemon, directory: Path) -> None:
    start = now(recording)
    burst(recording, directory)
    recording.kill("reader pbx1")
    eventually(lambda: now(recording)[0] > start[0], "another epoch has begun")
    recording.wait_up("pbx1")
    for _ in range(2):
        burst(recording, directory)
    found = list(pages(recording, start, limit=10_000))
    (border,) = [place for place, page in enumerate(found) if page["missed"] is None]
    check(found[:border], start)
    assert sum(len(page["events"]) for page in found[:border]) >= BURST
    begun = found[border]
    assert begun["events"][0]["event"] == "amid:connected" and begun["events"][0]["seq"] == 1
    check([{**begun, "missed": 0}, *found[border + 1 :]], (begun["epoch"], 0))


def test_events_that_are_left_out_are_missing(recording_of: StartRecording, tmp_path: Path) -> None:
    daemon = recording_of("UserEvent")
    start = now(daemon)
    daemon.action("Originate", {"Channel": "Local/answer@calls", "Application": "Hangup", "Async": True})
    for _ in range(3):
        burst(daemon, tmp_path)
    found = list(pages(daemon, start))
    assert sum(page["missed"] + len(page["events"]) for page in found) == found[-1]["seq"] - start[1]
    assert sum(page["missed"] for page in found) > BURST // 2
    assert all(page["events"][0]["seq"] > page["missed"] for page in found if page["events"])
    hangups = list(pages(daemon, start, names=["Hangup"], timeout=0))
    assert all(page["missed"] == 0 for page in hangups) and hangups[0]["events"]


def test_events_that_are_left_out_are_not_missing_while_the_reader_holds_them(recording_of: StartRecording, tmp_path: Path) -> None:
    daemon = recording_of("UserEvent")
    start = now(daemon)
    for _ in range(3):
        burst(daemon, tmp_path)
    daemon.action("Originate", {"Channel": "Local/answer@calls", "Application": "Hangup", "Async": True})
    eventually(lambda: next(pages(daemon, start, names=["Hangup"], timeout=0))["events"], "the call has ended")
    eventually(lambda: is_recorded(tmp_path, now(daemon)), "it is recorded")
    for names in (["UserEvent"], ["UserEvent", "Hangup"]):
        found = [event for page in pages(daemon, start, names=names, timeout=0) for event in page["events"]]
        held = sum(event["event"] == "UserEvent" for event in found)
        assert 3 * BURST > held > BURST // 2
        assert [event["seq"] for event in found[:held]] == list(range(found[0]["seq"], found[0]["seq"] + held))
        assert {event["event"] for event in found} == set(names)


def test_a_recorder_that_hangs_costs_no_event(recording: Daemon, directory: Path) -> None:
    start = now(recording)
    for _ in range(3):
        burst(recording, directory)
    recording.signal("recorder", signal.SIGSTOP)
    page = next(pages(recording, start, timeout=0))
    assert (page["events"], page["seq"], page["missed"], page["more"]) == ([], start[1], 0, True)
    recording.signal("recorder", signal.SIGCONT)
    check(list(pages(recording, start)), start)


def test_events_that_are_not_recorded_are_missing(recording_of: StartRecording, tmp_path: Path) -> None:
    recording = recording_of()
    start = now(recording)
    for _ in range(3):
        burst(recording, tmp_path)
    for file in Archive(tmp_path, "pbx1").files():
        file.unlink()
    page = next(pages(recording, start))
    assert page["missed"] > BURST // 2 and page["events"][0]["seq"] == start[1] + page["missed"] + 1


def test_a_token_gets_only_its_events(recording_of: StartRecording, tmp_path: Path) -> None:
    """It needs no `history`."""
    gateway = gateway_table(tmp_path, TOKENS)
    daemon = recording_of(gateway=gateway)
    start = now(daemon)
    daemon.action("Originate", {"Channel": "Local/answer@calls", "Application": "Hangup", "Async": True})
    for _ in range(3):
        burst(daemon, tmp_path)
    url, headers = f"http://{gateway['listen']}", {"Authorization": f"Bearer {WORD}"}
    with httpx.Client(base_url=url, headers=headers, timeout=20, trust_env=False) as http:

        def ask(names: list[str] | None) -> dict[str, Any]:
            params = {"server": "pbx1", "after": {"epoch": start[0], "seq": start[1]}, "names": names, "timeout": 5}
            request = {"method": "events", "params": {key: value for key, value in params.items() if value is not None}}
            answer: dict[str, Any] = http.post("/rpc", json=request).json()
            return answer

        page = eventually(lambda: ask(["Hangup"]).get("result"), "the gateway answers")
        assert {event["event"] for event in page["events"]} == {"Hangup"} and page["missed"] == 0
        assert [ask(names)["error"]["data"]["kind"] for names in (None, ["UserEvent"])] == ["denied", "denied"]
        with http.stream("GET", f"/v1/events?server=pbx1&after=pbx1:{start[0]}:{start[1]}") as stream:
            body = next(line for line in stream.iter_lines() if line.startswith("data: "))
        assert json.loads(body.removeprefix("data: "))["event"] == "Hangup"


def read_burst(daemon: Daemon) -> None:
    """A burst, which may not be recorded yet."""
    before = now(daemon)
    daemon.action("SimFault", {"Kind": "burst", "Count": BURST}, timeout=60)
    eventually(lambda: now(daemon) >= (before[0], before[1] + BURST), "the burst is read")


def test_many_large_pages_do_not_collect_in_the_recorder(recording_of: StartRecording, tmp_path: Path) -> None:
    """They grew all at once: the recorder had 0.9 GB, and was replaced because it did not beat."""
    daemon = recording_of()
    epoch, seq = now(daemon)
    with Caller(daemon) as caller:
        sent = [caller.action("UserEvent", {"UserEvent": "Large", **LARGE}, timeout=60) for _ in range(900)]
        assert all("result" in caller.reply(one) for one in sent)
    burst(daemon, tmp_path)
    request = {"id": 1, "method": "events", "params": {"after": {"epoch": epoch, "seq": seq}, "limit": 10_000, "timeout": 120}}
    with daemon.socket(zmq.DEALER) as reading:
        reading.connect(daemon.rpc)
        for _ in range(1000):
            reading.send_multipart([b"", wire.pack(request)])
        for _ in range(1000):
            assert reading.poll(120_000), "every request is answered"
            reading.recv_multipart()
    assert daemon.peak_bytes("recorder") < 100e6
    assert daemon.processes()["recorder"]["restarts"] == 0


def test_a_write_that_takes_long_is_no_loss(recording_of: StartRecording, tmp_path: Path) -> None:
    recording = recording_of(callers__local={"history": True, "admin": True})
    burst(recording, tmp_path)
    start = now(recording)
    (path,) = Archive(tmp_path, "pbx1").files()
    with closing(sqlite3.connect(path, isolation_level=None)) as db, db:
        db.execute("BEGIN IMMEDIATE")
        read_burst(recording)
        recording.request("calls", {"timeout": 2})  # lets the recorder fetch the events now
        for _ in range(2):
            read_burst(recording)
        page = next(pages(recording, start, timeout=0))
        db.execute("ROLLBACK")
    assert (page["missed"], page["more"]) == (0, True)
    check([page, *pages(recording, (page["epoch"], page["seq"]))], start)


def test_a_refused_recorder_does_not_answer_from_the_files_of_another(recording_of: StartRecording, tmp_path: Path) -> None:
    first, second = recording_of(), recording_of(callers__local={"history": True})
    eventually(lambda: "another amid records server pbx1" in second.log.read_text(), "it is refused")
    burst(first, tmp_path)
    (recorded, _), (epoch, _) = now(first), now(second)
    page = next(pages(second, (recorded, 0)))
    assert page["epoch"] == epoch and {event["epoch"] for event in page["events"]} <= {epoch}
    error = second.request("calls")["error"]
    assert error["data"]["kind"] == "not_connected" and "another amid records server pbx1" in error["message"]
