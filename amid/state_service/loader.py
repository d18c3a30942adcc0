"""Loads and reconciles the state of one server: requests lists between two barriers."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from amid.ami.event_batch import BLANK
from amid.ami.packet import Packet
from amid.client import AsyncClient
from amid.client.event import TEMPORARY_ERRORS
from amid.client.protocol import TIMEOUT
from amid.client.results import ActionResult
from amid.errors import AmidError
from amid.process.loop import clock
from amid.state.lists import ALL_GROUPS, GROUPS, Item, Listing
from amid.state.server_state import BARRIER, BLIND, STEP_THINGS, Load, ServerState

log = logging.getLogger("amid.state")

LIST_TIMEOUT_S = 30.0
"""Timeout of the action of one list."""
FIRST_BARRIER_TIMEOUT_S = 1.0
"""Time for the event of a barrier to arrive if none has arrived before."""
BARRIER_TIMEOUT_S = 30.0
"""The same after one has arrived. The events of an overloaded Asterisk lag by seconds."""
RETRY_S = 0.5
"""Time between attempts to load."""
STATISTICS_DELAY_S = 1.0
"""Time after which the statistics of a queue are read after a change."""
EMPTY_LIST = "no "
"""The beginning of Asterisk's error for an empty list: "No active conferences."."""
NOT_LOADED = "invalid/unknown command"
"""Asterisk's error for an action whose module is not loaded."""

T = TypeVar("T")
Check = Callable[[str, Mapping[str, Any]], object]


