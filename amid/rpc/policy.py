"""Access rules: `allow` and `deny` lists, for each caller and each server.

A rule is an action's name, or a name, a colon, and a pattern of what the action reaches
(`amid.ami.targets`): `Queue*`, `Command: core show *`, `Originate: *@sales`. `*` is the only
wildcard, in both parts; case does not matter.

* `deny` takes precedence over `allow`. An empty `allow` permits what `*` does.
* A name with a wildcard permits the actions of these names, but no target that their fields name.
* A whole name, `*` or an empty `allow` permits targets too, except shells, files, secrets and
  addresses (`Needs.PATTERN`): those always need a rule with a colon. A field must never give more
  than the author of the rule could see.
* All lists that apply must permit every target of the action.

Names are compared before the fields are read, so a caller without the action cannot make amid parse
its fields.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from msgspec.structs import replace

from amid.ami.action import InvalidAction
from amid.ami.field_readers import Kind, Needs, Target
from amid.ami.targets import targets_of
from amid.errors import AmidError
from amid.rpc.requests import LONGEST_EXTENSION, CallParams, CallsParams

USERS_FILE = "users_file"
"""Ends the place of rules in a file with sections as in manager.conf, where each rule has a line."""
LOCAL = "[callers.local]"
"""The table of local callers, who have `admin` as long as the configuration lacks it."""
NO_EXTENSION = "@"
"""The text of a target whose fields name neither an extension nor a context."""


class Lists(Protocol):
    """A caller or a server of the configuration."""

    @property
    def allow(self) -> Sequence[str]: ...
    @property
    def deny(self) -> Sequence[str]: ...


class Rights(Lists, Protocol):
    """The rights of a caller. admin: it may change amid itself."""

    @property
    def admin(self) -> bool: ...
    @property
    def history(self) -> bool | str: ...


class Rule(NamedTuple):
    """In lower case. pattern: None for a rule without a colon."""

    action: str
    pattern: str | None


def check_action(action: str, fields: Mapping[Any, Any], caller: str, lists: Mapping[str, Lists]) -> None:
    """Raise `AmidError` of kind `denied` unless all of `lists` permit `action` with these `fields`.

    lists: by their place in the configuration, such as `[callers.local]`. Kind `invalid_params` is
    raised if Asterisk would not read the headers as a rule does.
    """
    name = _lower(action.strip())
    rules = {
        where: (_rules(listed.allow, name), _rules(listed.deny, name))
        for where, listed in lists.items()
        if listed.allow or listed.deny
    }
    for where, (allow, deny) in rules.items():
        denied_by = next((rule for rule in deny if rule.pattern is None), None)
        if denied_by is not None:
            raise _denied(action, None, caller, _deny_rule(denied_by, where, lists[where]))
        if lists[where].allow and not allow:
            raise _denied(action, None, caller, _to_allow(action, "...", where))
    try:
        targets = targets_of(name, fields)
    except InvalidAction as error:
        raise AmidError("invalid_params", str(error)) from None
    for target in targets:
        for where, (allow, deny) in rules.items():
            denied_by = next((rule for rule in deny if _denies(rule, target)), None)
            if denied_by is not None:
                raise _denied(action, target, caller, _deny_rule(denied_by, where, lists[where]))
            if lists[where].allow and not any(_allows(rule, name, target) for rule in allow):
                missing = [one for one in targets if not any(_allows(rule, name, one) for rule in allow)]
                raise _denied(action, target, caller, _remedy(action, target, "...", where) + _to_add(action, missing))
        if target.needs == Needs.PATTERN and not any(allow for allow, _ in rules.values()):
            where = next(reversed(list(lists)), LOCAL)
            raise _denied(action, target, caller, _remedy(action, target, "*", where) + _to_keep_admin(where))


def permits_name(action: str, lists: Lists) -> bool:
    """Whether `lists` permit `action` with some fields at least."""
    name = _lower(action.strip())
    if any(rule.pattern is None for rule in _rules(lists.deny, name)):
        return False
    return not lists.allow or bool(_rules(lists.allow, name))


def check_admin(method: str, caller: str, where: str, rights: Rights) -> None:
    """Raise `AmidError` of kind `denied` unless this caller is an administrator of amid. where: the
    place of its rights in the configuration."""
    if not rights.admin:
        raise _method_denied(method, caller, "admin", where)


def check_history(
    method: str, caller: str, where: str, rights: Rights, params: CallsParams | CallParams
) -> CallsParams | CallParams:
    """The params that the caller may use, with `masked` if it may not see long numbers.

    Raises `AmidError` of kind `denied` if it may not see recorded calls, or requests what cannot be
    masked.
    """
    if not rights.history:
        raise _method_denied(method, caller, "history", where)
    if rights.history != "masked":
        return params
    if isinstance(params, CallParams) and params.all:
        raise AmidError("denied", f"{caller!r} may see masked numbers only, and events contain them all")
    if (params.number is not None and not params.number.isdecimal()) or len(params.number or "") > LONGEST_EXTENSION:
        raise AmidError("denied", f"{caller!r} may see masked numbers only, and search for short ones only")
    if isinstance(params, CallsParams) and params.name is not None:
        raise AmidError("denied", f"{caller!r} may see masked numbers only, and cannot search for names")
    if isinstance(params, CallsParams) and (_has_number(params.queue) or _has_number(params.agent)):
        raise AmidError("denied", f"{caller!r} may see masked numbers only, and cannot search for them in queues and agents")
    return replace(params, masked=True)


def _has_number(text: str | None) -> bool:
    """Whether text, as the interface of a queue member, may contain a number that is masked."""
    return sum(map(str.isdecimal, text or "")) > LONGEST_EXTENSION


def _method_denied(method: str, caller: str, right: str, where: str) -> AmidError:
    advice = f"to allow it: {right} = true in {where}" + (_to_keep_admin(where) if right != "admin" else "")
    return AmidError("denied", f"the configuration does not allow {caller!r} to use the method {method!r} ({advice})")


def matches(pattern: str, text: str) -> bool:
    """Whether `pattern`, with its wildcards `*`, matches all of `text`. Takes linear time."""
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
    """The rules for the action `name`."""
    return [rule for rule in map(_parsed, listed) if matches(rule.action, name)] if listed else []


@lru_cache(4096)
def _parsed(rule: str) -> Rule:
    action, colon, pattern = _lower(rule).partition(":")
    return Rule(action.strip(), pattern.strip() if colon else None)


def _lower(text: str) -> str:
    """Only ASCII letters, as Asterisk compares."""
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
    """Whether an `allow` pattern matches the target; patterns of other kinds of target never do."""
    match target.kind:
        case Kind.CHANNEL:  # "*" stops at a slash: PJSIP/* does not match PJSIP/alice/sip:anybody@anywhere
            pairs = list(zip(pattern.split("/"), target.text.split("/"), strict=False))
            same_depth = pattern.count("/") == target.text.count("/")
            return same_depth and all(matches(part, text) for part, text in pairs)
        case Kind.EXTENSION:  # in two parts: *@sales* does not match the extension 1@sales in the context secret
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


def _denied(action: str, target: Target | None, caller: str, advice: str) -> AmidError:
    what = f"the action {action!r}"
    if target is not None and target.text == NO_EXTENSION:
        what += " without an extension and a context" + (", or an application" if _lower(action) == "originate" else "")
    elif target is not None and target.text:
        what += f" with {target.text!r}"
    return AmidError("denied", f"the configuration does not allow {caller!r} to use {what} ({advice})")


def _deny_rule(rule: Rule, where: str, lists: Lists) -> str:
    """The rule that denies. A caller may see its own rules; a server's are only named."""
    if where.startswith("[servers."):
        return f"see deny in {where}"
    text = next(text for text in lists.deny if _parsed(text) == rule)
    return f"deny in {where} has {json.dumps(text)}"


