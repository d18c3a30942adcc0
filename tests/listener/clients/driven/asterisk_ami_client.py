"""asterisk-ami."""

import os
import sys

from asterisk.ami import AMIClient, SimpleAction

host, port, username, secret = sys.argv[1:]
NAME = os.environ["AMI_EVENT"]


def on_event(source, event):
    if event.name == "UserEvent" and event.keys.get("UserEvent") == NAME:
        print("event", event.keys["Number"], flush=True)


client = AMIClient(address=host, port=int(port), timeout=30)
client.add_event_listener(on_event)
assert not client.login(username=username, secret=secret).response.is_error()
print("ready", flush=True)
for line in sys.stdin:
    command, value = line.split()
    action = {
        "event": SimpleAction("UserEvent", UserEvent=NAME, Number=value),
        "mask": SimpleAction("Events", EventMask=value),
        "ping": SimpleAction("Ping"),
    }[command]
    print("answer", client.send_action(action).response.status, flush=True)
client.logoff()
