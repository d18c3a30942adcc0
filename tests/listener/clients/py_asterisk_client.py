"""py-Asterisk: writes each line in a segment of its own, and fails at an answer without an ActionID. It
takes OriginateResponse for an answer (Asterisk/Manager.py, _dispatch_packet), among which it is found
here."""

import json
import os
import sys
import time

from Asterisk.Manager import Manager

host, port, username, secret = sys.argv[1:]
numbers, found = [], {}


def on_user_event(manager, event):
    if event.UserEvent == os.environ["AMI_EVENT"]:
        numbers.append([event.Number, event.Name])


manager = Manager((host, int(port)), username, secret, timeout=15)
manager.events.subscribe("UserEvent", on_user_event)
found["ping"] = manager.Ping().Ping
found["list"] = sorted(manager.QueueStatus())
found["hundred"] = sum(manager.Ping().Ping == "Pong" for _ in range(100))
for number in range(20):
    fields = {"UserEvent": os.environ["AMI_EVENT"], "Number": number, "Name": "Grüße"}
    manager.read_response(manager._write_action("UserEvent", fields))
manager.Originate("Local/answer@calls", application="Hangup", async_param=True, variable=["A=1", "B=2"])
end = time.monotonic() + 15
while not (manager.responses_waiting() and len(numbers) == 20) and time.monotonic() < end:
    manager.read()
found["originate"], found["events"] = manager.response_buffer[0].Response, numbers
manager.close()  # raises if the answer is not Goodbye
print(json.dumps(found))
