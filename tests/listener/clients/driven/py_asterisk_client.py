"""py-Asterisk: raises an answer with Error, so the answers are read without its check."""

import sys

from Asterisk.Manager import Manager
from driver import NAME, host, port, report, say, secret, username

manager = Manager((host, port), username, secret, timeout=30)
manager.events.subscribe("UserEvent", lambda _, event: report(event.UserEvent, event.Number))
say("ready")
for line in sys.stdin:
    command, value = line.split()
    action, fields = {
        "event": ("UserEvent", {"UserEvent": NAME, "Number": value}),
        "mask": ("Events", {"EventMask": value}),
        "ping": ("Ping", {}),
    }[command]
    say("answer", manager.read_response(manager._write_action(action, fields)).Response)
