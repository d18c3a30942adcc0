"""Selects things by kind and condition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from amid.errors import MAX_SHOWN_LENGTH
from amid.events.where import MAX_CONDITIONS, Condition
from amid.state.model import MEMBERS, Model, Thing
from amid.wire import STATE_KINDS

_SINGULAR = {plural: kind for kind, plural in STATE_KINDS.items()}
NESTED = {"queue": ("member", "caller"), "conference": ("participant",)}
"""Kind -> the kinds whose things it contains. Each of those has a member named like the outer
kind."""


def parse_kinds(names: list[str] | None) -> frozenset[str]:
    """The kinds that a request names, in the singular or in the plural; all if it names none."""
    return frozenset(STATE_KINDS) if names is None else frozenset(_SINGULAR.get(name, name) for name in names)


def parse_conditions(where: Mapping[str, Any] | list[str] | str | None, names: list[str] | None) -> list[Condition]:
    """The conditions of a request for these kinds, all of which a thing must meet. Raises
    `ValueError`, also for a member that none of the kinds has."""
    if isinstance(where, Mapping | list) and len(where) > MAX_CONDITIONS:
        raise ValueError(f"a request has at most {MAX_CONDITIONS} conditions, not {len(where)}")
    if isinstance(where, Mapping):
        conditions = [Condition(name.lower(), "=", _as_text(value)) for name, value in where.items()]
    else:
        conditions = [Condition.of(one) for one in ([where] if isinstance(where, str) else where or [])]
    members = {kind: ("id", *MEMBERS[kind]) for kind in _selected(names)}
    known = {name for of_kind in members.values() for name in of_kind}
    for unknown in (one.name for one in conditions if one.name not in known):
        has = "; ".join(f"a {kind} has {', '.join(of_kind)}" for kind, of_kind in members.items())
        raise ValueError(f"there is no member {unknown[:MAX_SHOWN_LENGTH]!r}: {has}")
    return conditions


def select(model: Model, names: list[str] | None, conditions: list[Condition]) -> dict[str, list[Thing]]:
    """Copies of the things of these kinds, by the plural of their kind.

    Queues and conferences contain their members, callers and participants. These have lists of
    their own only if `names` has them.
    """
    lists: dict[str, list[Thing]] = {}
    for kind in _selected(names):
        things = model.kinds[kind].values()
        lists[STATE_KINDS[kind]] = [dict(one) for one in things if not conditions or _meets(one, conditions)]
    for outer, inner in NESTED.items():
        if STATE_KINDS[outer] in lists:
            _nest(model, lists[STATE_KINDS[outer]], outer, inner)
    return lists


def _selected(names: list[str] | None) -> list[str]:
    """The kinds that have a list in the result."""
    nested = {kind for kinds in NESTED.values() for kind in kinds}
    kinds = parse_kinds(names) - (nested if names is None else set())
    return [kind for kind in STATE_KINDS if kind in kinds]


def _nest(model: Model, things: list[Thing], outer: str, inner: tuple[str, ...]) -> None:
    by_name = {thing["name"]: thing for thing in things}
    for thing in things:
        thing.update({STATE_KINDS[kind]: [] for kind in inner})
    for kind in inner:
        for one in model.kinds[kind].values():
            if one[outer] in by_name:
                by_name[one[outer]][STATE_KINDS[kind]].append(dict(one))
    for thing in things:
        if "callers" in thing:
            thing["callers"].sort(key=lambda caller: caller["position"])


def _meets(thing: Thing, conditions: list[Condition]) -> bool:
    return all(one.holds({one.name: _texts(thing.get(one.name))}) for one in conditions)


def _texts(value: Any) -> list[str]:
    return [_as_text(one) for one in (value if isinstance(value, list) else [value] if value is not None else [])]


def _as_text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return str(value).lower() if isinstance(value, bool) else str(value)
