"""The soak: load with random faults for any length of time, in which every call and event is
judged.

    python -m tests.faults.soak --minutes 30 [--seed N] [--asterisk 22]

It ends with a report, and with status 1 when a promise was broken, a fault was not noticed or
repaired, or amid did not recover. A seed repeats the choices and the calls, but not their timing.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.asterisk.server import VERSIONS
from tests.faults.faults import Fault, load_all
from tests.faults.world import World, world

WARM = 3000
"""Calls after which a process has all that it needs, and after which it is measured."""
LONGEST_CALM = 1500
"""Calls between two faults, at most; a quarter of the time, a few seconds, is calm."""
FOUND = 10
"""Violations after which there is no point in going on."""


class Size(NamedTuple):
    """Resident memory in KiB, and open descriptors."""

    memory: int
    descriptors: int


def size(pid: int) -> Size:
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS:"))
    return Size(int(line.split()[1]), len(os.listdir(f"/proc/{pid}/fd")))


def sizes(world: World) -> dict[str, Size]:
    """Of each process of amid, and of the load and its judge, which must not grow either."""
    pids = {name: process["pid"] for name, process in world.daemon.processes().items()}
    pids |= {"load": world.load.pid, "judge": os.getpid()}
    return {name: size(pid) for name, pid in pids.items()}


@dataclass
class Soak:
    """`run` it, then `report`."""

    world: World
    faults: list[Fault]
    began: float = field(default_factory=time.monotonic)
    drawn: Counter[str] = field(default_factory=Counter)
    trouble: list[str] = field(default_factory=list)
    start: dict[str, Size] = field(default_factory=dict)
    highest: dict[str, Size] = field(default_factory=dict)
    last: dict[str, Size] = field(default_factory=dict)

    def run(self, seconds: float) -> None:
        try:
            self.world.load.well(count=WARM, bound=120)
            self.start = self.last = sizes(self.world)
            while time.monotonic() < self.began + seconds and self.found() < FOUND:
                self._round(self.world.random.choice(self.faults))
            self.world.load.well(count=WARM, bound=120)
            self._measure()
        except Exception:
            self.trouble.append(f"the soak ended early: {traceback.format_exc()}")

    def found(self) -> int:
        return len(self.trouble) + len(self._of_ami_client()) + self.world.load.report().found

    def _of_ami_client(self) -> list[str]:
        return [f"AMI client: {violation}" for violation in self.world.ami.violations] if self.world.ami is not None else []

    def _round(self, fault: Fault) -> None:
        before = self.found()
        self.drawn[fault.title] += 1
        print(f"{time.monotonic() - self.began:7.1f} s  {fault.title}", end="", flush=True)
        try:
            fault.act(self.world)
        except Exception:
            self.trouble.append(f"{fault.title}: {traceback.format_exc()}")
        seconds = self.world.load.well(count=self.world.random.randint(50, LONGEST_CALM), bound=60)
        if self.world.ami is not None:
            self.world.ami.well()
        self.world.load.read_recorded()
        self._measure()
        print(f"; the first answer {seconds:.2f} s after it was over", flush=True)
        if broken := self.found() - before:
            told = [*self.trouble, *self._of_ami_client(), *self.world.load.report().violations][-broken:]
            print(f"{broken} VIOLATIONS", *told, sep="\n", flush=True)

    def _measure(self) -> None:
        self.last = sizes(self.world)
        for name, now in self.last.items():
            self.highest[name] = Size(*map(max, now, self.highest.get(name, now)))

    # ── the report ──

    def report(self, title: str) -> str:
        load = self.world.load.finish()
        lines = [f"{title}, {(time.monotonic() - self.began) / 60:.1f} minutes", str(load), "", *self._faults(), "", *self._table()]
        if self.world.ami is not None:
            lines += ["", f"AMI client: {self.world.ami.received} events, {self.world.ami.ends} connections ended or failed"]
        return "\n".join([*lines, "", f"{self.found()} violations", *self.trouble, *self._of_ami_client()])

    def _faults(self) -> list[str]:
        return [f"{self.drawn.total()} faults", *(f"{count:5} {name}" for name, count in sorted(self.drawn.items()))]

    def _table(self) -> list[str]:
        lines = [f"{'':14} {'memory, MiB':^26} {'descriptors':^26}", f"{'':14}" + 2 * f" {'start':>8} {'end':>8} {'highest':>8}"]
        for name, start in self.start.items():
            three = (start, self.last.get(name, start), self.highest.get(name, start))
            memory = "".join(f" {one.memory / 1024:8.1f}" for one in three)
            lines.append(f"{name:14}{memory}" + "".join(f" {one.descriptors:8}" for one in three))
        return lines


def main() -> int:
    parser = argparse.ArgumentParser(description="Load, and faults drawn at random; every call and event is judged.")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--asterisk", choices=VERSIONS, default=VERSIONS[0])
    options = parser.parse_args()
    faults = [fault for fault in load_all() if fault.soak]
    with (
        tempfile.TemporaryDirectory(prefix="soak-") as directory,
        world(options.asterisk, Path(directory), options.seed, listener=True, recorder=True) as here,
    ):
        soak = Soak(here, faults)
        soak.run(options.minutes * 60)
        print(soak.report(f"Soak on Asterisk {options.asterisk}, seed {options.seed}"))
        return 1 if soak.found() else 0


if __name__ == "__main__":
    sys.exit(main())