class Loader:
    """`run` keeps `state` loaded until it is cancelled.

    check: raises `AmidError` for an action that the broker would deny. Such an action is not sent,
    because each denial is audited. on_change: called after each load and attempt. lag_s: how long
    the last barrier took, None before the first one. failure: why the last load failed, "" if it succeeded.
    """

    def __init__(
        self, client: AsyncClient, state: ServerState, reconcile_s: float, check: Check, on_change: Callable[[], object]
    ) -> None:
        self._client = client
        self._state = state
        self._reconcile_s = reconcile_s
        self._check = check
        self._on_change = on_change
        self._barriers: dict[str, asyncio.Future[bool]] = {}
        """Value of a barrier that was set -> whether its event arrives."""
        self._numbers = itertools.count(1)
        self._barriers_work = False
        self._barrier_error = ""
        self._refused: dict[str, str] = {}
        """Groups that may not be listed, and why. A reconciliation does not request them again."""
        self.lag_s: float | None = None
        self.failure = ""
        self._work_due = asyncio.Event()

    def wake(self) -> None:
        """Check now whether something must be loaded."""
        self._work_due.set()

    def pass_barriers(self, barriers: list[str]) -> None:
        """The events of these barriers have arrived."""
        for barrier in barriers:
            passed = self._barriers.get(barrier)
            if passed is not None and not passed.done():
                passed.set_result(True)

    def begin_epoch(self) -> None:
        """Give up the barriers of the last epoch."""
        self._barriers_work = False
        for passed in self._barriers.values():
            if not passed.done():
                passed.set_result(False)
        self.wake()

    async def run(self) -> None:
        next_reconcile = clock.monotonic()
        while True:
            self._work_due.clear()
            load = self._next_load(clock.monotonic() >= next_reconcile)
            if load is None:
                await self._sleep(next_reconcile - clock.monotonic())
                continue
            try:
                await self._execute(load)
                self.failure = ""
            except AmidError as error:
                self._state.abandon_load(load)
                self.failure = error.message
                if error.kind not in TEMPORARY_ERRORS:
                    log.warning("%s: cannot load its state: %s", self._state.server, error.message)
                await asyncio.sleep(RETRY_S)
            if load.groups == ALL_GROUPS:
                next_reconcile = clock.monotonic() + self._reconcile_s
            self._on_change()

    async def _sleep(self, seconds: float) -> None:
        if self._state.model.stale_queues:
            seconds = min(seconds, STATISTICS_DELAY_S)
        try:
            await asyncio.wait_for(self._work_due.wait(), max(0.0, seconds))
        except TimeoutError:
            return
        if self._state.model.stale_queues and not self._state.outdated:
            await asyncio.sleep(STATISTICS_DELAY_S)  # several calls end at the same time

    def _next_load(self, reconciles: bool) -> Load | None:
        state = self._state
        if not state.ready:
            return Load(ALL_GROUPS) if state.epoch else None
        if state.outdated:
            return Load(tuple(group for group in ALL_GROUPS if group in state.outdated))
        if reconciles:
            return Load(ALL_GROUPS, reconciles=True)
        if state.model.stale_queues:
            return Load(("queues",), statistics_only=True)
        return None

    async def _execute(self, load: Load) -> None:
        """Raises `AmidError` if a list cannot be had now."""
        state = self._state
        state.begin_load(load)
        exact = await self._pass_barrier(load)
        requested_at = clock.wall()
        for group in load.groups:
            items = await self._list_group(load, group)
            for portion in _portions(items):
                load.add(portion, requested_at)
                await asyncio.sleep(0)
        exact = exact and await self._pass_barrier()
        self._explain(load, exact)
        was_blind = state.blind
        for _ in state.finish_load(load, exact, clock.wall()):
            await asyncio.sleep(0)
        if state.blind and not was_blind:
            log.warning("%s: its state is up to %g s old: %s", state.server, self._reconcile_s, BLIND)
        if load.reconciles and state.last_corrections:
            self._log_corrections()

    async def _pass_barrier(self, begins: Load | None = None) -> bool:
        """Set a barrier and wait for its event. False if amid cannot set one or receive its event.

        begins: the load whose first barrier it is.
        """
        value = f"{os.getpid()}-{next(self._numbers)}"
        if begins is not None:
            begins.first_barrier = value
        passed = self._barriers[value] = asyncio.get_running_loop().create_future()
        began = clock.monotonic()
        try:
            await self._action("Setvar", {"Variable": BARRIER, "Value": value})
            if not await asyncio.wait_for(passed, BARRIER_TIMEOUT_S if self._barriers_work else FIRST_BARRIER_TIMEOUT_S):
                raise AmidError("connection_lost", "the event session ended during a load of the state")
        except AmidError as error:
            if error.kind not in ("action_failed", "denied"):
                raise
            self._barriers_work = False
            self._barrier_error = f"amid may not set a global variable (write = call in manager.conf): {error.message}"
        except TimeoutError:
            self._barriers_work = False
            self._barrier_error = "amid's user lacks read = dialplan in manager.conf (no VarSet came), or Asterisk is overloaded"
        else:
            self._barriers_work = True
            self.lag_s = clock.monotonic() - began
        finally:
            del self._barriers[value]
        return self._barriers_work

    async def _list_group(self, load: Load, group: str) -> list[Item]:
        """The items of all lists of a group, or none if one of them is refused."""
        if load.reconciles and group in self._refused:
            load.missing[group] = self._refused[group]
            return []
        self._refused.pop(group, None)
        items: list[Item] = []
        try:
            for listing in GROUPS[group].listings:
                if load.reconciles and listing.configured:
                    continue
                if load.queues:
                    for queue in load.queues:
                        items += await self._list(listing, Queue=queue, Member="-")
                else:
                    items += await self._list(listing)
                if listing.detail is not None:
                    action, header, of = listing.detail
                    for name in [fields[of] for _, fields in items]:
                        items += await self._list(listing._replace(action=action), **{header: name})
        except AmidError as error:
            if error.kind not in ("action_failed", "denied", "too_large"):
                raise
            load.missing[group] = self._refused[group] = error.message
            return []
        return items

    async def _list(self, listing: Listing, **headers: Any) -> list[Item]:
        """The items of a list. Raises `AmidError`.

        They are requested raw, to be parsed in portions: decoding 10,000 channels takes 0.1 s.
        """
        try:
            answer = await self._action(listing.action, headers, LIST_TIMEOUT_S, raw=True)
        except AmidError as error:
            message = Packet(error.packets[0] if error.packets else b"").get("Message").lower()
            if message.startswith((EMPTY_LIST, NOT_LOADED)):
                return []
            raise
        items: list[Item] = []
        for portion in _portions(answer["packets"]):
            parsed = [Packet(raw.removesuffix(BLANK)) for raw in portion]
            items += [(packet.event, packet.headers) for packet in parsed if packet.event in listing.items]
            await asyncio.sleep(0)
        return items

    async def _action(self, action: str, headers: Mapping[str, Any], timeout_s: float = TIMEOUT, raw: bool = False) -> ActionResult:
        """Raises `AmidError`."""
        self._check(action, headers)
        return await self._client.action(action, headers, server=self._state.server, timeout=timeout_s, raw=raw)

    def _explain(self, load: Load, exact: bool) -> None:
        if load.groups == ALL_GROUPS or not exact:
            reason = "" if exact else self._barrier_error
            if reason and reason != self._state.inexact_reason:
                log.warning("%s: its state is not exact: %s; see Rights in etc/doc/state.md", self._state.server, reason)
            self._state.inexact_reason = reason
            self._state.missing = load.missing

    def _log_corrections(self) -> None:
        found = self._state.last_corrections
        shown = ", ".join(f"{one.kind} {one.id} {one.member}: {one.was!r} is {one.now!r}" for one in found[:5])
        log.warning("%s: corrected %d differences between its state and its lists: %s", self._state.server, len(found), shown)
        self._state.last_corrections = []


def _portions(items: list[T]) -> Iterator[list[T]]:
    """Empty the list in portions: to free 10,000 channels at once takes 40 ms."""
    while items:
        yield items[:STEP_THINGS]
        del items[:STEP_THINGS]
