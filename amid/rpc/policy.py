"""Who may do what: `allow` and `deny` lists of rules, per caller and per server.

A rule is an action's name, or a name, a colon, and a pattern of what the action reaches (`amid.ami.targets`):
`Queue*`, `Command: core show *`, `Originate: *@sales`. In both parts `*` is the only wildcard, and case does not matter.

* `deny` wins over `allow`. An empty `allow` allows what `*` does.
* A name with a wildcard allows the actions of these names, but nothing of what their fields name.
* A whole name, `*` or an empty `allow` allows what the fields name too, but for shells, files, secrets and addresses
  (`Needs.PATTERN`): those need a rule with a colon in any case. A field must never give more than the rule's author saw.
* Every list that applies must agree, on each target of the action.

Names are compared before the fields are read, so that a caller who may not use an action cannot make amid look at its fields.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from amid.ami.action import InvalidAction
from amid.ami.field_readers import Kind, Needs, Target
from amid.ami.targets import targets_of
from amid.errors import AmidError


class Lists(Protocol):
    """Whatever has the two lists: a caller or a server of the configuration."""

    @property
    def allow(self) -> Sequence[str]: ...
    @property
    def deny(self) -> Sequence[str]: ...


class Admin(Protocol):
    @property
    def admin(self) -> bool: ...


class Rule(NamedTuple):
    """In lower case. `pattern` is None for a rule without a colon."""

    action: str
    pattern: str | None


def check_action(action: str, fields: Mapping[Any, Any], caller: str, lists: Mapping[str, Lists]) -> None:
    """Raise `AmidError` of kind `denied` unless every one of `lists`, named by where it stands, lets `action` through.

    Of kind `invalid_params` when the headers that a rule looks at are not such as Asterisk would read.
    """
    name = _lower(action.strip())
    rules = {where: (_rules(listed.allow, name), _rules(listed.deny, name)) for where, listed in lists.items()}
    for where, (allow, deny) in rules.items():
        denied_by = next((rule for rule in deny if rule.pattern is None), None)
        if denied_by is not None:
            raise _denied(action, "", caller, _deny_rule(denied_by, where, lists[where]))
        if lists[where].allow and not allow:
            raise _denied(action, "", caller, f"to allow it: allow = [..., {json.dumps(action)}] in [{where}]")
    try:
        targets = targets_of(name, fields)
    except InvalidAction as error:
        raise AmidError("invalid_params", str(error)) from None
    for target in targets:
        for where, (allow, deny) in rules.items():
            denied_by = next((rule for rule in deny if _denies(rule, target)), None)
            if denied_by is not None:
                raise _denied(action, target.text, caller, _deny_rule(denied_by, where, lists[where]))
            if lists[where].allow and not any(_allows(rule, name, target) for rule in allow):
                raise _denied(action, target.text, caller, _remedy(action, target, where, "allow = [..., {}]"))
        if target.needs == Needs.PATTERN and not any(allow for allow, _ in rules.values()):
            where = next(reversed(rules), "callers.local")
            raise _denied(action, target.text, caller, _remedy(action, target, where, 'allow = ["*", {}]'))


def check_admin(method: str, caller: str, rights: Admin) -> None:
    """Raise `AmidError` of kind `denied` unless this caller may change amid itself."""
    if not rights.admin:
        message = f"the configuration does not allow {caller!r} the method {method!r} (see admin in [callers.{caller}])"
        raise AmidError("denied", message)


def matches(pattern: str, text: str) -> bool:
    """Whether `*` in `pattern` can stand for parts of `text` that make the two equal. It takes no longer than both are."""
    first, *parts = pattern.split("*")
    if not parts:
        return pattern == text
    *middle, last = parts
    if not text.startswith(first) or not text.endswith(last) or len(text) < len(first) + len(last):
        return False
    start, end = len(first), len(text) - len(last)
    for part in middle:
        found = text.find(part, start, end)
        if found < 0:
            return False
        start = found + len(part)
    return True


def _rules(listed: Sequence[str], name: str) -> list[Rule]:
    """Those whose action this is."""
    return [rule for rule in map(_parsed, listed) if matches(rule.action, name)] if listed else []


@lru_cache(4096)
def _parsed(rule: str) -> Rule:
    action, colon, pattern = _lower(rule).partition(":")
    return Rule(action.strip(), pattern.strip() if colon else None)


def _lower(text: str) -> str:
    """ASCII alone, as Asterisk compares."""
    return text.lower() if text.isascii() else text.encode("utf-8", "surrogatepass").lower().decode("utf-8", "surrogatepass")


def _denies(rule: Rule, target: Target) -> bool:
    pattern = rule.pattern or ""
    if matches(pattern, target.text):
        return True
    # Asterisk ignores dashes in an extension: 9-11 is 911 (`ext_strncpy`, main/pbx.c).
    return target.kind is Kind.EXTENSION and matches(pattern.replace("-", ""), target.text.replace("-", ""))


def _allows(rule: Rule, name: str, target: Target) -> bool:
    if target.needs == Needs.NOTHING:
        return True
    if rule.pattern is None:
        return target.needs <= (Needs.WHOLE_NAME if rule.action in (name, "*") else Needs.NAME)
    return rule.pattern == "*" or _covers(rule.pattern, target)


def _covers(pattern: str, target: Target) -> bool:
    """A pattern is one of an extension, a channel, a function, a path or a command; none can match a target of another kind."""
    match target.kind:
        case Kind.CHANNEL:  # here "*" stops at a slash: PJSIP/* is not PJSIP/alice/sip:anybody@anywhere
            pairs = list(zip(pattern.split("/"), target.text.split("/"), strict=False))
            same_depth = pattern.count("/") == target.text.count("/")
            return same_depth and all(matches(part, text) for part, text in pairs)
        case Kind.EXTENSION:  # in two parts: the extension 1@sales in the context secret is not *@sales*
            exten, at, context = pattern.rpartition("@")
            own_exten, _, own_context = target.text.rpartition("@")
            return bool(at) and "/" not in exten and matches(exten, own_exten) and matches(context, own_context)
        case Kind.FUNCTION:
            fits = "(" in pattern
        case Kind.APPLICATION:
            fits = not set("@/(") & set(pattern)
        case Kind.SHELL | Kind.PATH:
            fits = pattern[:1] == target.text[:1]
        case _:
            fits = True
    return fits and matches(pattern, target.text)


def _denied(action: str, target: str, caller: str, advice: str) -> AmidError:
    what = f"the action {action!r}" + (f" with {target!r}" if target else "")
    return AmidError("denied", f"the configuration does not allow {caller!r} {what} ({advice})")


def _deny_rule(rule: Rule, where: str, lists: Lists) -> str:
    """What is in the way. A caller may know its own rules; those of a server are the operator's."""
    if where.startswith("servers."):
        return f"see deny in [{where}]"
    text = next(text for text in lists.deny if _parsed(text) == rule)
    return f"deny in [{where}] has {json.dumps(text)}"


def _remedy(action: str, target: Target, where: str, form: str) -> str:
    """form: the `allow` that would let it through, {} being the rule."""
    rule = f"{action}: {target.text}" if target.text and "*" not in target.text else action
    if rule == action and target.needs == Needs.PATTERN:
        rule = f"{action}: *"
    return f"to allow it: {form.format(json.dumps(rule))} in [{where}]"
