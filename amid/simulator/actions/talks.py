"""Actions on bridges, conferences and parking lots."""

from __future__ import annotations

from amid.simulator.actions.answer import Answer, action


@action("BridgeList", "", "Get a list of bridges in the system.")
def bridge_list(answer: Answer) -> None:
    answer.listing(
        "Bridge listing will follow",
        "BridgeListComplete",
        [("BridgeListItem", bridge.snapshot()) for bridge in answer.pbx.bridges.values()],
    )


@action("BridgeInfo", "", "Get information about a bridge.")
def bridge_info(answer: Answer) -> None:
    uniqueid = answer.get("BridgeUniqueid")
    if not uniqueid:
        return answer.error("BridgeUniqueid must be provided")
    bridge = answer.pbx.bridges.get(uniqueid)
    if bridge is None:
        return answer.error("Specified BridgeUniqueid not found")
    answer.listing(
        "Bridge channel listing will follow",
        "BridgeInfoComplete",
        [("BridgeInfoChannel", channel.snapshot()) for channel in bridge.channels],
        extra=bridge.snapshot(),
    )


@action("ConfbridgeList", "reporting", "List participants in a conference.")
def confbridge_list(answer: Answer) -> None:
    room = answer.get("Conference")
    if not room:
        return answer.error("No Conference name provided.")
    bridge = answer.pbx.conferences.get(room)
    if bridge is None:
        return answer.error("No Conference by that name found." if answer.pbx.conferences else "No active conferences.")
    flags = [
        (name, "No")
        for name in (
            "Admin",
            "MarkedUser",
            "WaitMarked",
            "EndMarked",
            "EndMarkedAny",
            "Waiting",
            "Muted",
            "Talking",
        )
    ]
    answer.listing(
        "Confbridge user list will follow",
        "ConfbridgeListComplete",
        [
            (
                "ConfbridgeList",
                [
                    ("Conference", room),
                    *flags,
                    ("AnsweredTime", str(int(answer.pbx.now - (channel.answered or answer.pbx.now)))),
                    *channel.snapshot(),
                ],
            )
            for channel in bridge.channels
        ],
    )


@action("ConfbridgeListRooms", "reporting", "List active conferences.")
def confbridge_list_rooms(answer: Answer) -> None:
    if not answer.pbx.conferences:
        return answer.error("No active conferences.")
    answer.listing(
        "Confbridge conferences will follow",
        "ConfbridgeListRoomsComplete",
        [
            (
                "ConfbridgeListRooms",
                [
                    ("Conference", room),
                    ("Parties", str(len(bridge.channels))),
                    ("Marked", "0"),
                    ("Locked", "No"),
                    ("Muted", "No"),
                ],
            )
            for room, bridge in answer.pbx.conferences.items()
        ],
    )


@action("ParkedCalls", "call", "List parked calls.")
def parked_calls(answer: Answer) -> None:
    lot, parked = answer.get("ParkingLot"), answer.pbx.parked.values()
    if lot not in ("", "default"):
        return answer.error("Requested parking lot could not be found.")
    answer.listing(
        "Parked calls will follow",
        "ParkedCallsComplete",
        [("ParkedCall", call.snapshot(answer.pbx.now)) for call in parked],
        extra=[("Total", str(len(parked)))],
        last=True,
    )


@action("Parkinglots", "call", "Get a list of parking lots")
def parkinglots(answer: Answer) -> None:
    answer.listing(
        "Parking lots will follow",
        "ParkinglotsComplete",
        [
            (
                "Parkinglot",
                [("Name", "default"), ("StartSpace", "701"), ("StopSpace", "720"), ("Timeout", "45")],
            )
        ],
    )
