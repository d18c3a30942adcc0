"""`python -m amid.playback`: the simulated PBX that plays a recording, as a process."""

from __future__ import annotations

import argparse
from pathlib import Path

from amid.playback.player import Player
from amid.playback.recording import Recording
from amid.simulator.command_line import serve
from amid.simulator.server import SimulatedPbx
from amid.simulator.session import User


def playing(options: argparse.Namespace, user: User) -> SimulatedPbx:
    player = Player(Recording(options.recorded), options.speed)
    simulator = SimulatedPbx(port=options.port, users=[user], act=player.act)
    simulator.pbx.tasks.start(player.play(simulator.pbx))
    return simulator


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m amid.playback", description="A simulated PBX that plays a recorded day.")
    parser.add_argument("--recorded", type=Path, required=True)
    parser.add_argument("--speed", type=float, default=1.0)
    serve(parser, playing)


if __name__ == "__main__":
    main()
