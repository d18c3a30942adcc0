"""What an action makes Asterisk run, read as Asterisk reads it, so that no other spelling gets past a rule.

    Command          its CLI command: `core show channels`
    Originate        its application, `dial`, or without one the extension, `100@default`; the extension of a Local channel too;
                     `gosub` for a PreDialGoSub; and the functions that its variables write to, as `file()`
    Getvar, Setvar   the variable or function: `cdr(src)`

All in lower case. Sources: `astman_get_header`, `action_originate` and `man_do_variable_value` in main/manager.c, `parse_args` in
main/cli.c, `local_alloc` in main/core_local.c. What an application, a context or an alias of a CLI command runs in its turn is
Asterisk's configuration, and cannot be seen from here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from amid.ami.action import MAX_HEADERS, InvalidAction, wire_bytes

MAX_CHANNEL = 255
"""Bytes that `action_originate` takes of a Channel."""

_BLANKS = bytes(range(33))
"""What Asterisk skips in front of a value (`ast_skip_blanks`, strings.h)."""

_CLI_QUOTE = re.compile(r'\\(.?)|"')
_FUNCTION = re.compile(r"(\w+)\(")


def reach(action: str, fields: Mapping[Any, Any]) -> list[str]:
    """What `action` runs with these `fields`; empty when no rule can look into that action.

    Raises `InvalidAction`, also when a header that decides is repeated: Asterisk would take the first.
    """
    match action.lower():
        case "command":
            return [_cli_words(_only(fields, b"command"))]
        case "getvar" | "setvar":
            return [_only(fields, b"variable")]
        case "originate":
            return [_destination(fields), *_local_extension(fields), *_gosub(fields), *_functions(fields)]
    return []


def _cli_words(command: str) -> str:
    """The words with one blank between them; the CLI drops quotes and backslashes, and so `mod"ule" unload` is `module unload`."""
    return " ".join(_CLI_QUOTE.sub(lambda quote: quote[1] or "", command).split())


def _destination(fields: Mapping[Any, Any]) -> str:
    return _only(fields, b"application") or f"{_only(fields, b'exten')}@{_only(fields, b'context')}"


def _local_extension(fields: Mapping[Any, Any]) -> list[str]:
    """`Local/EXTEN@CONTEXT/OPTIONS` enters the dialplan by itself."""
    channel = _only(fields, b"channel").encode("utf-8", "surrogateescape")[:MAX_CHANNEL].decode("utf-8", "surrogateescape")
    technology, _, rest = channel.partition("/")
    extension, _, context = (rest.rpartition("/")[0] or rest).partition("@")
    return [f"{extension}@{context or 'default'}"] if technology == "local" else []


def _gosub(fields: Mapping[Any, Any]) -> list[str]:
    return ["gosub"] if _only(fields, b"predialgosub") else []


def _functions(fields: Mapping[Any, Any]) -> list[str]:
    """`Variable: A=1,FILE(/tmp/x)=2` writes a file: what stands before a `=` and ends with `)` is a function."""
    texts = (value.replace("\\", "").replace('"', "") for value in _values(fields, b"variable"))
    names = (name for text in texts for name in text.split("=")[:-1] if name.endswith(")"))
    return [f"{function}()" for name in names for function in _FUNCTION.findall(name)]


def _only(fields: Mapping[Any, Any], header: bytes) -> str:
    values = _values(fields, header)
    if len(values) > 1:
        raise InvalidAction(f"{header.decode()!r} stands there {len(values)} times, and a rule looks at it: give it once")
    return values[0] if values else ""


def _values(fields: Mapping[Any, Any], header: bytes) -> list[str]:
    found: list[Any] = []
    for name, value in fields.items():
        if wire_bytes(name).lower() == header:
            found += value if isinstance(value, list | tuple) else [value]
    if len(found) > MAX_HEADERS:
        raise InvalidAction(f"{header.decode()!r} stands there {len(found)} times; Asterisk takes {MAX_HEADERS} headers at most")
    return [wire_bytes(value, header).strip(_BLANKS).lower().decode("utf-8", "surrogateescape") for value in found]
