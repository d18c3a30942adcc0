"""pyst2."""

import os
import sys

from asterisk.manager import Manager

host, port, username, secret = sys.argv[1:]
NAME = os.environ["AMI_EVENT"]


def on_user_event(event, manager):
    if event.get_header("UserEvent") == NAME:
        print("event", event.get_header("Number"), flush=True)


manager = Manager()
manager.connect(host, int(port))
manager.register_event("UserEvent", on_user_event)
manager.login(username, secret)
print("ready", flush=True)
for line in sys.stdin:
    command, value = line.split()
    action = {
        "event": {"Action": "UserEvent", "UserEvent": NAME, "Number": value},
        "mask": {"Action": "Events", "EventMask": value},
        "ping": {"Action": "Ping"},
    }[command]
    print("answer", manager.send_action(action).get_header("Response"), flush=True)
os._exit(0)  # its close() logs off and joins its threads, for up to a second each
