"""What the two processes have in common that are a simulated PBX: `amid.simulator` and
`amid.playback`."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from amid.simulator.server import SimulatedPbx
from amid.simulator.session import User


def serve(parser: argparse.ArgumentParser, make: Callable[[argparse.Namespace, User], SimulatedPbx]) -> None:
    """Parse the command line and run a simulated PBX until a signal. It prints where it listens.

    parser: with the arguments of this program; the common ones are added. make: the simulated PBX
    for the arguments and its user.
    """
    parser.add_argument("--port", type=int, default=5038, help="default 5038; 0 chooses a free port")
    parser.add_argument("--username", default="demo")
    parser.add_argument("--secret-file", type=Path, required=True, help="file whose first line is the user's secret")
    parser.add_argument("--with-stdin", action="store_true", help="end at end of file on standard input")
    options = parser.parse_args()
    secret = options.secret_file.read_text().partition("\n")[0]
    simulator = make(options, User(options.username, secret))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: simulator.stop())
    print(f"listening {simulator.host}:{simulator.port}", flush=True)
    simulator.run(sys.stdin.fileno() if options.with_stdin else None)
