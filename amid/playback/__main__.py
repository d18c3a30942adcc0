"""`python -m amid.playback`: the simulated PBX that plays a recording, as a process."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from amid.playback.player import Player
from amid.playback.recording import Recording
from amid.simulator.server import SimulatedPbx
from amid.simulator.session import User


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m amid.playback", description="A simulated PBX that plays a recorded day.")
    parser.add_argument("--recorded", type=Path, required=True)
    parser.add_argument("--speed", type=float, default=1.0)
    parser.add_argument("--port", type=int, default=5038, help="default 5038; 0 chooses a free port")
    parser.add_argument("--username", default="demo")
    parser.add_argument("--secret-file", type=Path, required=True, help="file whose first line is the user's secret")
    parser.add_argument("--with-stdin", action="store_true", help="end at end of file on standard input")
    options = parser.parse_args()
    secret = options.secret_file.read_text().partition("\n")[0]
    player = Player(Recording(options.recorded), options.speed)
    simulator = SimulatedPbx(port=options.port, users=[User(options.username, secret)], act=player.act)
    simulator.pbx.tasks.start(player.play(simulator.pbx))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: simulator.stop())
    print(f"listening {simulator.host}:{simulator.port}", flush=True)
    simulator.run(sys.stdin.fileno() if options.with_stdin else None)


if __name__ == "__main__":
    main()
