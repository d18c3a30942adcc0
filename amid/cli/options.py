"""Options and argument types that several commands share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from amid.cli import complete

JSON = click.option("--json", "as_json", is_flag=True, help="One line of JSON, exactly as the daemon gave it.")
SERVER = click.option("--server", metavar="NAME", shell_complete=complete.servers, help="Needed when there are several.")
TIMEOUT = click.option(
    "--timeout",
    type=click.FloatRange(0, 3600, min_open=True),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How long the answer may take.",
)


class Header(click.ParamType[tuple[str, str]]):
    """K=V; the first `=` splits."""

    name = "K=V"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, equals, text = str(value).partition("=")
        if not equals or not name:
            self.fail(f"{value!r} is no header: write NAME=VALUE, for example Channel=PJSIP/100", param, ctx)
        return name, text


def fields(headers: Iterable[tuple[str, str]]) -> dict[str, str | list[str]]:
    """Headers as a map; one that is given several times has a list."""
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}
