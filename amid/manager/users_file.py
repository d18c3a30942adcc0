"""Reads users from a file in the format of manager.conf (main/config.c), so that its sections can be
copied.

Comments, block comments, `=>`, templates `[name](!)`, `[name](template)` and additions `[name](+)`
mean the same as for Asterisk. `#include` is refused, because another file may have another owner.
`[general]` is skipped.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from amid.manager.classes import is_true, not_a_class, unknown_classes
from amid.manager.event_filter import FilterError
from amid.manager.user import make_filter
from amid.manager.user_entry import UserEntry

MAX_NAME_BYTES = 59
"""Limit of a user's name: calls are counted for `ami:NAME`, which has at most 64 characters."""

_SECTION = re.compile(r"\[([^\]]+)\](?:\(([^)]*)\))?\s*")
_EVENT_FILTER = re.compile(r"eventfilter\s*(?:\((.*)\))?", re.IGNORECASE | re.DOTALL)
_RULE = re.compile(r"[A-Za-z*][\w*-]*((\s*,\s*[\w*-]*)*|\s*:(?!:)\s*\S.*)")
"""Names of actions, or a name with a pattern; neither the name of a host nor a mistyped IPv6 address."""
_KEYS = (
    *("secret", "read", "write", "permit", "deny", "acl", "eventfilter", "allowmultiplelogin"),
    *("allow", "server", "on_reconnect"),
)
_WITHOUT_EFFECT = {
    "displayconnects": "",
    "writetimeout": "",
    "setvar": "has no effect: set variables with Variable in the Originate",
}
"""Keys of manager.conf without an effect, and the warning for each."""
_CLOSE = 0.75
"""The similarity of a misspelt key, as `difflib` measures it. No key of manager.conf is as close to
another one."""


class Finding(NamedTuple):
    """An error (`refused`) or a warning about a key of a section."""

    section: str
    key: str
    what: str
    refused: bool = True


class _Section:
    def __init__(self, is_template: bool) -> None:
        self.is_template = is_template
        self.lines: list[tuple[str, str]] = []


def read_users(text: str) -> tuple[dict[str, UserEntry], list[Finding]]:
    """The users in `text` by name, without those that have errors, and the findings."""
    findings: list[Finding] = []
    sections = _read_sections(text, findings)
    users: dict[str, UserEntry] = {}
    for name, section in sections.items():
        if section.is_template or name.lower() == "general":
            continue
        found = list(_read_user(name, section, users))
        findings += [each for each in found if isinstance(each, Finding)]
    return users, findings


# ── the format ──


