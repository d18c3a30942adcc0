#!/usr/bin/env python3
"""Opens the customer's page in the browser when a phone rings.

    python crm_popup.py --phone PJSIP/alice --url 'https://crm.example.com/search?number={}'

The environment variable BROWSER names another program than the default browser, as in BROWSER='echo %s'.
"""

import argparse
import sys
import webbrowser
from collections.abc import Iterable, Iterator
from urllib.parse import quote

from amid import AmidError, Client, Event, Gap

UNKNOWN = "<unknown>"


def incoming(events: Iterable[Event | Gap], phone: str) -> Iterator[str]:
    """The number of each caller for whom this phone begins to ring."""
    for event in events:
        if isinstance(event, Event) and str(event["DestChannel"]).rpartition("-")[0] == phone:
            number = str(event.get("CallerIDNum", UNKNOWN))
            if number != UNKNOWN:
                yield number


def main() -> None:
    parser = argparse.ArgumentParser(description="Open the customer's page when a phone rings.")
    parser.add_argument("--phone", required=True, help="the channel without its last part, as in PJSIP/alice")
    parser.add_argument("--url", required=True, help="the page to open; {} is replaced by the caller's number")
    parser.add_argument("--server", help="needed when the phone's name exists on several")
    options = parser.parse_args()
    with Client() as client, client.events("DialBegin", server=options.server) as events:
        print(f"waiting for calls to {options.phone}", flush=True)
        for number in incoming(events, options.phone):
            webbrowser.open(options.url.replace("{}", quote(number, safe="")))


if __name__ == "__main__":
    try:
        main()
    except AmidError as error:
        sys.exit(f"{error.kind}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
