"""Who hears whom: the legs in each bridge. A Local pair whose halves are in two bridges connects
these to one."""

from __future__ import annotations

from amid.history.model import Leg


class Bridges:
    def __init__(self) -> None:
        self._members: dict[str, set[Leg]] = {}

    def enter(self, leg: Leg, bridge: str) -> list[Leg]:
        """Add a leg to a bridge. Returns the legs that hear each other in it, the oldest first."""
        self._members.setdefault(bridge, set()).add(leg)
        leg.bridges.add(bridge)
        leg.connects = leg.connects or len(leg.bridges) > 1
        return sorted(self._parties(bridge), key=_age)

    def leave(self, leg: Leg, bridge: str, time: float) -> None:
        """Remove a leg from a bridge. The talk time of a call ends when no two of its legs talk."""
        before = self._parties(bridge)
        members = self._members.get(bridge, set())
        members.discard(leg)
        leg.bridges.discard(bridge)
        if not members:
            self._members.pop(bridge, None)
        left = self._parties(bridge)
        together = left if len(left) > 1 else None
        for one in before:
            one.talks_with = together if one in left else None
        for call in {one.call for one in before}:
            if call.talks_since and not any([one.talks_with for one in call.legs]):
                call.talked += time - call.talks_since
                call.talks_since = 0.0
                call.changed = True

    def _parties(self, bridge: str) -> frozenset[Leg]:
        """The legs that hear each other in a bridge, and in those that Local pairs connect to it."""
        members = self._members.get(bridge, set())
        if not any([leg.local for leg in members]):
            return frozenset([leg for leg in members if not leg.connects])
        seen, left = {bridge}, [bridge]
        found: set[Leg] = set()
        while left:
            members = self._members.get(left.pop(), set())
            found |= members
            for leg in members:
                if leg.local:
                    left += leg.bridges - seen
                    seen |= leg.bridges
        return frozenset([leg for leg in found if not leg.connects])


def _age(leg: Leg) -> tuple[str, int]:
    return leg.call.linkedid, leg.call.legs.index(leg)
