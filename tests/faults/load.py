"""The load as used by a test: a process of callers, subscribers and a witness (`traffic`), and the
judge of its records.

A thread passes the records to the judge as they arrive, so that only unjudged records are kept and
a load may run for hours.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgpack

from tests.asterisk.raw import Place
from tests.daemon import BOUND_S, eventually
from tests.faults.judge import Judge
from tests.faults.listeners import PULL
from tests.faults.recorded import Recorded
from tests.faults.records import Away, Call, Record, unpacked
from tests.faults.traffic import CALLERS, Plan

STOP_S = 60.0
"""Seconds for the load to end once it was told to."""
RECENT = 30_000
"""Calls whose ends are remembered, for `kinds`."""
ROOT = Path(__file__).parents[2]


@dataclass
class Report:
    """What a load amounted to. `kinds` and `events` count; `over`: the longest that a call was answered after its timeout."""

    calls: int
    kinds: Counter[str]
    events: Counter[str]
    missed: int
    over: float
    allowed: float
    violations: list[str]
    found: int
    recorded_calls: int
    unrecorded: tuple[int, int]

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.by_kind().items()))
        events = ", ".join(f"{name} {count}" for name, count in self.events.items())
        lines = [f"{self.calls} calls: {kinds}", f"events: {events}; {self.missed} told to be missing"]
        if self.recorded_calls:
            missed, ends = self.unrecorded
            lines.append(f"recorder: {self.recorded_calls} calls; {missed} events told to be missing, and {ends} ends of epochs")
        late = f"latest answer {self.over * 1000:+.0f} ms after its timeout"
        lines.append(f"{late}; of that the machine's and the load's own: {self.allowed * 1000:.0f} ms at most")
        return "\n".join([*lines, f"{self.found} violations", *self.violations[:20]])

    def by_kind(self) -> Counter[str]:
        """How calls ended, all actions together."""
        kinds: Counter[str] = Counter()
        for name, count in self.kinds.items():
            kinds[name.partition(" ")[2]] += count
        return kinds


class Watch:
    """Waits for calls that began after it was made and ended as they should."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.count = 0
        self.callers: set[str] = set()
        self.first = 0.0

    def take(self, call: Call) -> None:
        if call.began > self.began and call.fine:
            self.first = self.first or call.ended - self.began
            self.count += 1
            self.callers.add(call.caller)


class Load:
    def __init__(self, run_dir: Path, asterisk: Place, seed: int, pace: float, recorded: Recorded | None = None) -> None:
        """recorded: what is judged of the recorder, None in a world without one."""
        plan = Plan(str(run_dir), asterisk.host, asterisk.port, asterisk.username, asterisk.secret, seed, pace)
        self.judge = Judge()
        self._recorded = recorded
        self._watches: list[Watch] = []
        self._recent: deque[Call] = deque(maxlen=RECENT)
        self._lock = threading.Lock()
        argv = [sys.executable, "-m", "tests.faults.traffic"]
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
        self._send(json.dumps(plan._asdict()))
        self._thread = threading.Thread(target=self._take_all, name="load", daemon=True)
        self._thread.start()

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    # ── what a fault asks ──

    def well(self, count: int = 50, bound: float = 30.0) -> float:
        """Wait until calls that begin from now on end as they should, some of every caller; seconds until the first."""
        watch = Watch()
        with self._lock:
            self._watches.append(watch)
        try:
            eventually(lambda: self._alive() and watch.count >= count and len(watch.callers) == CALLERS, "all is well", bound)
        except AssertionError as error:
            came = f"{watch.count} of {count}, from {len(watch.callers)} of {CALLERS} callers"
            raise AssertionError(f"{error}; {came}; {self.report()}") from None
        finally:
            with self._lock:
                self._watches.remove(watch)
        return watch.first

    def mark(self) -> float:
        """The current position, for `kinds`."""
        return time.monotonic()

    def kinds(self, since: float) -> Counter[str]:
        """How the calls ended that began since then, those for events apart."""
        with self._lock:
            return Counter(call.kind for call in self._recent if call.began >= since)

    def runs(self) -> dict[str, int]:
        """For each subscriber a number that grows wherever its sequence was interrupted: by a new epoch, or a gap."""
        with self._lock:
            return {name: sequence.run for name, sequence in self.judge.sequences.items()}

    def have_reached(self, epoch: int, seq: int) -> bool:
        """Whether all subscribers have what was published up to this event. What the recorder has is
        read between the faults."""
        with self._lock:
            subscribers = [sequence for name, sequence in self.judge.sequences.items() if name != "recorder"]
            return all(sequence.has_reached(epoch, seq) for sequence in subscribers)

    @property
    def pid(self) -> int:
        return self._process.pid

    @contextmanager
    def broker_away(self) -> Iterator[None]:
        """While the test itself takes the broker away: a client's own timeout is then the promise."""
        since = time.monotonic()
        self._take(Away(since, None))
        yield
        self._take(Away(since, time.monotonic()))

    # ── the end ──

    def report(self) -> Report:
        with self._lock:
            judge = self.judge
            calls = sum(judge.kinds.values())
            violations = list(judge.violations)
            return Report(
                calls,
                judge.kinds.copy(),
                judge.events.copy(),
                judge.missed,
                judge.worst,
                judge.allowed,
                violations,
                judge.found,
                judge.recorded_calls,
                judge.unrecorded,
            )

    def stop(self) -> Report:
        """As `finish`; AssertionError when a promise was broken."""
        report = self.finish()
        print(report)
        assert not report.found, f"{report}"
        return report

    def finish(self) -> Report:
        """No new calls; wait for the open ones and for the last event, and judge what is left."""
        self._send("stop")
        status = self._process.wait(STOP_S)
        self._thread.join(STOP_S)
        assert status == 0, f"the load ended with status {status}; its stderr says why"
        if self._recorded is not None:
            with contextlib.suppress(AssertionError):  # the judge reports the last event as missing
                eventually(self._has_recorded_all, "all events are recorded")
            self._take_from(self._recorded.end())
        self.judge.end()
        return self.report()

    def close(self) -> None:
        """End it at once, whatever it does."""
        self._process.kill()
        self._process.wait(BOUND_S)
        self._thread.join(STOP_S)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    # ── records ──

    def read_recorded(self) -> None:
        """Judge what the recorder has written."""
        if self._recorded is not None:
            self._take_from(self._recorded.read())

    def _has_recorded_all(self) -> bool:
        self.read_recorded()
        return self._recorded is None or self._recorded.has_all

    def _take_from(self, records: Iterable[Record]) -> None:
        for record in records:
            self._take(record)

    def _alive(self) -> bool:
        assert self._process.poll() is None, f"the load ended with status {self._process.returncode}; its stderr says why"
        return True

    def _take_all(self) -> None:
        assert self._process.stdout is not None
        unpacker = msgpack.Unpacker()
        while data := self._process.stdout.raw.read(65536):  # type: ignore[attr-defined]
            unpacker.feed(data)
            for value in unpacker:
                self._take(unpacked(value))

    def _take(self, record: Record) -> None:
        with self._lock:
            self.judge.take(record)
            if isinstance(record, Call) and record.action != PULL:
                self._recent.append(record)
                for watch in self._watches:
                    watch.take(record)
