"""pyst2."""

import os
import sys

from asterisk.manager import Manager
from driver import action_of, host, port, report, say, secret, username

manager = Manager()
manager.connect(host, port)
manager.register_event("UserEvent", lambda event, _: report(event.get_header("UserEvent"), event.get_header("Number")))
manager.login(username, secret)
say("ready")
for line in sys.stdin:
    say("answer", manager.send_action(action_of(line)).get_header("Response"))
os._exit(0)  # its close() logs off and joins its threads, for up to a second each
