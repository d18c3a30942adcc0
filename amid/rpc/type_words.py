"""Describes in words what fits a msgspec type, for error messages.

msgspec's own messages only say that a value does not fit, in wording that may change with an
update. These are made from the type: its `description`, or its kind and bounds.
"""

from __future__ import annotations

import difflib
import json

from msgspec import inspect


def describe_type(kind: inspect.Type) -> str:
    """What fits this type, in words."""
    match kind:
        case inspect.Metadata(extra_json_schema={"description": words}):
            return str(words)
        case inspect.UnionType(types=(first, *_)):
            return describe_type(first)
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
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
            return f"a list, each item {describe_type(item)}"
        case _:
            return "text"


def _bounds(kind: inspect.IntType | inspect.FloatType) -> str:
    bounds = {"over": kind.gt, "of at least": kind.ge, "and at most": kind.le}
    return "".join(f" {word} {bound:,}" for word, bound in bounds.items() if bound is not None)


def suggest_key(key: str, known: list[str]) -> str:
    """Advice about an unknown key: the closest known one, or all of them."""
    close = difflib.get_close_matches(key, known, 1)
    return f"; did you mean {close[0]!r}?" if close else f" (known: {', '.join(known)})"
