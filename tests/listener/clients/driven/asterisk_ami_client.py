"""asterisk-ami."""

import sys

from asterisk.ami import AMIClient, SimpleAction
from driver import NAME, host, port, report, say, secret, username


def on_event(source, event):
    if event.name == "UserEvent":
        report(event.keys.get("UserEvent"), event.keys["Number"])


client = AMIClient(address=host, port=port, timeout=30)
client.add_event_listener(on_event)
assert not client.login(username=username, secret=secret).response.is_error()
say("ready")
for line in sys.stdin:
    command, value = line.split()
    action = {
        "event": SimpleAction("UserEvent", UserEvent=NAME, Number=value),
        "mask": SimpleAction("Events", EventMask=value),
        "ping": SimpleAction("Ping"),
    }[command]
    say("answer", client.send_action(action).response.status)
client.logoff()
