"""The classes of events and actions, as sets of bits (`perms`, main/manager.c).

`read` and `write` of a user, the Events mask and the `Privilege` of an event are lists of them.
Asterisk parses such lists in an unusual way. A section of manager.conf must mean the same here, so
`parse_classes` does exactly the same.
"""

from __future__ import annotations

from functools import lru_cache

from amid.rpc.type_words import suggest_key

NAMES = (
    *("system", "call", "log", "verbose", "command", "agent", "user", "config", "dtmf", "reporting"),
    *("cdr", "dialplan", "originate", "agi", "cc", "aoc", "test", "security", "message"),
)
BITS = {name.encode(): 1 << number for number, name in enumerate(NAMES)}
_OTHER = 1 << len(NAMES)
"""All classes that are not in the list; only `all` includes them."""
ALL = (_OTHER << 1) - 1
SYSTEM = BITS[b"system"]

_LABELS = {**BITS, b"all": ALL, b"none": 0}
_TRUE = {b"yes", b"true", b"y", b"t", b"1", b"on"}
_FALSE = {b"no", b"false", b"n", b"f", b"0", b"off"}

# The bit of each class in a mask that is a number (include/asterisk/manager.h).
_NUMBERED = {0: b"system", 1: b"call", 2: b"log", 3: b"verbose", 4: b"command", 5: b"agent", 6: b"user", 7: b"config", 8: b"dtmf"}
_NUMBERED |= {9: b"reporting", 10: b"cdr", 11: b"dialplan", 12: b"originate", 13: b"agi", 15: b"cc", 16: b"aoc", 17: b"test"}
_NUMBERED |= {18: b"security", 30: b"message"}
_INT_MAX = 2**31 - 1


def is_true(text: bytes) -> bool:
    """`ast_true`."""
    return text.lower() in _TRUE


def is_false(text: bytes) -> bool:
    """`ast_false`."""
    return text.lower() in _FALSE


def parse_classes(text: bytes) -> int:
    """The classes in a list such as `system,call` (`get_perm`, `ast_instring`).

    An element before a comma names every class that begins with it, so an empty one names all
    classes. The last element names one class.
    """
    *elements, last = text.split(b",")
    found = _LABELS.get(last, 0)
    for element in elements:
        for label, bits in _LABELS.items():
            if label.startswith(element):
                found |= bits
    return found


def unknown_classes(text: bytes) -> list[bytes]:
    """The elements of a list that are not the name of a class, which Asterisk misinterprets."""
    return [element for element in text.split(b",") if element not in _LABELS]


def not_a_class(element: bytes) -> str:
    """What is wrong with an element that is not the name of a class."""
    text = element.decode()
    return f"{text!r} is not a class, and Asterisk would misread it{suggest_key(text, [*NAMES, 'all', 'none'])}"


def parse_event_mask(text: bytes) -> int | None:
    """The classes in an Events mask; None if it is invalid (`strings_to_mask`)."""
    if not text:
        return None
    if text.isdigit() and text.isascii():
        return _of_number(text)
    if is_false(text):
        return 0
    return ALL if is_true(text) else parse_classes(text)


def unknown_in_event_mask(text: bytes) -> list[bytes]:
    """The elements of an Events mask that are not the name of a class."""
    is_whole = is_true(text) or is_false(text) or (text.isdigit() and parse_event_mask(text) is not None)
    return [] if is_whole else unknown_classes(text)


def _of_number(digits: bytes) -> int | None:
    """The number as a C int (`atoi`); a negative one is invalid."""
    number = min(int(digits[:30]), 2**63 - 1) & 0xFFFFFFFF
    if number > _INT_MAX:
        return None
    if number == _INT_MAX:
        return ALL
    bits = sum(BITS[name] for place, name in _NUMBERED.items() if number >> place & 1)
    return bits or (_OTHER if number else 0)


@lru_cache(1024)
def parse_privilege(value: bytes) -> int:
    """The classes in the `Privilege` of an event or the `Priv` of an action.

    A session receives an event if it has all of them.
    """
    required = 0
    for name in value.split(b","):
        if name not in (b"all", b"<none>", b""):
            required |= BITS.get(name, _OTHER)
    return required
