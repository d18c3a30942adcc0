"""Prints the events of a PBX, then the answer to a call. Needs `pip install nats-py`.

python consumer.py nats://127.0.0.1:4222 pbx1 [COUNT]
"""

import asyncio
import json
import sys
import time

import nats
from nats.errors import ConnectionClosedError, NoRespondersError, OutboundBufferLimitError
from nats.errors import TimeoutError as NatsTimeout
from nats.js.api import ConsumerConfig


class CallFailed(Exception):
    """kind and sent: see clients/README.md. If sent is true, Asterisk may have executed the action: do
    not repeat it."""

    def __init__(self, kind, sent, message):
        super().__init__(f"{kind}, sent {sent}: {message}")
        self.kind, self.sent = kind, sent


async def call(nc, server, action, fields, timeout=5.0):
    request = {"id": 1, "method": "action", "params": {"action": action, "fields": fields, "timeout": timeout}}
    expires = {"Amid-Expires": str(int((time.time() + timeout) * 1000))}
    try:
        answer = await nc.request(
            f"amid.rpc.{server}.action.{action}", json.dumps(request).encode(), timeout=timeout + 2, headers=expires
        )
    except NoRespondersError:
        raise CallFailed("not_connected", False, f"no amid serves {server} now") from None
    except (OutboundBufferLimitError, ConnectionClosedError):
        raise CallFailed("unreachable", False, "no connection to NATS") from None
    except NatsTimeout:
        raise CallFailed("timeout", True, "no answer") from None
    reply = json.loads(answer.data)
    if "error" in reply:
        data = reply["error"]["data"]
        raise CallFailed(data["kind"], data["sent"], reply["error"]["message"])
    return reply["result"]


async def main(url, server, count):
    # Without a buffer (pending_size): a request is sent at once, or it fails.
    nc = await nats.connect(url, pending_size=-1, max_reconnect_attempts=-1)
    js = nc.jetstream()
    await js.add_consumer(f"AMID_{server}", ConsumerConfig(durable_name="example-python", ack_policy="explicit"))
    events = await js.pull_subscribe_bind("example-python", stream=f"AMID_{server}")
    while count:
        try:
            messages = await events.fetch(min(count, 100), timeout=5)
        except NatsTimeout:
            continue
        for message in messages:
            event = json.loads(message.data)
            print(event["epoch"], event["seq"], event["event"], flush=True)  # handle it, then acknowledge it
            await message.ack()
            count -= 1
    result = await call(nc, server, "Ping", {})
    print(result["response"]["Ping"])
    await nc.close()


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: python consumer.py URL SERVER [COUNT]")
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else -1))
