"""asterisk-ami: threads, ActionIDs from 0 on, goes by a packet's first header."""

import json
import os
import sys
import time

from asterisk.ami import AMIClient, SimpleAction

host, port, username, secret = sys.argv[1:]
numbers, originated, found = [], [], {}


def on_event(source, event):
    if event.name == "UserEvent" and event.keys.get("UserEvent") == os.environ["AMI_EVENT"]:
        numbers.append([event.keys["Number"], event.keys["Name"]])
    if event.name == "OriginateResponse" and event.keys["ActionID"] == "own-call":
        originated.append(event.keys["Response"])


def wait(fact):
    end = time.monotonic() + 15
    while not fact() and time.monotonic() < end:
        time.sleep(0.01)


client = AMIClient(address=host, port=int(port), timeout=10)
client.add_event_listener(on_event)
login = client.login(username=username, secret=secret)
assert not login.response.is_error(), login.response
found["ping"] = client.send_action(SimpleAction("Ping")).response.keys["Ping"]
found["command"] = client.send_action(SimpleAction("Command", Command="core show uptime")).response.status
futures = [client.send_action(SimpleAction("Ping")) for _ in range(100)]
found["hundred"] = sum(future.response.keys["Ping"] == "Pong" for future in futures)
for number in range(20):
    answered = client.send_action(
        SimpleAction("UserEvent", UserEvent=os.environ["AMI_EVENT"], Number=number, Name="Grüße")
    ).response
call = SimpleAction("Originate", Channel="Local/answer@calls", Application="Hangup", Async="true")
call.keys["ActionID"] = "own-call"
queued = client.send_action(call).response
wait(lambda: originated and len(numbers) == 20)
found["originate"], found["events"] = originated[0], numbers
found["logoff"] = client.logoff().response.status
print(json.dumps(found))
