"""`python -m amid.simulator`: the simulated PBX as a process."""

from __future__ import annotations

import argparse

from amid.simulator.command_line import serve
from amid.simulator.server import SimulatedPbx
from amid.simulator.session import User


def simulated(options: argparse.Namespace, user: User) -> SimulatedPbx:
    return SimulatedPbx(options.host, options.port, [user], options.calls_per_minute, options.seed)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m amid.simulator", description="A simulated PBX that speaks AMI.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--calls-per-minute", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    serve(parser, simulated)


if __name__ == "__main__":
    main()
