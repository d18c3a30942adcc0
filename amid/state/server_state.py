"""The state of one server: events and lists go in, changes come out.

A load and a reconciliation are the same procedure. Lists are requested between two barriers. The
events after the first barrier are kept. When the second barrier has arrived, the lists and the kept
events give a second model. The first load of an epoch uses it from then on. A later load compares
the two, and a reconciliation counts every difference as a correction.

A barrier is an event that amid causes: `Setvar` of a global variable. Asterisk has sent the events
of everything that happened before the action when the barrier arrives. A list is never older than
the events before a barrier that arrived before the list was requested. Without barriers (the
manager's user may not receive VarSet) the lists are applied when they arrive: the state converges,
but is not exact.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Iterator
from typing import Any

from amid.state.calls import derive_calls
from amid.state.change_log import ChangeLog
from amid.state.fold import apply
from amid.state.headers import Fields, text
from amid.state.lists import (
    ALL_GROUPS,
    GROUPS,
    STATISTICS,
    Difference,
    Item,
    ThingKey,
    add_items,
    compare,
    complete_first_load,
    correct,
    finish_lists,
    groups_of_module,
    is_correction,
    things_of,
)
from amid.state.model import Model
from amid.wire import STATE_KINDS

BARRIER = "AMID_BARRIER"
"""The global variable of Asterisk that barriers set."""

BLIND = "amid's user lacks read = call in manager.conf (a channel began, and no Newchannel came)"

STEP_THINGS = 500
"""Things, or items of a list, that a load handles in one step, in some 5 ms."""

Event = tuple[str, Fields]


class Load:
    """One load or reconciliation.

    groups: all of them for the first load of an epoch. statistics_only: only the statistics of
    queues are read. first_barrier: its value, None while it is not set or impossible.
    """

    def __init__(self, groups: tuple[str, ...], *, reconciles: bool = False, statistics_only: bool = False) -> None:
        self.groups = groups
        self.reconciles = reconciles
        self.statistics_only = statistics_only
        self.first_barrier: str | None = None
        self.queues: list[str] = []
        """The queues to list, [] for all."""
        self.listed = Model()
        self.events: list[tuple[str, Fields, float]] = []
        """Kept events: name, headers, and when they arrived."""
        self.missing: dict[str, str] = {}
        """Groups that could not be listed, and why."""
        self._is_complete = False

    @property
    def listed_groups(self) -> list[str]:
        return [group for group in self.groups if group not in self.missing]

    def begin(self, live: Model) -> None:
        """Keep the events from now on. The lists include the effects of those before, except of
        attended transfers that continue."""
        self.events.clear()
        self.listed.replacing = dict(live.replacing)
        if self.reconciles:
            self.listed.configured_contacts = dict(live.configured_contacts)

    def add(self, items: Iterable[Item], time: float) -> None:
        """Add a portion of a list. time: when the list was requested, in seconds since 1970."""
        add_items(self.listed, items, time)

    def add_event(self, name: str, fields: Fields, time: float) -> None:
        """Keep an event until the lists are complete."""
        if self._is_complete:
            apply(self.listed, name, fields, time)
        else:
            self.events.append((name, fields, time))

    def complete(self, live: Model) -> None:
        """All lists were added: apply the kept events to them. `listed` is as recent as `live` then."""
        self._is_complete = True
        self.listed.channels_listed = "channels" in self.listed_groups
        finish_lists(self.listed, live)
        for event in self.events:
            apply(self.listed, *event)


class ServerState:
    """corrections: the number of differences that reconciliations have found. first_rev: see
    `ChangeLog`."""

    def __init__(self, server: str, history_bytes: int, first_rev: int = 0) -> None:
        self.server = server
        self.epoch = 0
        self.seq = 0
        self.model = Model()
        self.change_log = ChangeLog(server, history_bytes, first_rev)
        self.ready = False
        self.exact = False
        self.inexact_reason = ""
        self.missing: dict[str, str] = {}
        """A group that could not be listed -> why."""
        self.settled_at = 0.0
        self.corrections = 0
        self.last_corrections: list[Difference] = []
        self.outdated: dict[str, None] = {}
        """Groups to load again."""
        self._load: Load | None = None

    # ── events ──

    def begin_epoch(self, epoch: int, seq: int = 0) -> None:
        """Forget everything: an epoch has begun, or events of this one after `seq` were lost."""
        self.epoch, self.seq = epoch, seq
        self.model = Model()
        self.ready = self.exact = False
        self._load = None
        self.outdated = dict.fromkeys(ALL_GROUPS)
        self.change_log.reset(epoch, seq)

    def feed_events(self, last: int, events: Iterable[Event], time: float) -> list[str]:
        """Apply the events of one read and return the values of the barriers among them. last: the
        number of the last event."""
        load = self._load
        barriers: list[str] = []
        for name, fields in events:
            if name == "VarSet" and fields.get("Variable") == BARRIER:
                barriers.append(str(text(fields, "Value")))
                self._pass_barrier(barriers[-1])
            elif name in ("Reload", "FullyBooted"):
                self.outdated |= dict.fromkeys(groups_of_module(str(text(fields, "Module"))))
            else:
                apply(self.model, name, fields, time)
                if load is not None:
                    load.add_event(name, fields, time)
        self.seq = last
        if self.ready:
            self._publish()
        else:
            derive_calls(self.model, STEP_THINGS)
        return barriers

    def _pass_barrier(self, value: str) -> None:
        if self._load is not None and value == self._load.first_barrier:
            self._load.begin(self.model)

    def _publish(self) -> None:
        derive_calls(self.model)
        self.change_log.add(self.seq, self.model.take_changes())

    # ── loads ──

    def begin_load(self, load: Load) -> None:
        """Keep the events from now on."""
        self._load = load
        load.begin(self.model)
        if load.statistics_only:
            load.queues = list(self.model.stale_queues)
            self.model.stale_queues.clear()
        elif not load.reconciles:
            for group in load.groups:
                self.outdated.pop(group, None)

    def abandon_load(self, load: Load) -> None:
        """Keep no more events, because a list cannot be had. What the load was for remains out of
        date."""
        if self._load is not load:  # an epoch has begun
            return
        self._load = None
        if load.statistics_only:
            self.model.stale_queues |= dict.fromkeys(load.queues)
        elif not load.reconciles:
            self.outdated |= dict.fromkeys(load.groups)

    def finish_load(self, load: Load, exact: bool, time: float) -> Iterator[None]:
        """Apply the lists. exact: the events of the second barrier, too, have arrived.

        The iterator does it in steps, between which events may be fed. It does nothing more when an
        epoch has begun since `begin_load`.
        """
        if self._load is not load:
            return
        load.complete(self.model)
        if not self.ready:
            self._load = None
            complete_first_load(load.listed, self.model, load.listed_groups)
            self.model = load.listed
            yield from self._prepare(load.listed)
            if self.model is not load.listed:
                return
        else:
            found = yield from self._compare(load)
            if self._load is not load:
                return
            self._load = None
            self._correct(load, found, exact)
        self._publish()
        if load.groups == ALL_GROUPS:
            self.exact, self.settled_at = exact and "channels" not in load.missing and not self.blind, time
        else:
            self.exact = self.exact and exact

    def _prepare(self, model: Model) -> Iterator[None]:
        """The steps from a first load to a state that is ready."""
        while model.stale_calls:
            derive_calls(model, STEP_THINGS)
            yield
        changes = model.take_changes()
        for start in range(0, len(changes), STEP_THINGS):
            if self.model is model:
                self.change_log.load(self.seq, changes[start : start + STEP_THINGS])
            yield
        self.ready = self.model is model

    def _compare(self, load: Load) -> Generator[None, None, list[Difference]]:
        """The differences, found in steps. Events that come meanwhile change both models, so what a
        step has found is compared once more at the end."""
        differing: dict[ThingKey, None] = {}
        things = things_of(self.model, load.listed, load.listed_groups)
        for start in range(0, len(things), STEP_THINGS):
            yield
            found = compare(self.model, load.listed, things[start : start + STEP_THINGS])
            differing |= dict.fromkeys((one.kind, one.id) for one in found)
        return [one for one in compare(self.model, load.listed, differing) if not _is_uncertain(one, load.listed)]

    def _correct(self, load: Load, found: list[Difference], exact: bool) -> None:
        if load.statistics_only:
            found = [one for one in found if one.kind == "queue" and one.member in STATISTICS]
        elif load.reconciles and exact:
            self.last_corrections = [one for one in found if is_correction(one, self.model.stale_queues)]
            self.corrections += len(self.last_corrections)
        if load.reconciles and self.model.channels_announced is None and any(map(_is_new_channel, found)):
            self.model.channels_announced = False
        correct(self.model, load.listed, found)
        self.model.channels_listed = self.model.channels_listed or load.listed.channels_listed
        if "contacts" in load.listed_groups:
            self.model.configured_contacts = load.listed.configured_contacts
        self.model.stale_queues |= load.listed.stale_queues

    # ── answers ──

    def detail(self, kinds: Collection[str] = STATE_KINDS) -> str:
        """Why the state is not exact, and which of these kinds could not be listed."""
        wanted = {"channel", *kinds} if "call" in kinds else set(kinds)
        unlisted = {group: why for group, why in self.missing.items() if wanted.intersection(GROUPS[group].kinds)}
        reasons = [f"{group}: known from events only: {why}" for group, why in unlisted.items()]
        return "; ".join(filter(None, [BLIND if self.blind else "", self.inexact_reason, *reasons]))

    @property
    def blind(self) -> bool:
        """Whether channels begin without an event."""
        return self.model.channels_announced is False

    def head(self, kinds: Collection[str] = STATE_KINDS) -> dict[str, Any]:
        """The first members of an answer with these kinds."""
        return {
            "server": self.server,
            "epoch": self.epoch,
            "seq": self.seq,
            "rev": self.change_log.rev,
            "exact": self.exact,
            "detail": self.detail(kinds),
            "settled_at": self.settled_at,
        }


def _is_new_channel(difference: Difference) -> bool:
    return difference.kind == "channel" and not difference.member and difference.now is True


def _is_uncertain(difference: Difference, listed: Model) -> bool:
    """Whether it is a statistic of a queue that changed while the queue was listed: the list may
    have the value from before or after the change."""
    return difference.kind == "queue" and difference.member in STATISTICS and difference.id in listed.stale_queues
