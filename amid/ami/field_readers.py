"""Readers of an action's fields: each returns the targets that some of the fields name.

They read as Asterisk does: names and values compare without case, leading blanks are skipped, and
the first of a repeated header counts. A value that Asterisk would cut off is refused, because an
access rule would see a different one.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Mapping
from enum import Enum, IntEnum
from typing import Any, NamedTuple

from amid.ami.action import BLANKS, InvalidAction, field_lines, without_action_id
from amid.ami.dialplan import (
    CALLING_APPLICATIONS,
    GUARDED_APPLICATIONS,
    GUARDED_VARIABLES,
    function_names,
    is_harmless_function,
    local_extensions,
    split_arguments,
)

MAX_PART_BYTES = 79
"""Limit of an extension, a context or a queue member's interface; Asterisk cuts off
the rest (`AST_MAX_EXTENSION`, channel.h)."""

MAX_CHANNEL_BYTES = 255
"""Limit of an Originate's Channel; Asterisk cuts off the rest
(`action_originate`, main/manager.c)."""

_SAFE = frozenset("abcdefghijklmnopqrstuvwxyz0123456789 ._-+=@:/")
"""Characters without a meaning inside a shell's quotes, and that do not separate arguments."""


class Needs(IntEnum):
    """The weakest rule of an `allow` list that permits a target."""

    NOTHING = 0
    """Any rule that permits the action."""
    NAME = 1
    """A rule for the action's name, wildcards included: `Queue*`."""
    WHOLE_NAME = 2
    """A rule with the whole name, `*`, or an empty `allow`."""
    PATTERN = 3
    """Always a rule with a colon: a shell, a file outside the
    recordings, a secret, a network address."""


class Kind(Enum):
    """What a target is. It decides which patterns can match."""

    TEXT = "text"
    APPLICATION = "application"
    EXTENSION = "extension"
    CHANNEL = "channel"
    FUNCTION = "function"
    PATH = "path"
    SHELL = "shell"


class Target(NamedTuple):
    """Something that an action reaches. text: in lower case, as rules compare it."""

    kind: Kind
    text: str
    needs: Needs


class Headers:
    """The fields of an action by name in lower case.

    Raises `InvalidAction` if no packet can carry them.
    """

    def __init__(self, action: str, fields: Mapping[Any, Any]) -> None:
        self._values: dict[bytes, list[str]] = {}
        for name, value in field_lines(action, without_action_id(fields)):
            shown = value.strip(BLANKS).lower().decode("utf-8", "surrogateescape")
            self._values.setdefault(name.lower(), []).append(shown)

    def all(self, name: str) -> list[str]:
        """All values of a header, in order."""
        return self._values.get(name.encode(), [])

    def one(self, name: str) -> str:
        """The value of a header that a rule depends on; "" if missing.

        Asterisk takes the first of several, so a repeated header is refused with `InvalidAction`.
        """
        values = self.all(name)
        if len(values) > 1:
            raise InvalidAction(f"{name!r} is given {len(values)} times, and access rules depend on it: give it once")
        return values[0] if values else ""


Reader = Callable[[Headers], Iterator[Target]]


# ── readers of fields ──


def text(*names: str, needs: Needs = Needs.WHOLE_NAME, form: str = "{}") -> Reader:
    """One target made of these fields, whether or not they are given."""

    def read(headers: Headers) -> Iterator[Target]:
        yield Target(Kind.TEXT, form.format(*(headers.one(name) for name in names)), needs)

    return read


def given(name: str, kind: Kind = Kind.TEXT, needs: Needs = Needs.PATTERN, form: str = "{}") -> Reader:
    """A target if the field is given."""

    def read(headers: Headers) -> Iterator[Target]:
        if value := headers.one(name):
            yield Target(kind, form.format(value), needs)

    return read


def configuration(name: str, needs: Needs = Needs.PATTERN) -> Reader:
    """A file of Asterisk's configuration by its shortest path:
    `x/../manager.conf` is `manager.conf`."""

    def read(headers: Headers) -> Iterator[Target]:
        file = headers.one(name)
        yield Target(Kind.TEXT, posixpath.normpath(file) if file else "", needs)

    return read


