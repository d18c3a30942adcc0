"""pystrix. It has no UserEvent, and gives an action up after 5 s by default."""

import os
import sys

import pystrix
from driver import NAME, host, port, report, say, secret, username

core = pystrix.ami.core


class UserEvent(pystrix.ami.ami._Request):
    def __init__(self, number):
        super().__init__("UserEvent")
        self["UserEvent"], self["Number"] = NAME, number


def on_event(event, manager):
    if event.name == "UserEvent":
        report(event["UserEvent"], event["Number"])


manager = pystrix.ami.Manager()
manager.register_callback(None, on_event)
manager.register_callback("", on_event)
manager.connect(host, port)
challenge = manager.send_action(core.Challenge()).result["Challenge"]
assert manager.send_action(core.Login(username, secret, challenge)).success
say("ready")
for line in sys.stdin:
    command, value = line.split()
    action = {"event": UserEvent, "mask": core.Events, "ping": lambda _: core.Ping()}[command](value)
    action.timeout = 30
    say("answer", manager.send_action(action).response["Response"])
os._exit(0)  # its close() waits for a thread that reads until its timeout (ami/ami.py)
