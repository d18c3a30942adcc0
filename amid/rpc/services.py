"""The connected services, and the calls that wait for one.

A service is a child of the supervisor that answers methods for the broker, such as `state`. A call
waits a moment for a service that is not connected, because it may be starting. When a service ends,
its calls fail with `not_connected`: a service sends no actions for them, so retrying is safe.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from typing import Any

from amid.errors import AmidError
from amid.rpc.messages import ServiceHello
from amid.rpc.open_call import Effect, OpenCall, Send

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

    def check(self, name: str, method: str) -> None:
        """Raise `AmidError` of kind `not_connected` if the configuration disables this service."""
        if name not in self.configured:
            raise not_enabled(name, method)

    def add(self, call: OpenCall, name: str, now: float) -> list[Effect]:
        """Hand a call to its service, or let it wait a moment for one that is not connected."""
        call.link = self._links.get(name)
        if call.link is not None:
            return [Send(call.link, call.request)]
        self._waiting[call.call_id] = call, name, now + SERVICE_GRACE_S
        return []

    def connected(self, link: Any, hello: ServiceHello) -> list[Effect]:
        """Note a new service, and hand it the calls that waited for it."""
        self._links[hello.name] = link
        calls = [call for call, name, _ in self._waiting.values() if name == hello.name]
        for call in calls:
            del self._waiting[call.call_id]
            call.link = link
        return [Send(link, call.request) for call in calls]

    def lost(self, link: Any) -> None:
        """Note the end of a service."""
        self._links = {name: other for name, other in self._links.items() if other is not link}
        self.reports = {name: report for name, report in self.reports.items() if name in self._links}

    def remove(self, call: OpenCall) -> None:
        """Drop a call that has ended for its caller."""
        self._waiting.pop(call.call_id, None)

    def overdue(self, now: float) -> list[OpenCall]:
        """The calls that have waited too long for their service; `remove` must follow for each."""
        return [call for call, _, until in self._waiting.values() if until <= now]

    def next_deadline(self) -> float | None:
        """When the next call is overdue, in monotonic seconds."""
        first = next(iter(self._waiting.values()), None)
        return first[2] if first is not None else None
