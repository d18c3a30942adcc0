"""pystrix: threads, a Challenge, aggregated lists."""

import json
import os
import sys
import time

import pystrix

host, port, username, secret = sys.argv[1:]
numbers, originated, found = [], [], {}
core = pystrix.ami.core


def wait(fact):
    end = time.monotonic() + 15
    while not fact() and time.monotonic() < end:
        time.sleep(0.01)


def on_event(event, manager):
    if event.name == "UserEvent" and event.get("UserEvent") == os.environ["AMI_EVENT"]:
        numbers.append([event["Number"], event["Name"]])
    if event.name == "OriginateResponse":
        originated.append(event["Response"])


class UserEvent(pystrix.ami.ami._Request):
    def __init__(self, number):
        super().__init__("UserEvent")
        self["UserEvent"], self["Number"], self["Name"] = os.environ["AMI_EVENT"], str(number), "Gruesse"


manager = pystrix.ami.Manager()
manager.register_callback(None, on_event)
manager.register_callback("", on_event)
manager.connect(host, int(port))
challenge = manager.send_action(core.Challenge()).result["Challenge"]
found["login"] = manager.send_action(core.Login(username, secret, challenge)).success
found["ping"] = bool(manager.send_action(core.Ping()).result)
found["command"] = manager.send_action(core.Command("core show uptime")).success
found["hundred"] = sum(bool(manager.send_action(core.Ping()).result) for _ in range(100))
for number in range(20):
    manager.send_action(UserEvent(number))
wait(lambda: len(numbers) >= 20)
found["events"] = numbers
manager.close()  # without Logoff, whose Goodbye it takes for a failure (ami/core.py), and may wait for without end
print(json.dumps(found))
