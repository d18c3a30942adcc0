"""What fits a type of msgspec, in words.

msgspec says of a value only that it does not fit, in words of its own. These are made from the type (its `description`, or its kind
and bounds), so that no update of msgspec changes what people read.
"""

from __future__ import annotations

import difflib
import json

from msgspec import inspect


def in_words(kind: inspect.Type) -> str:
    """What fits this type, in words."""
    match kind:
        case inspect.Metadata(extra_json_schema={"description": words}):
            return str(words)
        case inspect.UnionType(types=(first, *_)):
            return in_words(first)
        case inspect.LiteralType(values=values):
            return " or ".join(json.dumps(value) for value in values)
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return f"a whole number{_bounds(kind)}"
        case inspect.FloatType():
            return f"a number{_bounds(kind)}"
        case inspect.DictType():
            return "a map"
        case inspect.ListType(item_type=item):
            return f"a list, each item {in_words(item)}"
        case _:
            return "text"


def _bounds(kind: inspect.IntType | inspect.FloatType) -> str:
    bounds = {"over": kind.gt, "of at least": kind.ge, "and at most": kind.le}
    return "".join(f" {word} {bound:,}" for word, bound in bounds.items() if bound is not None)


def meant(key: str, known: list[str]) -> str:
    """Advice on an unknown key: the one that was meant, or those that there are."""
    close = difflib.get_close_matches(key, known, 1)
    return f"; did you mean {close[0]!r}?" if close else f" (known: {', '.join(known)})"
