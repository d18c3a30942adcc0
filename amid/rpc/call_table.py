"""The open calls, by id, by principal, by connection and by deadline."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from amid.rpc.deadlines import Deadlines
from amid.rpc.open_call import OpenCall


class CallTable:
    """by_principal: the number of open calls of each principal that has any."""

    def __init__(self) -> None:
        self._calls: dict[int, OpenCall] = {}
        self._by_connection: dict[Hashable, dict[int, OpenCall]] = {}
        self.by_principal: dict[str, int] = {}
        self.deadlines = Deadlines(self._calls)

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[OpenCall]:
        return iter(self._calls.values())

    def get(self, call_id: int) -> OpenCall | None:
        return self._calls.get(call_id)

    def of_connection(self, connection: Hashable) -> list[OpenCall]:
        """The calls that arrived on a connection, in order."""
        return list(self._by_connection.get(connection, {}).values())

    def add(self, call: OpenCall) -> None:
        self._calls[call.call_id] = call
        self.by_principal[call.principal] = self.by_principal.get(call.principal, 0) + 1
        self._by_connection.setdefault(call.origin.connection, {})[call.call_id] = call
        self.deadlines.add(call)

    def remove(self, call: OpenCall) -> None:
        del self._calls[call.call_id]
        self.by_principal[call.principal] -= 1
        if not self.by_principal[call.principal]:
            del self.by_principal[call.principal]
        own = self._by_connection[call.origin.connection]
        del own[call.call_id]
        if not own:
            del self._by_connection[call.origin.connection]