def _remedy(action: str, target: Target, before: str, where: str) -> str:
    """How to have the target permitted. before: what precedes the rule in its list."""
    if target.text == NO_EXTENSION:
        return f"give them; a rule of allow in {where} must match them"
    return _to_allow(_rule_for(action, target), before, where)


def _rule_for(action: str, target: Target) -> str:
    rule = f"{action}: {target.text}" if target.text and "*" not in target.text else action
    return f"{action}: *" if rule == action and target.needs == Needs.PATTERN else rule


def _to_add(action: str, missing: list[Target]) -> str:
    """The rest of the advice when a list permits none of these targets: the rules beside that for the
    first one."""
    first, *others = (_rule_for(action, target) for target in missing)
    rules = dict.fromkeys(json.dumps(rule) for rule in others if rule not in (first, f"{action}: {NO_EXTENSION}"))
    return f"; it also needs {' and '.join(rules)}" if rules else ""


def _to_keep_admin(where: str) -> str:
    """The rest of advice after which an operator may write the table `where`."""
    return ", and admin = true if that table is new, or local callers lose it" if where == LOCAL else ""


def _to_allow(rule: str, before: str, where: str) -> str:
    """How to add a rule to `allow`. before: the rule that precedes it, or "..." for the present ones."""
    if where.endswith(USERS_FILE):
        lines = [f"`allow = {escaped}`" for escaped in (before, rule.replace(";", "\\;")) if escaped != "..."]
        return f"to allow it: {' and '.join(lines)} in {where}"
    return f"to allow it: allow = [{before if before == '...' else json.dumps(before)}, {json.dumps(rule)}] in {where}"
