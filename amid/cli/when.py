"""Times as people type them: 14:03, today, yesterday, 2h, 2026-11-27, 2026-11-27 14:03."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta
from typing import Any

import click

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
FORMATS = ("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S")


def parse(text: str, now: float) -> float:
    """The time that is meant, in seconds since 1970; without a date, the last time that the clock showed it. Raises `ValueError`.

    now: seconds since 1970.
    """
    today = datetime.fromtimestamp(now).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if text in ("today", "yesterday"):
        return (today - timedelta(days=text == "yesterday")).timestamp()
    ago = re.fullmatch(r"(\d{1,6})([smhdw])", text)
    if ago:
        return now - int(ago[1]) * UNITS[ago[2]]
    clock = re.fullmatch(r"(\d\d?):(\d\d)(?::(\d\d))?", text)
    if clock:
        hour, minute, second = int(clock[1]), int(clock[2]), int(clock[3] or 0)
        at = today.replace(hour=hour, minute=minute, second=second)
        shown = [(at - timedelta(days=days)).replace(fold=fold).timestamp() for days in (0, 1) for fold in (0, 1)]
        return max(seconds for seconds in shown if seconds <= now)
    for form in FORMATS:
        try:
            return datetime.strptime(text, form).timestamp()
        except ValueError:
            continue
    raise ValueError(text)


class When(click.ParamType[float]):
    """As `parse` takes it."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            return parse(str(value), time.time())
        except (ValueError, OverflowError):
            examples = "14:03, today, yesterday, 2h (ago), 2026-11-27 or '2026-11-27 14:03'"
            self.fail(f"{value!r} is no time: write {examples}", param, ctx)
