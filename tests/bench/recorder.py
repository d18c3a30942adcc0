"""The recorder: CPU time and bytes of an event, and requests to a day of 1.3 million events.

The day has 50 calls at any time. It is recorded in this process, through the code that follows the
receipt of a page. The search over 30 days reads 30 links to its file.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from amid.events.replay_buffer import Cursor
from amid.history.blocks import join
from amid.recorder.archive import Archive, day_of
from amid.recorder.recording import Page, Recording
from amid.recorder.replay import RecordedFiles, RecordedPull
from amid.recorder.store import Store
from amid.rpc.requests import CallParams, CallsParams, EventsParams
from amid.rpc.requests import Cursor as After
from tests.bench import traffic
from tests.bench.setting import Bar, Section, cpu, daemon, generator, median
from tests.daemon import Daemon, eventually

COUNT = 100_000
"""Events of a storm."""
HELD = 256 * 1024 * 1024
DAY = 1_300_000
DAYS = 30
PAGE = 2400
"""Events of 1 MiB, at which an answer to `events` ends."""
CONCURRENT_CALLS = 50
LEAVE_OUT = ("VarSet", "CEL", "TestEvent", "DTMFBegin", "DTMFEnd")
NAMES = ["Newchannel", "Newstate", "Newexten", "DialBegin", "DialEnd", "BridgeEnter", "BridgeLeave", "Hangup"]
NOON = 1_795_780_800.0
RUNS = 20


def sections(rounds: int, count: int = COUNT, day: int = DAY) -> list[Section]:
    return [storms(rounds, count), requests(day)]


def storms(rounds: int, count: int) -> Section:
    """Storms of events through a whole daemon."""
    costs: list[float] = []
    with tempfile.TemporaryDirectory(prefix="amid-recordings-") as name, generator() as port:
        directory = Path(name)
        with daemon(port, server={"replay_bytes": HELD}, recorder={"directory": name}) as made:
            eventually(lambda: Archive(directory, "pbx1").cursor(), "events are recorded")
            for _ in range(rounds):
                costs.append(_storm(made, directory, count))
        size = sum(path.stat().st_size for path in directory.iterdir()) / (count * rounds)
    rows = [("CPU of the recorder, µs an event", median(costs)), ("bytes an event, on disk", size)]
    bars = [Bar("the CPU of the recorder for an event, µs", median(costs), 3), Bar("bytes of an event on disk", size, 45)]
    return Section("Recorder, storms", ("what", "figure"), rows, bars)


def _storm(made: Daemon, directory: Path, count: int) -> float:
    """CPU time of the recorder, in microseconds an event."""
    view, pid = made.server("pbx1"), made.pid("recorder")
    last = Cursor(view["epoch"], view["seq"] + count)
    before = cpu(pid)
    made.action("Storm", {"Count": count}, timeout=60)

    def are_stored() -> bool:
        found = Archive(directory, "pbx1").cursor()
        return found is not None and found[0] >= last

    eventually(are_stored, "all events are stored", 120)
    return (cpu(pid) - before) / count * 1e6


def requests(count: int) -> Section:
    with tempfile.TemporaryDirectory(prefix="amid-recordings-") as name:
        directory = Path(name)
        _record_day(directory, count)
        archive = Archive(directory, "pbx1")
        (newest,), _ = archive.calls(CallsParams(limit=1, until=NOON))
        number = next(number for number in newest["numbers"] if len(number) > 5)
        one = _milliseconds(lambda: archive.call(CallParams(linkedid=newest["linkedid"])))
        fifty = _milliseconds(lambda: archive.calls(CallsParams(limit=50)))
        (path,) = archive.files()
        for days in range(1, DAYS):
            os.link(path, directory / f"pbx1-{day_of(NOON - days * 86_400)}.db")
        search = _milliseconds(lambda: archive.calls(CallsParams(number=number)))
        page = _milliseconds(lambda: _pull(archive, After(1, count // 2)))
        assert not archive.failures
    rows = [("one call", one), ("the 50 newest calls", fifty), (f"a search by number over {DAYS} days", search)]
    bars = [Bar(f"{what}, ms", measured, bound) for (what, measured), bound in zip(rows, (20, 5, 1000), strict=True)]
    rows.append(("an answer of 1 MiB with events beyond the reader's buffer", page))
    return Section(f"Recorder, requests to days of {count:,} events", ("what", "ms"), rows, bars)


def _pull(archive: Archive, after: After) -> None:
    pull = RecordedPull(RecordedFiles(archive), EventsParams(after=after, names=NAMES, limit=10_000), as_json=False)
    while not pull.is_done:
        pull.advance()
    assert pull.events.count


def _record_day(directory: Path, count: int) -> None:
    store, recording = Store(directory, "pbx1"), Recording("pbx1", LEAVE_OUT)
    recording.resume(*store.load())
    events = _events(count)
    for first in range(0, count, PAGE):
        page = [next(events) for _ in range(min(PAGE, count - first))]
        read = Page(1, first + len(page), msgspec.Raw(join(page)), 0, True)
        store.commit(recording.feed_page(read, 0.0), recording.open_calls)
    store.close()


def _events(count: int) -> Iterator[bytes]:
    """Packed events of `CONCURRENT_CALLS` calls at a time, over 20 hours."""
    chance = random.Random(1)
    calls = [traffic.call(chance) for _ in range(CONCURRENT_CALLS)]
    encode = msgspec.msgpack.Encoder().encode
    for number in range(1, count + 1):
        turn = chance.randrange(CONCURRENT_CALLS)
        headers = next(calls[turn], None)
        if headers is None:
            calls[turn] = traffic.call(chance)
            headers = next(calls[turn])
        moment = NOON - 36_000 + number / count * 72_000
        (_, name), *others = headers
        head = {"server": "pbx1", "epoch": 1, "seq": number, "prev": number - 1, "time": moment, "event": name}
        yield encode({**head, "fields": dict(others)})


def _milliseconds(request: Callable[[], object]) -> float:
    """Of a request, the median of several."""
    taken = []
    for _ in range(RUNS):
        began = time.perf_counter()
        request()
        taken.append((time.perf_counter() - began) * 1000)
    return median(taken)


if __name__ == "__main__":
    for one in sections(*map(int, sys.argv[1:] or ["1"])):
        print(one.text())
