"""panoramisk: asyncio, an ActionID for each action.

The ActionID of the call is its own: panoramisk takes the first OriginateResponse with it for that
of this call (`Action.add_message`, actions.py), also if another program sent the same one.
"""

import asyncio
import json
import os
import sys

from panoramisk import Manager

host, port, username, secret = sys.argv[1:]


async def main():
    found, numbers = {}, []
    manager = Manager(host=host, port=int(port), username=username, secret=secret, ping_delay=0)

    def on_user_event(_, event):
        if event.UserEvent == os.environ["AMI_EVENT"]:
            numbers.append([event.Number, event.Name])

    manager.register_event("UserEvent", on_user_event)
    await asyncio.wait_for(manager.connect(), 10)
    found["ping"] = (await manager.send_action({"Action": "Ping"})).Ping
    commands = await manager.send_command("core show channeltypes")
    found["command"] = (
        any("Local" in line for line in commands.content.splitlines()) if commands.content else "Local" in str(commands)
    )
    listed = await manager.send_action({"Action": "QueueStatus"})
    found["list"] = [packet.Event for packet in listed if packet.event][-1]
    pings = [manager.send_action({"Action": "Ping"}) for _ in range(100)]
    found["hundred"] = sum(answer.Ping == "Pong" for answer in await asyncio.gather(*pings))
    for number in range(20):
        await manager.send_action(
            {"Action": "UserEvent", "UserEvent": os.environ["AMI_EVENT"], "Number": str(number), "Name": "Grüße"}
        )
    own_id = os.environ["AMI_EVENT"] + "-call"
    call = {
        "Action": "Originate",
        "Channel": "Local/answer@calls",
        "Application": "Hangup",
        "Async": "true",
        "ActionID": own_id,
    }
    *_, ended = await asyncio.wait_for(manager.send_action({**call, "Variable": ["A=1", "B=2"]}), 15)
    found["originate"] = [ended.Event, ended.Response, ended.ActionID == own_id]
    found["events"] = numbers
    found["logoff"] = (await manager.send_action({"Action": "Logoff"})).Response
    manager.close()
    print(json.dumps(found))


asyncio.run(main())
