"""Numbers and names that a caller with `history = "masked"` sees.

Numbers of six digits or more show their last two digits, and no name. Shorter numbers are
extensions of this PBX and are shown with their names: without them, a ladder would say nothing.

A number may stand anywhere: a queue member without a name is called by its interface, and a number
may be written with separators or have parameters of a SIP URI. So digits are masked in all text, and
what matters is how many there are.
"""

from __future__ import annotations

import re
from typing import Any

from amid.rpc.requests import LONGEST_EXTENSION

SHOWN = 2
"""How many digits of a longer number are shown, at its end."""

_LABEL = re.compile(r"(?P<name>.*) \((?P<number>.*)\)", re.DOTALL)
_NUMBER = re.compile(rf"\+?\d(?:(?:[^\w@:]|_)*\d){{{LONGEST_EXTENSION},}}")
"""With any separators, also pauses, stars and dashes of Unicode, except those of an address."""
_MASKED = ("who", "whom", "dialled", "queue", "agent")


def mask(label: str) -> str:
    """Mask a number, a name with a number in parentheses, or any text with numbers."""
    found = _LABEL.fullmatch(label)
    if found is None:
        return _NUMBER.sub(lambda match: "x" * (len(match[0]) - SHOWN) + re.sub(r"\D", "", match[0])[-SHOWN:], label)
    number = mask(found["number"])
    return number if number != found["number"] else f"{mask(found['name'])} ({number})"


def mask_summary(row: dict[str, Any]) -> dict[str, Any]:
    """The summary of a call with all numbers masked; their order says nothing either."""
    return {**row, **{name: mask(row[name]) for name in _MASKED}, "numbers": sorted(map(mask, row["numbers"]))}
