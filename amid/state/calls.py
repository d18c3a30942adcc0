"""Calls: the channels with one Linkedid."""

from __future__ import annotations

from itertools import islice

from amid.state.model import Model, Thing


def derive_calls(model: Model, limit: int | None = None) -> None:
    """Bring the calls up to date whose channels have changed, at most `limit` of them."""
    for linkedid in list(islice(model.stale_calls, limit)):
        del model.stale_calls[linkedid]
        uniqueids = model.call_channels.get(linkedid)
        if uniqueids:
            channels = [model.kinds["channel"][uniqueid] for uniqueid in sorted(uniqueids)]
            model.put("call", linkedid, _call(model, linkedid, channels))
        else:
            model.remove("call", linkedid)


def _call(model: Model, linkedid: str, channels: list[Thing]) -> Thing:
    """The members of a call. Its first channel has the caller, what was dialed, and the party that
    it is connected to."""
    first = next((one for one in channels if one["uniqueid"] == linkedid), None) or min(channels, key=_age)
    known = model.get("call", linkedid)
    return {
        "linkedid": linkedid,
        "channels": [one["uniqueid"] for one in channels],
        "caller": first["caller"],
        "caller_name": first["caller_name"],
        "connected": first["connected"],
        "connected_name": first["connected_name"],
        "context": first["context"],
        "exten": known["exten"] if known and known["exten"] else first["exten"],
        "talking": _is_talking(model, channels),
        "since": known["since"] if known else min(one["since"] for one in channels),
    }


def _age(channel: Thing) -> tuple[float, str]:
    return channel["since"], channel["uniqueid"]


def _is_talking(model: Model, channels: list[Thing]) -> bool:
    """Whether one of these channels is in a bridge with another channel."""
    bridges = (model.get("bridge", one["bridge"]) for one in channels if one["bridge"])
    return any(bridge is not None and len(bridge["channels"]) > 1 for bridge in bridges)
