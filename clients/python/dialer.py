#!/usr/bin/env python3
"""Calls every number on standard input, three at a time, and connects answered calls to an extension.

    python dialer.py --channel 'Local/{}@outbound' --extension 100@default < numbers.txt

A call is repeated only when Asterisk certainly never received it (`sent` is False), so nobody is
called twice by mistake. Exit status 1: at least one number was not reached.
"""

import argparse
import asyncio
import sys

from amid import AmidError, AsyncClient

AT_ONCE = 3
ATTEMPTS = 5
PAUSE_S = 2.0
PASSING = {"busy", "not_connected", "unreachable", "timeout"}
"""Kinds of errors that another attempt may not meet."""


async def dial(client: AsyncClient, channel: str, extension: str) -> str:
    """Make one call and return how it ended: the Response header of OriginateResponse."""
    exten, _, context = extension.partition("@")
    fields = {"Channel": channel, "Exten": exten, "Context": context, "Priority": 1, "Async": True}
    for attempt in range(1, ATTEMPTS + 1):
        try:
            answer = await client.action("Originate", fields, until="OriginateResponse", timeout=60)
            return str(answer["until"]["Response"])
        except AmidError as error:
            if error.sent or error.kind not in PASSING or attempt == ATTEMPTS:
                return f"{error.kind}, {'may have been dialled' if error.sent else 'not dialled'}: {error}"
            await asyncio.sleep(PAUSE_S)
    raise AssertionError("the last attempt returns")


async def main() -> int:
    parser = argparse.ArgumentParser(description="Call every number on standard input.")
    parser.add_argument("--channel", required=True, help="what to dial; {} is replaced by the number")
    parser.add_argument("--extension", required=True, help="EXTEN@CONTEXT for calls that are answered")
    options = parser.parse_args()
    numbers = sys.stdin.read().split()
    slots = asyncio.Semaphore(AT_ONCE)

    async def dial_one(number: str) -> bool:
        async with slots:
            outcome = await dial(client, options.channel.replace("{}", number), options.extension)
            print(f"{number}: {outcome}", flush=True)
            return outcome == "Success"

    async with AsyncClient() as client:
        return 0 if all(await asyncio.gather(*map(dial_one, numbers))) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
