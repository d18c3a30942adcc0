"""The manual pages amid(1) and amid.toml(5), as roff (man-pages(7), groff_man(7)): `python etc/man.py DIRECTORY` writes them there.

Nothing is told twice: the first is made of what `--help` shows and of the README's examples, the second of the comments in
etc/amid.toml. It runs in a clone, where those are.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click

from amid import __version__
from amid.cli.exits import EXITS
from amid.cli.main import COMMANDS, amid

EXAMPLE = Path(__file__).parent / "amid.toml"
README = Path(__file__).parents[1] / "README.md"
NAMES = {"servers.pbx1": "servers.NAME", "callers.crm": "callers.NAME"}
"""Tables of the example whose names are the operator's."""

WHAT = (
    "amid owns the Manager Interface (AMI) connections of one or more Asterisk PBXs, and gives every program on the machine calls "
    "that are answered before a deadline and an event stream in which loss is never silent. `amid run` is the daemon; the other "
    "commands are programs that use it."
)
ENVIRONMENT = {
    "AMID_RUN_DIR": "The daemon's directory, unless --run-dir names it. With no daemon there, no other is looked for.",
    "XDG_RUNTIME_DIR": "A person's own daemon, without AMID_RUN_DIR, has its directory amid there.",
    "AMID_CONFIG": "The configuration file, unless -c names it.",
    "NO_COLOR": "When it is set and not empty, nothing is coloured.",
    "TERM": "When it is dumb, nothing is coloured.",
    "CREDENTIALS_DIRECTORY": "Where systemd puts credentials: NAME.secret there is the secret of the server NAME.",
    "STATE_DIRECTORY": "Where systemd lets the daemon keep state (StateDirectory=): the default of state_dir.",
    "XDG_STATE_HOME": "A person's own daemon keeps its state in the directory amid there; ~/.local/state when it is not set.",
}
FILES = {
    "/etc/amid/amid.toml": "The configuration; see amid.toml(5).",
    "/run/amid": "The daemon's directory: its sockets, its lock and its status.",
    "/var/lib/amid": "What outlives that directory: recordings, and the number that event epochs begin above.",
    "/usr/share/doc/amid": "The documentation in the Debian package, such as etc/doc/recorder.md.",
}


# ── roff ──


PLAIN = str.maketrans({"\\": "\\e", "-": "\\-", "`": "\\(ga", "'": "\\(aq", "~": "\\(ti", "^": "\\(ha", "…": "..."})
"""Signs that roff would make typographic, so that what is copied from a page is what was meant; roff reads ASCII alone."""


def text(plain: str) -> str:
    """Text as roff shows it unchanged."""
    return re.sub(r"^\.", r"\\&.", plain.translate(PLAIN), flags=re.MULTILINE)


def page(name: str, section: int, title: str, summary: str, body: list[str]) -> str:
    head = [f'.TH {name.upper()} {section} "" "amid {__version__}" "{title}"', ".SH NAME", f"{name} \\- {text(summary)}", *body]
    return "\n".join(line for line in head if line) + "\n"


def paragraphs(words: str) -> Iterator[str]:
    """Paragraphs of a help text; one that begins with click's mark for it keeps its lines."""
    for paragraph in inspect.cleandoc(words).split("\n\n"):
        if paragraph.startswith("\b"):
            yield from (".PP", *shown(paragraph[1:].strip("\n")))
        else:
            yield from (".PP", text(" ".join(paragraph.split())))


def shown(lines: str) -> list[str]:
    """Lines that stay as they are."""
    return [".nf", text(lines), ".fi"]


def listed(entries: dict[str, str]) -> Iterator[str]:
    for name, words in entries.items():
        yield from (".TP", f".B {text(name)}", text(words))


# ── amid(1) ──


