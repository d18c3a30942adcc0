"""POSIX extended regular expressions, by the C library (regcomp(3)).

Asterisk compiles its event filters with the same functions; Python's `re` reads many expressions
differently and backtracks without a limit, so that one client's filter would stop all clients. The
C library backtracks only for back-references, which POSIX does not have in extended expressions;
they are refused. It also expands repetitions: `((a+)+)+` doubles with every level, so an expression
whose expansion is too large is refused before it is compiled. Expressions are compiled for the
locale "C": characters of several bytes would take a thousand times as long to match, and a byte
that is not UTF-8 would match nothing.
"""

from __future__ import annotations

import ctypes
import re

_EXTENDED, _NOSUB = 1, 8
"""REG_EXTENDED, REG_NOSUB in regex.h of glibc and musl."""
_LC_CTYPE, _LC_COLLATE = 1 << 0, 1 << 3
"""LC_CTYPE_MASK, LC_COLLATE_MASK in locale.h."""
_REGEX_T_BYTES = 512
"""More than `regex_t` has anywhere: 64 bytes in glibc."""
MAX_SIZE = 500
"""Limit of an expression's characters and brackets after its repetitions are expanded."""

_BACK_REFERENCE = re.compile(rb"(?<!\\)(?:\\\\)*\\[1-9]")
_TOKEN = re.compile(rb"\\.|\[\^?\]?(?:\[[:.=].*?[:.=]\]|[^]])*\]|\{(\d*)(?:,(\d*))?\}|.", re.DOTALL)

_libc = ctypes.CDLL(None)
_libc.regcomp.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
_libc.regexec.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_int]
_libc.regfree.argtypes = [ctypes.c_void_p]
_libc.newlocale.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p]
_libc.newlocale.restype = _libc.uselocale.restype = ctypes.c_void_p
_libc.uselocale.argtypes = [ctypes.c_void_p]
_C_LOCALE = _libc.newlocale(_LC_CTYPE | _LC_COLLATE, b"C", None)


class PosixRegex:
    """A compiled expression. Raises `ValueError` if it cannot be compiled or is refused."""

    def __init__(self, pattern: bytes) -> None:
        self._compiled = ctypes.create_string_buffer(_REGEX_T_BYTES)
        self._usable = False
        if b"\0" in pattern or _BACK_REFERENCE.search(pattern) or expanded_size(pattern) > MAX_SIZE:
            raise ValueError(f"the expression {pattern!r} has a back-reference or too many repetitions")
        previous = _libc.uselocale(_C_LOCALE)
        failed = _libc.regcomp(self._compiled, pattern, _EXTENDED | _NOSUB)
        _libc.uselocale(previous)
        if failed:
            raise ValueError(f"the expression {pattern!r} cannot be compiled")
        self._usable = True

    def matches(self, text: bytes) -> bool:
        """Whether it matches anywhere in `text`."""
        return bool(_libc.regexec(self._compiled, text, 0, None, 0) == 0)

    def __del__(self) -> None:
        if self._usable:
            _libc.regfree(self._compiled)


def expanded_size(pattern: bytes) -> int:
    """An upper bound of the nodes that the C library makes of `pattern`, which need not be valid."""
    groups: list[int] = []
    total = last = 0  # of the innermost open group, and of the atom that a repetition would copy
    for found in _TOKEN.finditer(pattern):
        token = found[0]
        if token == b"(":
            groups.append(total)
            total = last = 0
        elif token == b")":
            last = total + 1
            total = last + (groups.pop() if groups else 0)
        elif copies := _copies(found):
            total += last * (copies - 1)
            last *= copies
        else:
            last = 1
            total += 1
    return total + sum(groups)


def _copies(token: re.Match[bytes]) -> int:
    """How often a repetition copies what is before it; 0 for another token. `+` keeps one copy
    beside the repeated one."""
    if token[0] in (b"*", b"?"):
        return 1
    if token[0] == b"+":
        return 2
    if token[1] is None:
        return 0
    return max(1, int(token[1] or 0), int(token[2] or 0)) + 1
