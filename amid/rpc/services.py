"""The connected services, and the calls that each has.

A service is a child of the supervisor that answers methods for the broker, such as `state`. A call
waits a moment for a service that is not connected, because it may be starting. When a service ends,
its calls fail with `not_connected`: a service sends no actions for them, so retrying is safe.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator
from typing import Any

from amid.errors import AmidError
from amid.rpc.messages import ServiceHello
from amid.rpc.open_call import OpenCall

SERVICE_GRACE_S = 3.0
"""Time for which a call waits for a service that is not connected."""

SERVICES = {"state": "state", "calls": "recorder", "call": "recorder"}
"""Method -> name of the service that answers it. `events` with `kinds` also goes to "state"."""


def not_enabled(name: str, method: str) -> AmidError:
    """The error for a method whose service the configuration does not enable."""
    message = f"`{method}` needs the process {name}, which the configuration does not enable: see [{name}] in amid.toml"
    return AmidError("not_connected", message)


class Services:
    """configured: the names of the services that the configuration enables. reports: the last
    report of each, for `status`."""

    def __init__(self) -> None:
        self.configured: Collection[str] = ()
        self.reports: dict[str, dict[str, Any]] = {}
        self._links: dict[str, Any] = {}
        self._waiting: OrderedDict[int, tuple[OpenCall, str, float]] = OrderedDict()
        self._handed: dict[int, OpenCall] = {}

    def __iter__(self) -> Iterator[OpenCall]:
        """The open calls."""
        yield from [call for call, _, _ in self._waiting.values()]
        yield from list(self._handed.values())

    def check(self, name: str, method: str) -> None:
        """Raise `AmidError` of kind `not_connected` if the configuration disables this service."""
        if name not in self.configured:
            raise not_enabled(name, method)

    def add(self, call: OpenCall, name: str, now: float) -> Any:
        """Take a call. Returns the link of its service, or None if it waits for one."""
        link = self._links.get(name)
        if link is None:
            self._waiting[call.call_id] = call, name, now + SERVICE_GRACE_S
        else:
            self._hand(call, link)
        return link

    def connected(self, link: Any, hello: ServiceHello) -> list[OpenCall]:
        """Note a new service. Returns the calls that waited for it."""
        self._links[hello.name] = link
        calls = [call for call, name, _ in self._waiting.values() if name == hello.name]
        for call in calls:
            del self._waiting[call.call_id]
            self._hand(call, link)
        return calls

    def lost(self, link: Any) -> list[OpenCall]:
        """Note the end of a service. Returns its calls; `remove` must follow for each."""
        self._links = {name: other for name, other in self._links.items() if other is not link}
        self.reports = {name: report for name, report in self.reports.items() if name in self._links}
        return [call for call in self._handed.values() if call.link is link]

    def _hand(self, call: OpenCall, link: Any) -> None:
        self._handed[call.call_id] = call
        call.link = link

    def remove(self, call: OpenCall) -> None:
        """Drop a call that has ended for its caller."""
        self._waiting.pop(call.call_id, None)
        self._handed.pop(call.call_id, None)

    def overdue(self, now: float) -> list[OpenCall]:
        """The calls that have waited too long for their service; `remove` must follow for each."""
        return [call for call, _, until in self._waiting.values() if until <= now]

    def next_deadline(self) -> float | None:
        """When the next call is overdue, in monotonic seconds."""
        first = next(iter(self._waiting.values()), None)
        return first[2] if first is not None else None
