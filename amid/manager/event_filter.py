"""Event filters: `eventfilter` of a user, and the action Filter (`manager_add_filter`,
`should_send_event`, main/manager.c).

A filter without criteria is a regular expression that is searched for in the whole packet; `!` before
it excludes what matches. Criteria limit a filter to the events of one name or to one header, and
may select another comparison. An event is sent if an including filter matches, or there is none, and
no excluding filter matches.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial

from amid.manager.posix_regex import PosixRegex
from amid.manager.request_parser import value_of

NOT_COMPILED = b"Filter did not compile.  Check the syntax of the filter given."
WRONG_FORMAT = b"Filter was formatted incorrectly.  Check the syntax of the filter given."

_TOKENS = re.compile(rb"[^ ,)]+")

Match = Callable[[bytes], bool]
_METHODS: dict[bytes, Callable[[bytes, bytes], bool]] = {
    b"exact": lambda pattern, text: text == pattern,
    b"starts_with": lambda pattern, text: text.startswith(pattern),
    b"ends_with": lambda pattern, text: text.endswith(pattern),
    b"contains": lambda pattern, text: pattern in text,
}


class FilterError(ValueError):
    """A filter that Asterisk refuses. message: its answer."""

    def __init__(self, message: bytes) -> None:
        super().__init__(message.decode())
        self.message = message


class EventFilter:
    """criteria: the text in the parentheses of `eventfilter(…)` or the header MatchCriteria, None
    without either. Raises `FilterError`."""

    def __init__(self, pattern: bytes, criteria: bytes | None = None) -> None:
        self.excludes = pattern.startswith(b"!")
        self._name = self._header = b""
        self._method = b"regex" if criteria is None else b"none"
        pattern = pattern.removeprefix(b"!")
        if criteria is not None:
            self._read(criteria)
            self._check(pattern)
        elif not pattern:
            raise FilterError(WRONG_FORMAT)
        self._match = self._matcher(pattern)

    def matches(self, event: bytes) -> bool:
        """event: a packet with its blank line."""
        if self._name and self._name != event_name(event):
            return False
        if not self._header:
            return self._match(event)
        values = (value_of(line) for line in event.replace(b"\r", b"").split(b"\n") if line.startswith(self._header))
        return any(self._match(value) for value in values if value)

    def _read(self, criteria: bytes) -> None:
        """`name(…)`, `header(…)`, `action(include|exclude)` and `method(…)`, in any order."""
        options = _TOKENS.findall(criteria)
        if not options:
            raise FilterError(WRONG_FORMAT)
        for option in options:
            kind, _, value = option.partition(b"(")
            known = next((name for name in (b"action", b"name", b"header", b"method") if kind.startswith(name)), None)
            if not known or not value:
                raise FilterError(WRONG_FORMAT)
            self._set(known, value)

    def _set(self, option: bytes, value: bytes) -> None:
        if option == b"name":
            self._name = value
        elif option == b"header":
            self._header = value if value.endswith(b":") else value + b":"
        elif option == b"action" and value in (b"include", b"exclude"):
            self.excludes = value == b"exclude"
        elif option == b"method" and (value in _METHODS or value in (b"regex", b"none")):
            self._method = value
        else:
            raise FilterError(WRONG_FORMAT)

    def _check(self, pattern: bytes) -> None:
        """A pattern requires a method and vice versa; without both, a name or a header is required."""
        bare = self._method == b"none"
        if bare == bool(pattern) or (bare and not self._name and not self._header):
            raise FilterError(WRONG_FORMAT)

    def _matcher(self, pattern: bytes) -> Match:
        if self._method == b"none":
            return lambda text: True
        if self._method != b"regex":
            return partial(_METHODS[self._method], pattern)
        try:
            return PosixRegex(pattern).matches
        except ValueError:
            raise FilterError(NOT_COMPILED) from None


class EventFilters:
    """The filters of one session."""

    def __init__(self, filters: Iterable[EventFilter] = ()) -> None:
        self._including: list[EventFilter] = []
        self._excluding: list[EventFilter] = []
        for each in filters:
            self.add(each)

    def __bool__(self) -> bool:
        return bool(self._including or self._excluding)

    def __len__(self) -> int:
        return len(self._including) + len(self._excluding)

    def add(self, each: EventFilter) -> None:
        (self._excluding if each.excludes else self._including).append(each)

    def passes(self, event: bytes) -> bool:
        """Whether an event is sent."""
        if self._including and not any(each.matches(event) for each in self._including):
            return False
        return not any(each.matches(event) for each in self._excluding)


def event_name(event: bytes) -> bytes:
    return value_of(event.partition(b"\n")[0]).removesuffix(b"\r")
