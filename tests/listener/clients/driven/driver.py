"""What drivers have in common: the arguments, and the actions that they send (driven_client.py)."""

import os
import sys

host, port, username, secret = sys.argv[1:]
port = int(port)
NAME = os.environ["AMI_EVENT"]


def action_of(line):
    """The fields of the action that a line of standard input stands for."""
    command, value = line.split()
    return {
        "event": {"Action": "UserEvent", "UserEvent": NAME, "Number": value},
        "mask": {"Action": "Events", "EventMask": value},
        "ping": {"Action": "Ping"},
    }[command]


def say(*words):
    """Write a line at once: with `print`, those of two threads mix."""
    os.write(1, " ".join(words).encode() + b"\n")


def report(name, number):
    """Say an event if it is one of this client."""
    if name == NAME:
        say("event", number)
