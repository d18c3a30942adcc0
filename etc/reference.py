"""The reference pages of etc/doc: `python etc/reference.py DIRECTORY` writes python.md and command-line.md there.

The first is made of the docstrings of what `amid` exports, the second of what `--help` shows, so neither is written twice. A test
compares the pages in etc/doc with what this makes.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType
from typing import Any, is_typeddict

import click
from man import ENVIRONMENT, FILES

import amid as package
from amid import client
from amid.cli.exits import EXITS
from amid.cli.main import COMMANDS, amid
from amid.client import results

WIDTH = 100
SECTIONS = {"Args:": "Parameters", "Returns:": "Result", "Raises:": "Errors", "Attributes:": "Attributes"}
INTERNAL = {"begin", "call", "put_on"}
"""Public to the modules of the client alone."""
MADE_BY_METHODS = (client.Events, client.AsyncEvents, client.Changes, client.AsyncChanges)
GENERATED = "<!-- Made by `python etc/reference.py etc/doc`: edit the source instead. -->"

PYTHON = """\
# Python API

The package `amid` has a blocking client, `Client`, and the same for asyncio, `AsyncClient`. The
[README](../../README.md) has a first example. [clients/python](../../clients/python/) has three small programs: a dialer, a
wallboard in a terminal, and a CRM pop-up. With `amid demo`:

```sh
python clients/python/wallboard.py
echo 200 | python clients/python/dialer.py --channel 'Local/{}@default' --extension 100@default
BROWSER='echo %s' python clients/python/crm_popup.py --phone PJSIP/alice --url 'https://crm.example.com/?number={}'
```

