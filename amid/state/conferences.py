"""Conferences and their participants."""

from __future__ import annotations

from amid.state.headers import Fields, flag, number, text
from amid.state.model import Model, Thing


def start_conference(model: Model, fields: Fields, time: float) -> None:
    _put_conference(model, text(fields, "Conference"), {}, time)


def _put_conference(model: Model, name: str, values: Thing, time: float) -> None:
    if model.get("conference", name) is None:
        values = {"name": name, "locked": False, "muted": False, "since": time, **values}
    model.put("conference", name, values)


def end_conference(model: Model, fields: Fields, time: float) -> None:
    name = text(fields, "Conference")
    for participant in [key for key, one in model.kinds["participant"].items() if one["conference"] == name]:
        model.remove("participant", participant)
    model.remove("conference", name)


def join_conference(model: Model, fields: Fields, time: float) -> None:
    """The event ConfbridgeJoin, or an item of ConfbridgeList."""
    name, uniqueid = text(fields, "Conference"), text(fields, "Uniqueid")
    values = {
        "conference": name,
        "uniqueid": uniqueid,
        "channel": text(fields, "Channel"),
        "caller": text(fields, "CallerIDNum"),
        "caller_name": text(fields, "CallerIDName"),
        "admin": flag(fields, "Admin"),
        "muted": flag(fields, "Muted"),
        "talking": flag(fields, "Talking"),
    }
    if model.get("participant", _participant_id(name, uniqueid)) is None:
        values["since"] = time - number(fields, "AnsweredTime")
    _put_conference(model, name, {}, time)
    model.put("participant", _participant_id(name, uniqueid), values)


def leave_conference(model: Model, fields: Fields, time: float) -> None:
    model.remove("participant", _participant_id(text(fields, "Conference"), text(fields, "Uniqueid")))


def mute(model: Model, fields: Fields, time: float) -> None:
    _set_member(model, fields, "muted", True)


def unmute(model: Model, fields: Fields, time: float) -> None:
    _set_member(model, fields, "muted", False)


def talk(model: Model, fields: Fields, time: float) -> None:
    _set_member(model, fields, "talking", flag(fields, "TalkingStatus"))


def _set_member(model: Model, fields: Fields, member: str, value: bool) -> None:
    participant = _participant_id(text(fields, "Conference"), text(fields, "Uniqueid"))
    if model.get("participant", participant) is not None:
        model.put("participant", participant, {member: value})


def _participant_id(conference: str, uniqueid: str) -> str:
    return f"{conference}/{uniqueid}"


def list_conference(model: Model, fields: Fields, time: float) -> None:
    """An item of ConfbridgeListRooms."""
    values = {"locked": flag(fields, "Locked"), "muted": flag(fields, "Muted")}
    _put_conference(model, text(fields, "Conference"), values, time)
