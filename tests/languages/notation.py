"""Values in a harness's lines: JSON, and `{"$bin": "HEX"}` for a MessagePack `bin`, which JSON has not (clients/CONFORMANCE.md)."""

from __future__ import annotations

from typing import Any

MARK = "$bin"


def shown(value: Any) -> Any:
    """A value as a line has it."""
    if isinstance(value, bytes):
        return {MARK: value.hex()}
    if isinstance(value, dict):
        return {_shown_key(key): shown(one) for key, one in value.items()}
    return [shown(one) for one in value] if isinstance(value, list | tuple) else value


def meant(line: Any) -> Any:
    """The value that a line means."""
    if isinstance(line, dict):
        if set(line) == {MARK}:
            return bytes.fromhex(line[MARK])
        return {_meant_key(key): meant(one) for key, one in line.items()}
    return [meant(one) for one in line] if isinstance(line, list) else line


def _shown_key(key: str | bytes) -> str:
    return f"{MARK}:{key.hex()}" if isinstance(key, bytes) else key


def _meant_key(key: str) -> str | bytes:
    return bytes.fromhex(key.removeprefix(f"{MARK}:")) if key.startswith(f"{MARK}:") else key