Every method raises [`AmidError`](#amiderror). Its `sent` says whether Asterisk may have received the action. All times are in
seconds."""

COMMAND_LINE = """\
# Command line

`amid COMMAND --help` shows the same in a terminal, and `man amid` where the Debian package is installed.

With `--json`, a command prints JSON for scripts: one value, or one a line, as its table says. A call that fails prints
`{"error": …}` with the error of the [contract](../../clients/README.md#errors). The [exit status](#exit-status) says how the
command ended. After `eval "$(amid completion bash)"`, Tab completes commands, options, and the action names of the PBX."""


def main(directory: Path) -> None:
    (directory / "python.md").write_text(page(PYTHON, python_page()))
    (directory / "command-line.md").write_text(page(COMMAND_LINE, command_line_page()))


def page(head: str, body: Iterator[str]) -> str:
    title, _, opening = head.partition("\n\n")
    return "\n\n".join([title, GENERATED, *map(wrapped, opening.split("\n\n")), *body]) + "\n"


def wrapped(words: str) -> str:
    """A paragraph, in lines that are no longer than prose has elsewhere; a block of code unchanged."""
    if words.startswith("```"):
        return words
    return textwrap.fill(" ".join(words.split()), WIDTH, break_long_words=False, break_on_hyphens=False)


# ── Python ──


def python_page() -> Iterator[str]:
    yield "## Clients"
    for one in (client.Client, client.Events, client.Changes):
        yield from described(one)
    yield from described(client.AsyncClient, without=client.Client)
    yield from described(client.AsyncEvents, without=client.Events)
    yield from described(client.AsyncChanges)
    yield from described(client.Curve)
    yield "## Events and gaps"
    yield from described(client.Event)
    yield from described(client.Gap)
    yield "## Errors"
    for error in (package.AmidError, package.ActionFailed, package.CallTimeout):
        yield from described(error)
    yield "## Results"
    yield wrapped("What the methods return. They are dictionaries, typed for editors and type checkers (`amid.client.results`).")
    yield wrapped(
        "`Text` is `str`, or `bytes` for what is not valid UTF-8. `Value` is the value of a header: a `Text`, or a list of them "
        "for a repeated header. `Packet` is a dictionary from header name to `Value`."
    )
    for one in vars(results).values():
        if is_typeddict(one):
            yield from described(one)


def described(one: type, without: type | None = None) -> Iterator[str]:
    """A class: how it is made, its docstring, fields, properties and methods. without: its counterpart, whose docstrings are not
    repeated."""
    yield f"### {one.__name__}"
    if fields := list(field_lines(one)):
        yield code("\n".join([f"class {one.__name__}({bases(one)}):", *fields]))
    elif issubclass(one, Exception):
        yield code(f"class {one.__name__}({bases(one)})")
    elif one not in MADE_BY_METHODS:
        yield code(signature(one.__name__, one.__init__))
    yield from paragraphs(one.__doc__ or "")
    for name, member in public(one):
        counterpart = getattr(without, name, None)
        text = inspect.getdoc(member) or ""
        if counterpart is not None and inspect.getdoc(counterpart) == text:
            continue
        if isinstance(member, property):
            yield f"#### {one.__name__}.{name}"
        else:
            yield f"#### {one.__name__}.{name}()"
            yield code(signature(name, member))
        yield from paragraphs(text)
    if without is not None:
        yield wrapped(f"All other methods are those of [`{without.__name__}`](#{without.__name__.lower()}), to be awaited.")


def public(one: type) -> Iterator[tuple[str, Any]]:
    """Methods and properties that have a docstring, in the order of the source; those of a base class come first."""
    inherited = [
        parent for parent in one.__mro__[1:] if parent.__module__.startswith("amid.") and parent.__name__ not in package.__all__
    ]
    for parent in (*reversed(inherited), one):
        for name, member in vars(parent).items():
            documented = isinstance(member, FunctionType | property) and inspect.getdoc(member)
            if documented and not name.startswith("_") and name not in INTERNAL:
                yield name, member


def bases(one: type) -> str:
    """What it is to be shown as: a tuple, a dictionary, a frozen dataclass, or an exception of these classes."""
    if is_typeddict(one):
        return "TypedDict"
    if dataclasses.is_dataclass(one):
        return "frozen dataclass"
    return ", ".join(base.__name__ for base in one.__bases__) if issubclass(one, Exception) else "NamedTuple"


def field_lines(one: type) -> Iterator[str]:
    if dataclasses.is_dataclass(one) or is_typeddict(one) or hasattr(one, "_fields"):
        for name, annotation in one.__annotations__.items():
            yield f"    {name}: {getattr(annotation, '__forward_arg__', annotation)}"


class Verbatim(str):
    """An annotation that is shown as it stands in the source, without quotation marks."""

    def __repr__(self) -> str:
        return str(self)


def signature(name: str, function: Any) -> str:
    """`name(parameters) -> result`, with one parameter a line when it is too long."""
    found = inspect.signature(function)
    parameters = [
        parameter.replace(annotation=Verbatim(parameter.annotation)) if parameter.annotation is not parameter.empty else parameter
        for key, parameter in found.parameters.items()
        if key != "self"
    ]
    result = "" if found.return_annotation in ("None", found.empty) else f" -> {found.return_annotation}"
    lead = "async " if inspect.iscoroutinefunction(function) else ""
    shown = f"{lead}{name}{found.replace(parameters=parameters, return_annotation=found.empty)}{result}"
    if len(shown) <= WIDTH:
        return shown
    inside = str(found.replace(parameters=parameters, return_annotation=found.empty))[1:-1]
    return f"{lead}{name}(\n    " + ",\n    ".join(split_parameters(inside)) + f",\n){result}"


def split_parameters(inside: str) -> Iterator[str]:
    """The parameters of a signature, whose annotations may have commas in brackets."""
    depth, start = 0, 0
    for position, letter in enumerate(inside):
        depth += (letter in "[(") - (letter in "])")
        if letter == "," and not depth:
            yield inside[start:position].strip()
            start = position + 1
    yield inside[start:].strip()


def paragraphs(text: str) -> Iterator[str]:
    """A docstring as Markdown: its paragraphs, and its sections (`Args:`, `Raises:`) as lists."""
    for paragraph in filter(None, inspect.cleandoc(text).split("\n\n")):
        title, _, rest = paragraph.partition("\n")
        if title in SECTIONS:
            yield f"{SECTIONS[title]}:"
            yield "\n".join(map(entry, entries(rest)))
        else:
            yield wrapped(paragraph)


def entries(section: str) -> Iterator[str]:
    """The entries of a section; the lines that continue one are indented further."""
    for words in re.split(r"\n(?=\S)", textwrap.dedent(section).rstrip()):
        yield " ".join(words.split())


def entry(words: str) -> str:
    name, colon, rest = words.partition(": ")
    plain = colon and re.fullmatch(r"[\w, ]+", name)
    marked = f"`{name}`: {rest}" if plain else words
    options = {"initial_indent": "* ", "subsequent_indent": "  ", "break_long_words": False, "break_on_hyphens": False}
    return textwrap.fill(marked, WIDTH, **options)  # type: ignore[arg-type]


def code(text: str, language: str = "python") -> str:
    return f"```{language}\n{text}\n```"


# ── command line ──


def command_line_page() -> Iterator[str]:
    context = click.Context(amid, info_name="amid")
    commands = {name: amid.get_command(context, name) for name in COMMANDS}
    rows = [
        f"| [`amid {name}`](#amid-{name}) | {command.get_short_help_str(200)} |" for name, command in commands.items() if command
    ]
    yield "\n".join(["| command | |", "|---|---|", *rows])
    yield "## Options of every command"
    yield option_table(amid, context)
    for name, command in commands.items():
        assert command is not None and command.help is not None
        inner = click.Context(command, context, info_name=name)
        yield f"## amid {name}"
        yield code(" ".join(["amid", name, *command.collect_usage_pieces(inner)]), "")
        yield from help_paragraphs(command.help)
        if options := option_table(command, inner):
            yield options
    yield "## Exit status"
    yield "\n".join(["| status | meaning |", "|---|---|", *(f"| {exit.status} | {exit.meaning} |" for exit in EXITS)])
    yield "## Environment"
    yield "\n".join(["| variable | |", "|---|---|", *(f"| `{name}` | {words} |" for name, words in ENVIRONMENT.items())])
    yield "## Files"
    yield "\n".join(["| file | |", "|---|---|", *(f"| `{name}` | {words} |" for name, words in FILES.items())])


def help_paragraphs(text: str) -> Iterator[str]:
    """A paragraph that begins with click's mark for it keeps its lines."""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        yield code(paragraph[1:].strip("\n"), "") if paragraph.startswith("\b") else wrapped(paragraph)


def option_table(command: click.Command, context: click.Context) -> str:
    """Options and what they do, without --help; empty when there are none."""
    records = [option.get_help_record(context) for option in command.params if isinstance(option, click.Option)]
    rows = [(name, " ".join(words.split())) for name, words in filter(None, records) if "--help" not in name]
    lines = [f"| `{name}` | {cell(words)} |" for name, words in rows]
    return "\n".join(["| option | |", "|---|---|", *lines]) if rows else ""


def cell(words: str) -> str:
    """Text of a table's cell, in which a bar would end it."""
    return words.replace("|", "\\|")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
