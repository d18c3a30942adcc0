"""The harness of the Python client; clients/CONFORMANCE.md says what it does."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from amid import Client, wire
from amid.client import Event
from amid.client.protocol import Call
from amid.errors import AmidError
from tests.languages.notation import meant, shown


class Harness:
    """A method for each `do`; it gives the lines of its answer."""

    def __init__(self, run_dir: str | None) -> None:
        self._client = Client(run_dir)

    def decode(self, hex: str) -> Iterator[Any]:
        yield {"value": wire.unpack(bytes.fromhex(hex))}

    def encode(self, value: Any) -> Iterator[Any]:
        yield {"hex": wire.pack(value).hex()}

    def call(self, method: str, params: dict[str, Any]) -> Iterator[Any]:
        try:
            yield {"result": self._result(method, params)}
        except AmidError as error:
            yield {"error": {"message": error.message, **error.data()}}

    def _result(self, method: str, params: dict[str, Any]) -> Any:
        client = self._client
        if method == "action":
            given = dict(params)
            return client.action(given.pop("action"), given.pop("fields", None), **given)
        if method == "events":
            return client.pull(**params)
        if method in wire.METHODS:
            return getattr(client, method)(**params)
        return client.call(Call(method, params, 6.0))

    def calls(self, count: int, at_once: int) -> Iterator[Any]:
        with ThreadPoolExecutor(at_once) as pool:
            right = sum(pool.map(self._ping, range(count)))
        yield {"right": right, "wrong": count - right, "at_once": at_once}

    def _ping(self, number: int) -> bool:
        answer = self._client.action("Ping", {"ActionID": f"own-{number}"}, server="pbx1")
        return bool(answer["response"]["ActionID"] == f"own-{number}")

    def events(self, names: list[str] | None, server: str, count: int, timeout: float) -> Iterator[Any]:
        with self._client.events(*(names or ()), server=server, gaps=True, timeout=timeout) as stream:
            yield {"listening": True}
            while count:
                try:
                    item = next(stream)
                except AmidError:
                    break
                count -= isinstance(item, Event)
                yield {"event" if isinstance(item, Event) else "gap": dataclasses.asdict(item)}
            yield {"end": True, "missed": stream.missed}

    def changes(self, kinds: list[str], server: str, resets: int, timeout: float) -> Iterator[Any]:
        changes = self._client.changes(server, kinds, timeout)
        try:
            for change in changes:
                if change["kind"] == "reset":
                    resets -= 1
                    change = {**change, "state": {kind: list(things.values()) for kind, things in changes.view.things.items()}}
                yield {"change": change}
                if not resets:
                    break
        except AmidError as error:
            yield {"error": {"message": error.message, **error.data()}}
        else:
            yield {"end": True}


def main() -> None:
    harness = Harness(sys.argv[1] if len(sys.argv) > 1 else None)
    for line in sys.stdin:
        asked = meant(json.loads(line))
        for answer in getattr(harness, asked.pop("do"))(**asked):
            print(json.dumps(shown(answer)), flush=True)


if __name__ == "__main__":
    main()
