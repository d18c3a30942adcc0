"""py-Asterisk: raises an answer with Error, so the answers are read without its check."""

import os
import sys

from Asterisk.Manager import Manager

host, port, username, secret = sys.argv[1:]
NAME = os.environ["AMI_EVENT"]


def on_user_event(manager, event):
    if event.UserEvent == NAME:
        print("event", event.Number, flush=True)


manager = Manager((host, int(port)), username, secret, timeout=30)
manager.events.subscribe("UserEvent", on_user_event)
print("ready", flush=True)
for line in sys.stdin:
    command, value = line.split()
    action, fields = {
        "event": ("UserEvent", {"UserEvent": NAME, "Number": value}),
        "mask": ("Events", {"EventMask": value}),
        "ping": ("Ping", {}),
    }[command]
    print("answer", manager.read_response(manager._write_action(action, fields)).Response, flush=True)
