"""The methods `calls` and `call`, answered from the files of one server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from amid.errors import AmidError
from amid.recorder.archive import Archive
from amid.rpc.requests import CallParams, CallsParams, Params

MAX_EVENTS = 10_000
"""Limit of the events of one call in an answer."""


def answer(directory: Path, server: str, params: Params) -> dict[str, Any]:
    """The result of a request, as the contract describes it. Raises `AmidError`."""
    archive = Archive(directory, server)
    match params:
        case CallsParams():
            found, more = archive.calls(params)
            result: dict[str, Any] = {"server": server, "calls": found, "more": more}
        case CallParams():
            result = _call(archive, server, params)
        case _:
            raise AmidError("internal_error", f"the recorder does not answer {type(params).__name__}")
    if archive.failures:
        result["unreadable"] = [f"{path.name}: {error}" for path, error in archive.failures]
    return result


def _call(archive: Archive, server: str, params: CallParams) -> dict[str, Any]:
    if (params.linkedid is None) == (params.number is None):
        raise AmidError("invalid_params", "`call` needs either `linkedid` or `number`; `at` goes with `number`")
    found = archive.call(params)
    if found is None:
        return {"server": server, "call": None, "ladder": []}
    result: dict[str, Any] = {"server": server, "call": found.summary, "ladder": found.ladder}
    if params.all:
        result["events"] = [msgspec.msgpack.decode(packed) for packed in found.events[:MAX_EVENTS]]
        result["left_out"] = max(0, len(found.events) - MAX_EVENTS)
    return result
