"""Attended transfers to an application.

A phone that transfers a call to a queue, a conference or any other application that it has called
is replaced there: the moved channel takes the place of the phone's channel (asterisk/asterisk,
main/bridge.c, attended_transfer_bridge and ast_channel_move). It is then in the same bridge, queue,
conference or parking space, and no event shows that. The phone's channel only hangs up.
"""

from __future__ import annotations

from amid.state import channels
from amid.state.headers import Fields, text
from amid.state.model import Model


def transfer(model: Model, fields: Fields, time: float) -> None:
    """The event AttendedTransfer, which precedes the move. If several channels are moved, a Local
    channel connects them with the application."""
    if text(fields, "Result") != "Success" or text(fields, "DestType") != "App":
        return
    if text(fields, "SecondBridgeUniqueid"):
        phone, moved = "OrigTransferer", "TransferTarget"
    else:
        phone, moved = "SecondTransferer", "Transferee"
    if text(fields, "LocalTwoUniqueid"):
        moved = "LocalTwo"
    model.replacing[text(fields, f"{moved}Uniqueid")] = text(fields, f"{phone}Uniqueid")


def take_place(model: Model, fields: Fields, time: float) -> None:
    """The first Newexten of the moved channel, or its Hangup."""
    if model.replacing and (moved := text(fields, "Uniqueid")) in model.replacing:
        _replace(model, model.replacing.pop(moved), moved, time)


def yield_place(model: Model, fields: Fields, time: float) -> None:
    """The Hangup of the phone's channel."""
    for moved in [moved for moved, phone in model.replacing.items() if phone == text(fields, "Uniqueid")]:
        _replace(model, model.replacing.pop(moved), moved, time)


def _replace(model: Model, phone: str, moved: str, time: float) -> None:
    place, channel = model.get("channel", phone), model.get("channel", moved)
    if place is None or channel is None:
        return
    for kind, thing_id in list(model.dependents.get(phone, ())):
        thing = {name: value for name, value in model.kinds[kind][thing_id].items() if name != "id"}
        model.remove(kind, thing_id)
        model.put(kind, thing_id.removesuffix(phone) + moved, {**thing, "uniqueid": moved})
    if place["bridge"]:
        bridge = place["bridge"]
        channels.part_bridge(model, phone, bridge)
        channels.join_bridge(model, moved, bridge)
    channels.update_dependents(model, moved)
