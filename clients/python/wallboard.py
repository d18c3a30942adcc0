#!/usr/bin/env python3
"""Shows the queues of one server in a terminal: callers waiting, longest wait, and free agents.

    python wallboard.py [--server pbx1]

amid keeps the state of the queues. This program follows its changes, and has the whole state at each of them.
"""

import argparse
import contextlib
import sys
import time
from typing import Any

from amid import CallTimeout, Client

REFRESH_S = 5.0

Things = dict[str, dict[str, dict[str, Any]]]


def table(things: Things) -> str:
    """The state of all queues, one line each."""
    lines = [f"{'queue':<20}{'waiting':>8}{'longest':>10}{'free':>6}{'agents':>8}"]
    for queue in things["queues"]:
        since = [caller["since"] for caller in things["callers"].values() if caller["queue"] == queue]
        agents = [member for member in things["members"].values() if member["queue"] == queue]
        free = [agent for agent in agents if agent["status"] == "not in use" and not agent["paused"]]
        longest = f"{time.time() - min(since):.0f} s" if since else ""
        lines.append(f"{queue:<20}{len(since):>8}{longest:>10}{len(free):>6}{len(agents):>8}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Show the queues of one server.")
    parser.add_argument("--server", help="needed when there are several")
    server = parser.parse_args().server
    clear = "\x1b[H\x1b[J" if sys.stdout.isatty() else ""
    with Client() as client:
        changes = client.changes(server, ["queues", "members", "callers"], timeout=REFRESH_S)
        while True:
            with contextlib.suppress(CallTimeout):  # nothing changed, except how long callers have waited
                next(changes)
            print(clear + table(changes.view.things), flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