def command(headers: Headers) -> Iterator[Target]:
    """The CLI command that Asterisk runs.

    The CLI drops quotes and backslashes: `mod"ule" unload` is `module unload` (`parse_args`,
    main/cli.c).
    """
    words, literal = [], False
    for character in headers.one("command"):
        if literal or character not in '\\"':
            words.append(character)
        literal = character == "\\" and not literal
    yield Target(Kind.TEXT, " ".join("".join(words).split()), Needs.WHOLE_NAME)


def extension(exten: str, context: str, needs: Needs = Needs.WHOLE_NAME, optional: bool = False) -> Reader:
    """An extension in a context. optional: no target if the context is not given."""

    def read(headers: Headers) -> Iterator[Target]:
        if not optional or headers.one(context):
            yield _extension_target(headers.one(exten), headers.one(context), needs)

    return read


def _extension_target(exten: str, context: str, needs: Needs) -> Target:
    for part in (exten, context):
        _check_length("an extension or a context", part, MAX_PART_BYTES)
    return Target(Kind.EXTENSION, f"{exten}@{context}", needs)


def _check_length(what: str, text: str, limit: int) -> None:
    size = len(text.encode("utf-8", "surrogateescape"))
    if size > limit:
        raise InvalidAction(f"{what} has {size} bytes; Asterisk would cut it off after {limit}")


def channel(name: str, simple: Needs = Needs.NAME, dialplan: Needs = Needs.WHOLE_NAME, limit: int = MAX_CHANNEL_BYTES) -> Reader:
    """The channel that Asterisk dials for a field.

    simple: what a configured PJSIP endpoint needs. dialplan: what a Local channel needs.
    """

    def read(headers: Headers) -> Iterator[Target]:
        _check_length(f"the value of {name!r}", headers.one(name), limit)
        if value := headers.one(name):
            yield from _dialled(value, simple, dialplan)

    return read


def _dialled(channel: str, simple: Needs, dialplan: Needs) -> Iterator[Target]:
    """`Local/EXTEN@CONTEXT` enters the dialplan, `PJSIP/NAME` is an endpoint of
    pjsip.conf, and an address can be anywhere."""
    technology, _, rest = channel.partition("/")
    if technology == "local":
        for exten, context in local_extensions(rest):
            yield _extension_target(exten, context, dialplan)
    elif technology == "pjsip" and rest and _SAFE.issuperset(rest) and not set("/@: ") & set(rest):
        yield Target(Kind.CHANNEL, channel, simple)
    else:
        anywhere = technology in _TO_ANY_ADDRESS or ":" in rest
        yield Target(Kind.CHANNEL, channel, Needs.PATTERN if anywhere else max(simple, Needs.WHOLE_NAME))


_TO_ANY_ADDRESS = frozenset({"audiosocket", "multicastrtp", "unicastrtp", "websocket"})
"""Technologies whose channels send to an address in their name
(chan_audiosocket.c, chan_rtp.c, chan_websocket.c)."""


def recording(name: str) -> Reader:
    """A file below the monitor directory, a path outside it, or text that
    reaches a shell or another argument."""

    def read(headers: Headers) -> Iterator[Target]:
        if not (file := headers.one(name)):
            return
        if not _SAFE.issuperset(character for character in file if character.isascii()):
            yield Target(Kind.SHELL, f"!{file}", Needs.PATTERN)
            return
        path = posixpath.normpath(file)
        outside = path.startswith(("/", ".."))
        yield Target(Kind.PATH, path, Needs.PATTERN) if outside else Target(Kind.TEXT, path, Needs.WHOLE_NAME)

    return read


def unnamed_mix(headers: Headers) -> Iterator[Target]:
    """Without a File, Asterisk puts the channel's name into a shell
    command; a Local channel can have any name."""
    if headers.one("mix") and not headers.one("file"):
        yield Target(Kind.SHELL, "!mix", Needs.PATTERN)


def conference(headers: Headers) -> Iterator[Target]:
    """The conference's name is the default file name and may hold a comma
    (`set_rec_filename`, apps/app_confbridge.c)."""
    if not _SAFE.issuperset(headers.one("conference")):
        yield Target(Kind.SHELL, f"!{headers.one('conference')}", Needs.PATTERN)


