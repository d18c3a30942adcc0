"""panoramisk."""

import asyncio
import sys

from driver import action_of, host, port, report, say, secret, username
from panoramisk import Manager


async def main():
    manager = Manager(host=host, port=port, username=username, secret=secret, ping_delay=0)
    manager.register_event("UserEvent", lambda _, event: report(event.UserEvent, event.Number))
    await asyncio.wait_for(manager.connect(), 10)
    say("ready")
    while line := await asyncio.to_thread(sys.stdin.readline):
        say("answer", (await manager.send_action(action_of(line))).Response)
    manager.close()


asyncio.run(main())
