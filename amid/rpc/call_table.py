"""The open calls, by id, by principal, by connection and by deadline."""

from __future__ import annotations

from collections.abc import Hashable

from amid.rpc.deadlines import Deadlines
from amid.rpc.open_call import OpenCall


class CallTable(dict[int, OpenCall]):
    """The calls by id. Only `add` and `remove` change it.

    by_principal: the number of open calls of each principal that has any.
    """

    def __init__(self) -> None:
        self._by_connection: dict[Hashable, dict[int, OpenCall]] = {}
        self.by_principal: dict[str, int] = {}
        self.deadlines = Deadlines(self)

    def of_connection(self, connection: Hashable) -> list[OpenCall]:
        """The calls that arrived on a connection, in order."""
        return list(self._by_connection.get(connection, {}).values())

    def add(self, call: OpenCall) -> None:
        self[call.call_id] = call
        self.by_principal[call.principal] = self.by_principal.get(call.principal, 0) + 1
        self._by_connection.setdefault(call.origin.connection, {})[call.call_id] = call
        self.deadlines.add(call)

    def remove(self, call: OpenCall) -> None:
        del self[call.call_id]
        self.by_principal[call.principal] -= 1
        if not self.by_principal[call.principal]:
            del self.by_principal[call.principal]
        own = self._by_connection[call.origin.connection]
        del own[call.call_id]
        if not own:
            del self._by_connection[call.origin.connection]
