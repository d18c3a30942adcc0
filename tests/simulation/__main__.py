"""Run seeds of the simulation in turn and stop at the first failure."""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter

from tests.simulation.world import Outcome, run_seed


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=0, help="how many (default: as many as fit into --minutes, or one)")
    parser.add_argument("--minutes", type=float, default=0.0, help="run seeds for so long")
    parser.add_argument("--seconds", type=float, default=60.0, help="of simulated time with faults in each seed")
    parser.add_argument("--from", type=int, dest="first", help="the first seed (default: a random one)")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at a seed that fails")
    parser.add_argument("--trace", action="store_true", help="show the last decisions of each seed")
    options = parser.parse_args()
    first = random.SystemRandom().randrange(10**9) if options.first is None else options.first
    begin, cpu = time.monotonic(), time.process_time()
    calls, count, failed, simulated = Counter[str](), 0, 0, 0.0
    end = begin + options.minutes * 60
    while count < options.seeds or time.monotonic() < end or not count:
        outcome = run_seed(first + count, options.seconds)
        count += 1
        simulated += outcome.simulated
        calls += outcome.calls
        failed += bool(outcome.failures)
        report(outcome, options.trace, options.seconds)
        if failed and not options.keep_going:
            break
    spent = time.process_time() - cpu
    hours = simulated / 3600
    pace = f"{hours:.1f} simulated hours, {hours / spent * 60:.2f} in a CPU minute"
    print(f"seeds {first} to {first + count - 1}: {failed} failed; {pace}")
    print(f"calls: {dict(calls.most_common())}")
    sys.exit(bool(failed))


def report(outcome: Outcome, show_trace: bool, seconds: float) -> None:
    if outcome.failures or show_trace:
        print("\n".join(outcome.recent))
    said = f"seed {outcome.seed}: {outcome.digest}, {outcome.calls.total()} calls, {outcome.events} events, {outcome.gaps} gaps"
    print(f"{said}, {outcome.faults} faults" + ("" if not outcome.failures else ": FAILED"), flush=True)
    for failure in outcome.failures:
        print(f"  {failure}")
    if outcome.failures:
        print(f"  again: python -m tests.simulation --seeds 1 --from {outcome.seed} --seconds {seconds:g}", flush=True)


if __name__ == "__main__":
    main()