def _read_sections(text: str, findings: list[Finding]) -> dict[str, _Section]:
    sections: dict[str, _Section] = {}
    current: _Section | None = None
    for number, line in _lines(text):
        if line.startswith("["):
            current = _begin_section(line, number, sections, findings)
        elif line.startswith("#"):
            findings.append(Finding("", f"line {number}", f"{line.split()[0]} is not supported: put the sections into this file"))
        elif current is None or "=" not in line:
            what = "is before the first [section]" if current is None else "is not of the form `key = value`"
            findings.append(Finding("", f"line {number}", what))
        else:
            key, _, value = line.partition("=")
            current.lines.append((key.strip(), value.removeprefix(">").strip()))
    return sections


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines that are not empty, with their numbers and without comments. `;--` begins a block
    comment and `--;` ends it; `\\;` is a semicolon."""
    in_block = False
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw
        if in_block:
            _, end, line = line.partition("--;")
            in_block = not end
        kept = ""
        while not in_block and (found := re.search(r"(?<!\\);", line)):
            kept, line = kept + line[: found.start()], line[found.start() :]
            if not re.match(r";--(?!-)", line):
                line = ""
                continue
            _, end, line = line[3:].partition("--;")
            in_block = not end
        kept = (kept + ("" if in_block else line)).replace("\\;", ";").strip()
        if kept:
            yield number, kept


def _begin_section(line: str, number: int, sections: dict[str, _Section], findings: list[Finding]) -> _Section | None:
    found = _SECTION.fullmatch(line)
    if not found:
        findings.append(Finding("", f"line {number}", "is not of the form [section]"))
        return None
    name, options = found[1], [option.strip() for option in (found[2] or "").split(",") if option.strip()]
    if "+" in options:
        if name not in sections:
            findings.append(Finding(name, "(+)", "adds to a section that does not exist"))
        return sections.setdefault(name, _Section(False))
    if any(name.lower() == known.lower() for known in sections):
        findings.append(Finding(name, "", f"is a duplicate (line {number}); names are compared without regard to case"))
    section = sections[name] = _Section("!" in options)
    for template in [option for option in options if option != "!"]:
        if template not in sections:
            findings.append(Finding(name, f"({template})", "is not a section above this one"))
        else:
            section.lines += sections[template].lines
    return section


# ── one user ──


def _read_user(name: str, section: _Section, users: dict[str, UserEntry]) -> Iterator[Finding]:
    """Add the user to `users` unless a finding is an error."""
    values = msgspec.to_builtins(UserEntry())
    refused = False
    for key, value in section.lines:
        for finding in _read_key(name, key, value, values):
            refused = refused or finding.refused
            yield finding
    if len(name.encode()) > MAX_NAME_BYTES:
        refused = True
        yield Finding(name[:MAX_NAME_BYTES], "", f"is too long: the limit is {MAX_NAME_BYTES} bytes")
    if not values["secret"]:
        refused = True
        yield Finding(name, "secret", "is missing")
    if not refused:
        users[name] = msgspec.convert(values, UserEntry)


def _read_key(name: str, key: str, value: str, values: dict[str, object]) -> Iterator[Finding]:
    lower = key.lower()
    if found := _EVENT_FILTER.fullmatch(key):
        yield from _read_filter(name, value, found[1], values)
        return
    match lower:
        case "secret":
            values[lower] = value
        case "read" | "write":
            values[lower] = value
            for element in unknown_classes(value.encode()):
                yield Finding(name, key, not_a_class(element), refused=False)
        case "permit" | "allow" | "deny":
            yield from _read_list(name, lower, value, values)
        case "server":
            values[lower] = value
        case "allowmultiplelogin":
            values[lower] = is_true(value.encode())
        case "on_reconnect":
            values[lower] = value
            if value not in ("keep", "close"):
                yield Finding(name, key, "must be keep or close")
        case "acl":
            yield Finding(name, key, "is not supported: write the lines of acl.conf as permit and deny")
        case _ if lower in _WITHOUT_EFFECT:
            if _WITHOUT_EFFECT[lower]:
                yield Finding(name, key, _WITHOUT_EFFECT[lower], refused=False)
        case _:
            yield _unknown_key(name, key)


def _unknown_key(name: str, key: str) -> Finding:
    """A misspelt key is an error: the user would lack a right or, without a `deny`, `permit`, `allow`
    or `eventfilter`, have more than its section says. Another one may be of another Asterisk."""
    word = key.lower().partition("(")[0].strip()
    meant = next(iter(difflib.get_close_matches(word, [*_KEYS, *_WITHOUT_EFFECT], 1, _CLOSE)), None)
    what = "is not a key of a user" + (f"; did you mean {meant!r}?" if meant else "")
    return Finding(name, key, what, refused=meant in _KEYS)


def _read_list(name: str, key: str, value: str, values: dict[str, object]) -> Iterator[Finding]:
    """`permit` and `deny` with addresses are as in manager.conf; `allow`, and `deny` with names, are
    amid's rules."""
    rules = values["deny" if key == "deny" else "allow"]
    access = values["access"]
    assert isinstance(rules, list) and isinstance(access, list)
    if key != "permit" and _is_rule(value):
        rules += [value] if ":" in value else [rule.strip() for rule in value.split(",") if rule.strip()]
        return
    if key == "allow":
        yield Finding(name, key, f"{value!r} is not a rule: write an action's name, or a name, a colon and a pattern")
        return
    for part in filter(None, (part.strip() for part in value.split(","))):
        written = part.removeprefix("!")
        try:
            network = ipaddress.ip_network(written, strict=False)
        except ValueError:
            yield Finding(name, key, f"{part!r} is neither an address nor a network")
            continue
        if written.endswith(f"/{network.hostmask}") and network.hostmask != network.netmask:
            yield Finding(name, key, f"{part!r} has a host mask, which Asterisk would take for a netmask: write {network}")
        access.append(((key == "permit") != part.startswith("!"), str(network)))


def _is_rule(value: str) -> bool:
    try:
        ipaddress.ip_network(value.split(",")[0].strip().removeprefix("!"), strict=False)
    except ValueError:
        return bool(_RULE.fullmatch(value))
    return False


def _read_filter(name: str, pattern: str, criteria: str | None, values: dict[str, object]) -> Iterator[Finding]:
    """A wrong filter is an error: Asterisk ignores it, and the user receives events that it excludes."""
    try:
        make_filter(pattern, criteria)
    except FilterError as error:
        yield Finding(name, "eventfilter", f"{pattern!r}: {error}")
    else:
        filters = values["eventfilters"]
        assert isinstance(filters, list)
        filters.append((pattern, criteria))