def command_page() -> str:
    body = [".SH SYNOPSIS", ".B amid", "[\\fIOPTIONS\\fR] \\fICOMMAND\\fR [\\fIARGUMENTS\\fR]", ".SH DESCRIPTION"]
    body += [text(WHAT), ".SH OPTIONS", *options(amid), ".SH COMMANDS"]
    for name in COMMANDS:
        body += command(name)
    body += [".SH EXAMPLES", *shown(examples())]
    body += [".SH EXIT STATUS", *listed({str(exit.status): exit.meaning for exit in EXITS})]
    body += [".SH ENVIRONMENT", *listed(ENVIRONMENT), ".SH FILES", *listed(FILES)]
    body += [".SH SEE ALSO", ".BR amid.toml (5),", ".BR asterisk (8),", ".BR systemd.service (5)"]
    return page("amid", 1, "User Commands", "RPC and events for everything that talks to an Asterisk PBX", body)


def examples() -> str:
    """What the README shows at a prompt."""
    found = re.search(r"^```console\n(.*?)\n```$", README.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def command(name: str) -> Iterator[str]:
    context = click.Context(amid, info_name="amid")
    found = amid.get_command(context, name)
    assert found is not None and found.help is not None
    usage = " ".join(found.collect_usage_pieces(click.Context(found, context, info_name=name)))
    yield from (f".SS amid {name}", f".B amid {text(name)}", text(usage))
    yield from paragraphs(found.help)
    yield from options(found)


def options(of: click.Command) -> Iterator[str]:
    context = click.Context(of)
    for option in of.params:
        record = option.get_help_record(context) if isinstance(option, click.Option) else None
        if record is not None and "--help" not in record[0]:
            yield from (".TP", f".B {text(record[0])}", text(" ".join(record[1].split())))


# ── amid.toml(5) ──


class Key(NamedTuple):
    """A key of the example file, or with an empty `name` a table: what the comments say, and the value as it stands there."""

    table: str
    name: str
    value: str
    words: str


def keys(example: str) -> list[Key]:
    """Tables and keys in their order. A comment stands before its table or key, behind it, or goes on below in the same column."""
    table = ""
    before: list[str] = []
    found: list[Key] = []
    for line in example.splitlines():
        if match := re.fullmatch(r"(?:# )?\[([\w.]+)\]", line):
            table = match[1]
            found.append(Key(table, "", "", " ".join(before)))
            before = []
        elif match := re.fullmatch(r"(?:# )?(\w+) = (.+?)(?:\s+# (.*))?", line):
            found.append(Key(table, match[1], match[2], " ".join([*before, match[3] or ""]).strip()))
            before = []
        elif match := re.fullmatch(r"(?:# )?\s{10,}# (.*)", line):
            found[-1] = found[-1]._replace(words=f"{found[-1].words} {match[1]}")
        elif line.startswith("# "):
            before.append(line[2:])
        else:
            before = []
    return found


def file_page() -> str:
    example = EXAMPLE.read_text()
    opening, _, rest = example.partition("\n\n")
    summary = opening.splitlines()[0].partition(": ")[2]
    body = [".SH DESCRIPTION", text("Every key is shown with its default, or with an example where it has none.")]
    body += [text("Those of the example below must be given.")]
    body += [text(" ".join(line.removeprefix("# ") for line in opening.splitlines()[2:]))]
    body.append(".SH TOP LEVEL")
    for key in keys(rest):
        if not key.name:
            body += [f".SH [{text(NAMES.get(key.table, key.table))}]", text(key.words)]
        elif key.words:  # without, it repeats one above that shows the default
            body += [".TP", f"\\fB{text(key.name)}\\fR = {text(key.value)}", text(key.words)]
    body += [".SH EXAMPLE", *shown((EXAMPLE.parent / "amid-minimal.toml").read_text().strip())]
    body += [".SH SEE ALSO", ".BR amid (1)"]
    return page("amid.toml", 5, "File Formats", summary.rstrip("."), body)


if __name__ == "__main__":
    directory = Path(sys.argv[1])
    (directory / "amid.1").write_text(command_page())
    (directory / "amid.toml.5").write_text(file_page())
