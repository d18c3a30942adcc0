"""Encodes the params of `action`, which has `fields` or `lines`."""

from __future__ import annotations

import msgspec

from amid.ami.action import InvalidAction, encode_action, encode_lines, fields_of_lines, own_action_id, without_action_id
from amid.errors import AmidError
from amid.rpc.requests import ActionParams


def with_fields(params: ActionParams) -> ActionParams:
    """Set `fields` from `lines`, so that rules can check them. Raises `AmidError`."""
    if params.lines is None:
        return params
    if params.fields or not params.raw:
        raise AmidError("invalid_params", "action: `params.lines` goes with `raw`, and without `fields`")
    try:
        return msgspec.structs.replace(params, fields=fields_of_lines(params.lines))
    except InvalidAction as error:
        raise AmidError("invalid_params", str(error)) from None


def own_params(params: ActionParams) -> list[str]:
    """The given params that are for amid's own processes."""
    return [name for name in ("action_id", "deadline") if getattr(params, name) is not None]


def client_params(params: ActionParams) -> ActionParams:
    """The params of a program for which another process of amid calls, with `fields` set.

    Such a process must check these, as the broker knows only the rights of the process. Raises
    `AmidError`, of kind `denied` for params of amid's own processes.
    """
    for name in own_params(params):
        raise AmidError("denied", f"`{name}` is for amid's own processes")
    return with_fields(params)


def encode_params(params: ActionParams, action_id: str) -> tuple[bytes, bytes | None]:
    """The packet, and the caller's own ActionID for an answer that is not raw. Raises `AmidError`."""
    try:
        if params.lines is not None:
            return encode_lines(params.action, action_id, params.lines), None
        own_id = own_action_id(params.fields)
        fields = without_action_id(params.fields) if own_id is not None else params.fields
        return encode_action(params.action, action_id, fields), own_id
    except InvalidAction as error:
        raise AmidError("invalid_params", str(error)) from None