def mixmonitor_options(headers: Headers) -> Iterator[Target]:
    """Arguments in parentheses are files, mailboxes and variables;
    a shell command follows a comma."""
    options = headers.one("options")
    if "," in options:
        yield Target(Kind.SHELL, f"!{options}", Needs.PATTERN)
    elif "(" in options:
        yield Target(Kind.TEXT, f"options {options}", Needs.PATTERN)


def message(name: str) -> Reader:
    """`pjsip:NAME` is a configured endpoint; a message to an address can go anywhere."""

    def read(headers: Headers) -> Iterator[Target]:
        if value := headers.one(name):
            anywhere = bool(set("@/:<") & set(value.partition(":")[2])) or ":" not in value
            yield Target(Kind.TEXT, value, Needs.PATTERN if anywhere else Needs.WHOLE_NAME)

    return read


def variable(headers: Headers) -> Iterator[Target]:
    """The variable or function of a Getvar or Setvar."""
    yield from _variable_targets(headers.one("variable"))


def variables(headers: Headers) -> Iterator[Target]:
    """The variables and functions of a Status."""
    for variable in split_arguments(headers.one("variables")):
        yield from _variable_targets(variable)


def _variable_targets(variable: str) -> Iterator[Target]:
    """The variable or function as written, and each function in
    its arguments that is not harmless."""
    if "(" not in variable:
        guarded = variable.strip().lstrip("_") in GUARDED_VARIABLES
        yield Target(Kind.TEXT, variable, Needs.PATTERN if guarded else Needs.WHOLE_NAME)
        return
    name, _, arguments = variable.partition("(")
    harmless = is_harmless_function(name, variable)
    yield Target(Kind.FUNCTION, variable, Needs.WHOLE_NAME if harmless else Needs.PATTERN)
    yield from _guarded_functions(arguments)


# ── Originate ──


def destination(headers: Headers) -> Iterator[Target]:
    """Where an Originate sends the call.

    An Application takes precedence over an extension (`action_originate`).
    """
    application = headers.one("application")
    if not application:
        yield _extension_target(headers.one("exten"), headers.one("context"), Needs.WHOLE_NAME)
        return
    guarded = application in GUARDED_APPLICATIONS
    yield Target(Kind.APPLICATION, application, Needs.PATTERN if guarded else Needs.WHOLE_NAME)
    if not guarded:
        yield from _arguments(application, headers.one("data"))


def _arguments(application: str, data: str) -> Iterator[Target]:
    """What an application's arguments reach: channels, subroutines, functions, a web address."""
    first, *rest = split_arguments(data) or [""]
    if application in CALLING_APPLICATIONS:
        for channel in filter(None, first.split("&")):
            yield from _dialled(channel, Needs.NOTHING, Needs.WHOLE_NAME)
        if any(f"{option}(" in argument for argument in rest for option in "bfgmu"):  # Dial's options that enter the dialplan
            yield Target(Kind.APPLICATION, "gosub", Needs.WHOLE_NAME)
        return
    if application == "queue" and any(rest[4:7]):  # AGI, macro, gosub
        yield Target(Kind.APPLICATION, "agi" if rest[4] else "gosub", Needs.PATTERN)
    if "://" in data:
        yield Target(Kind.TEXT, data, Needs.PATTERN)
    yield from _guarded_functions(data)


def _guarded_functions(text: str) -> Iterator[Target]:
    names = (name for name in function_names(text) if not is_harmless_function(name, text))
    yield from (Target(Kind.FUNCTION, f"{name}()", Needs.PATTERN) for name in names)


def set_on_channel(headers: Headers) -> Iterator[Target]:
    """The variables that an Originate sets.

    `Variable: A=1,FILE(/tmp/x)=2` writes a file: text that ends with `)` before a `=` is a
    function.
    """
    for text in headers.all("variable"):
        for piece in text.replace("\\", "").replace('"', "").split("=")[:-1]:
            variable = piece.rpartition(",")[2].strip().lstrip("_")
            if variable in GUARDED_VARIABLES:
                yield Target(Kind.TEXT, variable, Needs.PATTERN)
            if piece.endswith(")"):
                for name in function_names(piece):
                    harmless = is_harmless_function(name, piece)
                    yield Target(Kind.FUNCTION, f"{name}()", Needs.WHOLE_NAME if harmless else Needs.PATTERN)
