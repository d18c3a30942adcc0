#!/usr/bin/env python3
"""Shows the queues of one server in a terminal: callers waiting, longest wait, and free agents.

    python wallboard.py [--server pbx1]

It opens the event stream first and asks for the state afterwards, so no change is missed between the
two. Every queue event, and every gap, makes it ask again.
"""

import argparse
import sys

from amid import AmidError, CallTimeout, Client

EVENTS = (
    "QueueCallerJoin", "QueueCallerLeave", "QueueCallerAbandon", "QueueMemberAdded", "QueueMemberRemoved",
    "QueueMemberPause", "QueueMemberStatus", "amid:connected", "amid:booted", "amid:disconnected",
)  # fmt: skip
NOT_IN_USE = "1"
REFRESH_S = 5.0


def table(client: Client, server: str | None) -> str:
    """The state of all queues, one line each."""
    items = client.action("QueueStatus", server=server)["events"]
    lines = [f"{'queue':<20}{'waiting':>8}{'longest':>10}{'free':>6}{'agents':>8}"]
    for queue in (item["Queue"] for item in items if item["Event"] == "QueueParams"):
        waits = [int(i["Wait"]) for i in items if i["Event"] == "QueueEntry" and i["Queue"] == queue]
        agents = [i for i in items if i["Event"] == "QueueMember" and i["Queue"] == queue]
        free = [agent for agent in agents if agent["Status"] == NOT_IN_USE and agent["Paused"] == "0"]
        longest = f"{max(waits, default=0)} s"
        lines.append(f"{queue:<20}{len(waits):>8}{longest:>10}{len(free):>6}{len(agents):>8}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Show the queues of one server.")
    parser.add_argument("--server", help="needed when there are several")
    server = parser.parse_args().server
    clear = "\x1b[H\x1b[J" if sys.stdout.isatty() else ""
    with Client() as client, client.events(*EVENTS, server=server, gaps=True, timeout=REFRESH_S) as events:
        while True:
            try:
                print(clear + table(client, server), flush=True)
            except AmidError as error:
                print(f"{clear}no queues for now: {error}", flush=True)
            try:
                next(events)
            except CallTimeout:
                continue  # nothing changed, except how long callers have waited


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
