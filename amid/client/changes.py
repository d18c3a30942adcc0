"""The iterator of changes of the live state for blocking programs, a thin shell on `view`.
`async_changes` has the iterator for asyncio."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from amid.client import protocol
from amid.client.event import WAIT_S
from amid.client.view import View
from amid.errors import AmidError, CallTimeout

Change = dict[str, Any]


class Changes(Iterator[Change]):
    """An endless iterator of changes of the live state, created by `Client.changes`.

    A change is a dictionary with `server`, `epoch`, `seq`, `rev`, `kind` (in the singular, such as
    `channel`) and `id`. Its `set` has the members with new values, all of them if the thing is new;
    `gone` instead is true if the thing no longer exists. The first change, and the first one after
    a loss, has the kind `reset`, an empty `id` and neither: the state was requested as a whole, and
    `view` has it.

    Temporary errors are retried. With a timeout, `next` raises `CallTimeout` when no change has
    arrived in time, and can be called again.

    Attributes:
        view: the state including this change. `view.things` maps the plural of a kind (`channels`)
            to a dictionary from `id` to the members of each thing. Queues and conferences have no
            lists of members there: name the kinds `members`, `callers` and `participants`.
            `view.exact` and `view.detail` are those of the last whole state, as in `State`.
    """

    def __init__(self, call: Callable[[protocol.Call], Any], view: View, timeout: float | None) -> None:
        self.view = view
        self._call = call
        self._timeout = timeout
        self._changes: Iterator[Change] = iter(())

    def __next__(self) -> Change:
        began = time.monotonic()
        while True:
            change = next(self._changes, None)
            if change is not None:
                return change
            left = wait_of(self._timeout, began)
            try:
                self._changes = self.view.take(self._call(self.view.request(left)))
            except AmidError as error:
                time.sleep(min(self.view.refused(error), max(0.0, left)))


def wait_of(timeout: float | None, began: float) -> float:
    """Seconds that the next request may wait. began: monotonic time of the call of `next`. Raises
    `CallTimeout` when the timeout has passed."""
    if timeout is None:
        return WAIT_S
    left = began + timeout - time.monotonic()
    if left < 0:
        raise CallTimeout("timeout", f"no change arrived within {timeout:g} s; the iterator can be used again")
    return min(WAIT_S, left)
