"""Options and argument types shared by several commands."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

from amid.cli import complete

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class Number(click.FloatRange):
    """A finite number within bounds, which click's errors call a `float range`."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):  # no comparison excludes nan from a range
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return number


class WholeNumber(click.IntRange):
    name = "whole number"


SERVER = click.option("--server", metavar="NAME", shell_complete=complete.servers, help="Required if there are several servers.")
TIMEOUT = click.option(
    "--timeout",
    type=Number(0, 3600, min_open=True),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="Timeout for the answer.",
)


def json_option(help: str) -> Callable[[Decorated], Decorated]:
    """The option --json. help: what the command then prints."""
    return click.option("--json", "as_json", is_flag=True, help=help)


RESULT_AS_JSON = json_option("Print the result as one JSON object.")
LIST_AS_JSON = json_option("Print the list as one JSON array.")


class Header(click.ParamType[tuple[str, str]]):
    """K=V, split at the first `=`."""

    name = "K=V"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, equals, text = str(value).partition("=")
        if not equals or not name:
            self.fail(f"{value!r} is not a header: write NAME=VALUE, for example Channel=PJSIP/100", param, ctx)
        return name, text


def fields(headers: Iterable[tuple[str, str]]) -> dict[str, str | list[str]]:
    """Headers as a map; a repeated header becomes a list."""
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}
