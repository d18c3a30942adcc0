"""Numbers and names that a caller with `history = "masked"` sees.

Numbers of six digits or more show their last two digits, and no name. Shorter numbers are
extensions of this PBX and are shown with their names: without them, a ladder would say nothing.
"""

from __future__ import annotations

import re
from typing import Any

from amid.rpc.requests import LONGEST_EXTENSION

SHOWN = 2
"""How many digits of a longer number are shown, at its end."""

_LABEL = re.compile(r"(?:.* )?\(?(\+?[0-9*#]+)\)?", re.DOTALL)
_NUMBER = re.compile(rf"\+?[0-9]{{{LONGEST_EXTENSION + 1},}}")


def mask(label: str) -> str:
    """Mask a number, a name with a number in parentheses, or the name of a channel with numbers."""
    found = _LABEL.fullmatch(label)
    if found and _NUMBER.fullmatch(found[1]):
        label = found[1]
    return _NUMBER.sub(lambda match: "x" * (len(match[0]) - SHOWN) + match[0][-SHOWN:], label)


def mask_summary(row: dict[str, Any]) -> dict[str, Any]:
    """The summary of a call with all numbers masked."""
    shown = {name: mask(row[name]) for name in ("who", "whom", "dialled")}
    return {**row, **shown, "numbers": [mask(number) for number in row["numbers"]]}
