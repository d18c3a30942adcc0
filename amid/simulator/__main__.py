"""`python -m amid.simulator`: the simulated PBX as a process."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from amid.simulator.server import SimulatedPbx
from amid.simulator.session import User


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m amid.simulator", description="A simulated PBX that speaks AMI.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5038, help="default 5038; 0 chooses a free port")
    parser.add_argument("--username", default="demo")
    parser.add_argument("--secret-file", type=Path, required=True, help="file whose first line is the user's secret")
    parser.add_argument("--calls-per-minute", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--with-stdin", action="store_true", help="end at end of file on standard input")
    options = parser.parse_args()
    secret = options.secret_file.read_text().partition("\n")[0]
    user = User(options.username, secret)
    simulator = SimulatedPbx(options.host, options.port, [user], options.calls_per_minute, options.seed)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: simulator.stop())
    print(f"listening {simulator.host}:{simulator.port}", flush=True)
    simulator.run(sys.stdin.fileno() if options.with_stdin else None)


if __name__ == "__main__":
    main()
