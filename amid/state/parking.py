"""Parked calls."""

from __future__ import annotations

from amid.state.headers import Fields, number, text
from amid.state.model import Model


def park(model: Model, fields: Fields, time: float) -> None:
    """The events ParkedCall (also the item of the list ParkedCalls) and ParkedCallSwap, where
    another channel takes over the space."""
    uniqueid = text(fields, "ParkeeUniqueid")
    space = text(fields, "Parkinglot"), text(fields, "ParkingSpace")
    for other in [key for key, one in model.kinds["parked"].items() if (one["lot"], one["space"]) == space and key != uniqueid]:
        model.remove("parked", other)
    values = {
        "uniqueid": uniqueid,
        "channel": text(fields, "ParkeeChannel"),
        "caller": text(fields, "ParkeeCallerIDNum"),
        "caller_name": text(fields, "ParkeeCallerIDName"),
        "lot": text(fields, "Parkinglot"),
        "space": text(fields, "ParkingSpace"),
        "parker": text(fields, "ParkerDialString"),
    }
    if model.get("parked", uniqueid) is None:
        values["since"] = time - number(fields, "ParkingDuration")
    model.put("parked", uniqueid, values)


def unpark(model: Model, fields: Fields, time: float) -> None:
    model.remove("parked", text(fields, "ParkeeUniqueid"))


def unpark_channel(model: Model, fields: Fields, time: float) -> None:
    """The event Hangup."""
    model.remove("parked", text(fields, "Uniqueid"))
