"""pyst2: takes answers by their order.

Its thread that reads closes the socket at the end, perhaps before `send_action` flushes Logoff
(asterisk/manager.py). The answer is in its queue then.
"""

import json
import os
import sys
import time

from asterisk.manager import Manager

host, port, username, secret = sys.argv[1:]
numbers, originated, found = [], [], {}


def on_user_event(event, manager):
    if event.get_header("UserEvent") == os.environ["AMI_EVENT"]:
        numbers.append([event.get_header("Number"), event.get_header("Name")])


def wait(fact):
    end = time.monotonic() + 15
    while not fact() and time.monotonic() < end:
        time.sleep(0.01)


def log_off():
    try:
        return manager.logoff()
    except ValueError:  # flush of closed file
        return manager._response_queue.get(timeout=15)


manager = Manager()
manager.connect(host, int(port))
manager.register_event("UserEvent", on_user_event)
manager.register_event("OriginateResponse", lambda event, manager: originated.append(event.get_header("Response")))
found["login"] = manager.login(username, secret).get_header("Response")
found["ping"] = manager.ping().get_header("Ping")
found["command"] = manager.command("core show uptime").get_header("Response")
found["hundred"] = sum(manager.ping().get_header("Ping") == "Pong" for _ in range(100))
for number in range(20):
    manager.send_action({"Action": "UserEvent", "UserEvent": os.environ["AMI_EVENT"], "Number": str(number), "Name": "Gruesse"})
manager.originate("Local/answer@calls", "", application="Hangup", run_async=True)
wait(lambda: originated and len(numbers) == 20)
found["originate"], found["events"] = originated[0], numbers
found["logoff"] = log_off().get_header("Response")
wait(lambda: not manager.connected())  # its close() logs off again while it has not seen the end
manager.close()
print(json.dumps(found))
