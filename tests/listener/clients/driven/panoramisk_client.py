"""panoramisk."""

import asyncio
import os
import sys

from panoramisk import Manager

host, port, username, secret = sys.argv[1:]
NAME = os.environ["AMI_EVENT"]


async def main():
    manager = Manager(host=host, port=int(port), username=username, secret=secret, ping_delay=0)
    manager.register_event("UserEvent", lambda _, event: event.UserEvent == NAME and print("event", event.Number, flush=True))
    await asyncio.wait_for(manager.connect(), 10)
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        command, value = line.split()
        action = {
            "event": {"Action": "UserEvent", "UserEvent": NAME, "Number": value},
            "mask": {"Action": "Events", "EventMask": value},
            "ping": {"Action": "Ping"},
        }[command]
        print("answer", (await manager.send_action(action)).Response, flush=True)
    manager.close()


asyncio.run(main())
