"""The effect of each event, case by case, with events as Asterisk sends them."""

from __future__ import annotations

from typing import Any

import pytest

from amid.state.calls import derive_calls
from amid.state.fold import EVENTS, apply
from amid.state.lists import GROUPS, add_items
from amid.state.model import MEMBERS, Change, Model

NOW = 1000.0


def channel(uniqueid: str, **headers: str) -> dict[str, str]:
    """The snapshot of a channel in an event."""
    snapshot = {
        "Channel": f"PJSIP/{uniqueid}",
        "ChannelStateDesc": "Ring",
        "CallerIDNum": "100",
        "CallerIDName": "Alice",
        "ConnectedLineNum": "<unknown>",
        "ConnectedLineName": "<unknown>",
        "AccountCode": "",
        "Context": "phones",
        "Exten": "200",
        "Priority": "1",
        "Uniqueid": uniqueid,
        "Linkedid": uniqueid,
    }
    return {**snapshot, **headers}


def bridge(name: str, **headers: str) -> dict[str, str]:
    return {"BridgeUniqueid": name, "BridgeType": "basic", "BridgeTechnology": "simple_bridge", **headers}


class Pbx:
    """A model whose channels were listed, and events for it."""

    def __init__(self) -> None:
        self.model = Model()
        self.model.channels_listed = True

    def feed(self, name: str, fields: dict[str, Any], time: float = NOW) -> None:
        apply(self.model, name, fields, time)
        derive_calls(self.model)

    def add_channels(self, *uniqueids: str, linkedid: str = "1") -> None:
        for uniqueid in uniqueids:
            self.feed("Newchannel", channel(uniqueid, Linkedid=linkedid))

    def get(self, kind: str, thing: str) -> dict[str, Any]:
        found = self.model.get(kind, thing)
        assert found is not None, f"there is no {kind} {thing}"
        return found


@pytest.fixture
def pbx() -> Pbx:
    return Pbx()


# ── channels ──


def test_a_channel_from_newchannel_to_hangup(pbx: Pbx) -> None:
    pbx.feed("Newchannel", channel("1"))
    known = pbx.get("channel", "1")
    assert (known["name"], known["state"], known["caller"], known["connected"]) == ("PJSIP/1", "Ring", "100", "")
    assert (known["priority"], known["since"], known["answered"]) == (1, NOW, None)
    pbx.feed("Newstate", channel("1", ChannelStateDesc="Up", ConnectedLineNum="200"), NOW + 3)
    assert (known["state"], known["connected"], known["since"], known["answered"]) == ("Up", "200", NOW, NOW + 3)
    pbx.feed("Hangup", channel("1"))
    assert pbx.model.get("channel", "1") is None and pbx.model.get("call", "1") is None


@pytest.mark.parametrize("name", [name for name in EVENTS if name not in ("Newchannel", "Hangup", "Rename")])
def test_only_newchannel_creates_a_channel(pbx: Pbx, name: str) -> None:
    pbx.feed(name, {**channel("9"), **{f"Dest{header}": value for header, value in channel("8").items()}})
    assert not pbx.model.kinds["channel"]


def test_events_after_hangup_are_ignored(pbx: Pbx) -> None:
    pbx.model.channels_listed = False  # so other events create channels too
    pbx.feed("NewCallerid", channel("1"))
    assert pbx.get("channel", "1")
    pbx.feed("Hangup", channel("1"))
    for name in ("NewCallerid", "NewAccountCode", "Newchannel"):
        pbx.feed(name, channel("1"))
        assert not pbx.model.kinds["channel"] and not pbx.model.kinds["call"]


@pytest.mark.parametrize("name", ["DialBegin", "DialState", "DialEnd", "HangupRequest", "SoftHangupRequest", "Pickup"])
def test_events_whose_snapshot_is_not_that_of_the_list_are_ignored(pbx: Pbx, name: str) -> None:
    pbx.add_channels("1", "2")
    dialed = {f"Dest{header}": value for header, value in channel("2", CallerIDNum="222").items()}
    pbx.feed(name, {**channel("1", CallerIDNum="111"), **dialed})
    assert [pbx.get("channel", uniqueid)["caller"] for uniqueid in ("1", "2")] == ["100", "100"]


def test_hold_rename_and_linkedid(pbx: Pbx) -> None:
    pbx.add_channels("1", "2")
    pbx.feed("Hold", channel("1"))
    assert pbx.get("channel", "1")["held"] is True
    pbx.feed("Unhold", channel("1"))
    assert pbx.get("channel", "1")["held"] is False
    pbx.feed("Rename", {"Channel": "PJSIP/1", "Newname": "PJSIP/1<MASQ>", "Uniqueid": "1"})
    assert pbx.get("channel", "1")["name"] == "PJSIP/1<MASQ>"
    pbx.feed("VarSet", {"Uniqueid": "2", "Linkedid": "5"})
    assert pbx.get("call", "1")["channels"] == ["1"] and pbx.get("call", "5")["channels"] == ["2"]


@pytest.mark.parametrize("event", [("Newexten", "2"), ("Hangup", "1")])
@pytest.mark.parametrize("second_bridge", ["", "b"])
def test_an_attended_transfer_to_an_application(pbx: Pbx, event: tuple[str, str], second_bridge: str) -> None:
    """Phone 1 waits in a queue, and transfers channel 2 there."""
    pbx.model.put("queue", "support", {"name": "support", "waiting": 0, "abandoned": 0})
    pbx.add_channels("1", "2", "3", "4")
    for uniqueid, position in (("3", 1), ("1", 2), ("4", 3)):
        pbx.feed("QueueCallerJoin", caller(uniqueid, position))
    phone, moved = ("OrigTransferer", "TransferTarget") if second_bridge else ("SecondTransferer", "Transferee")
    fields = {"Result": "Success", "DestType": "App", "SecondBridgeUniqueid": second_bridge}
    pbx.feed("AttendedTransfer", {**fields, f"{phone}Uniqueid": "1", f"{moved}Uniqueid": "2"})
    pbx.feed(event[0], channel(event[1], CallerIDNum="200"))
    pbx.feed("Hangup", channel("1"))
    assert waiting(pbx) == ["3", "2", "4"] and pbx.get("caller", "support/2")["channel"] == "PJSIP/2"
    assert pbx.get("queue", "support")["abandoned"] == 0
    pbx.feed("QueueCallerLeave", caller("2", 2))
    assert waiting(pbx) == ["3", "4"] and not pbx.model.replacing


def test_an_attended_transfer_to_a_conference(pbx: Pbx) -> None:
    """Of several channels, so a Local channel takes the place of phone 1 in the bridge."""
    pbx.add_channels("1", "8", "9")
    pbx.feed("BridgeEnter", {**bridge("b"), **channel("1")})
    pbx.feed("ConfbridgeJoin", {**channel("1"), "Conference": "room"})
    fields = {"Result": "Success", "DestType": "App", "SecondTransfererUniqueid": "1", "TransfereeUniqueid": ""}
    pbx.feed("AttendedTransfer", {**fields, "LocalOneUniqueid": "8", "LocalTwoUniqueid": "9"})
    pbx.feed("Newexten", channel("9"))
    pbx.feed("Hangup", channel("1"))
    assert pbx.get("channel", "9")["bridge"] == "b" and pbx.get("bridge", "b")["channels"] == ["9"]
    assert set(pbx.model.kinds["participant"]) == {"room/9"}


def test_other_attended_transfers_move_nothing(pbx: Pbx) -> None:
    for fields in ({"Result": "Fail", "DestType": "App"}, {"Result": "Success", "DestType": "Bridge"}):
        pbx.feed("AttendedTransfer", {**fields, "SecondTransfererUniqueid": "1", "TransfereeUniqueid": "2"})
    assert not pbx.model.replacing


# ── bridges and calls ──


def test_a_bridge_with_two_channels_is_a_conversation(pbx: Pbx) -> None:
    pbx.add_channels("1", "2")
    pbx.feed("BridgeCreate", bridge("b"))
    for uniqueid in ("1", "2"):
        pbx.feed("BridgeEnter", {**bridge("b"), **channel(uniqueid, Linkedid="1", ConnectedLineNum="200")})
    assert pbx.get("bridge", "b")["channels"] == ["1", "2"] and pbx.get("channel", "2")["bridge"] == "b"
    call = pbx.get("call", "1")
    assert (call["caller"], call["connected"], call["talking"], call["channels"]) == ("100", "200", True, ["1", "2"])
    pbx.feed("BridgeLeave", {**bridge("b"), **channel("2", Linkedid="1")})
    assert pbx.get("call", "1")["talking"] is False and pbx.get("channel", "2")["bridge"] == ""
    pbx.feed("BridgeDestroy", bridge("b"))
    assert pbx.model.get("bridge", "b") is None and pbx.get("channel", "1")["bridge"] == ""


def test_a_channel_changes_its_bridge_and_hangs_up_in_one(pbx: Pbx) -> None:
    pbx.add_channels("1")
    for name in ("a", "b"):
        pbx.feed("BridgeCreate", bridge(name))
        pbx.feed("BridgeEnter", {**bridge(name), **channel("1")})
    assert (pbx.get("bridge", "a")["channels"], pbx.get("bridge", "b")["channels"]) == ([], ["1"])
    pbx.feed("Hangup", channel("1"))
    assert pbx.get("bridge", "b")["channels"] == []


# ── queues ──


def caller(uniqueid: str, position: int) -> dict[str, str]:
    return channel(uniqueid, Queue="support", Position=str(position))


def waiting(pbx: Pbx) -> list[str]:
    callers = sorted(pbx.model.kinds["caller"].values(), key=lambda one: one["position"])
    assert [one["position"] for one in callers] == list(range(1, len(callers) + 1))
    return [one["uniqueid"] for one in callers]


def test_positions_of_callers(pbx: Pbx) -> None:
    pbx.model.put("queue", "support", {"name": "support", "waiting": 0, "abandoned": 0})
    pbx.add_channels("1", "2", "3", "4")
    for uniqueid, position in (("1", 1), ("2", 2), ("3", 1)):
        pbx.feed("QueueCallerJoin", caller(uniqueid, position))
    assert waiting(pbx) == ["3", "1", "2"] and pbx.get("queue", "support")["waiting"] == 3
    pbx.feed("QueueCallerJoin", caller("3", 3))
    assert waiting(pbx) == ["3", "1", "2"], "a list included this event"
    pbx.feed("QueueCallerLeave", caller("1", 2))
    pbx.feed("QueueCallerLeave", caller("4", 1))
    assert waiting(pbx) == ["3", "2"]
    pbx.feed("NewCallerid", channel("2", CallerIDNum="7"))
    assert pbx.get("caller", "support/2")["caller"] == "7", "it is copied from the channel"


@pytest.mark.parametrize("event", ["Hangup", "BridgeEnter"])
def test_a_caller_that_leaves_without_an_event_of_the_queue(pbx: Pbx, event: str) -> None:
    pbx.model.put("queue", "support", {"name": "support", "waiting": 0, "abandoned": 0})
    pbx.add_channels("1", "2")
    pbx.feed("QueueCallerJoin", caller("1", 1))
    pbx.feed("QueueCallerJoin", caller("2", 2))
    pbx.feed(event, {**channel("1"), **bridge("b")})
    assert waiting(pbx) == ["2"] and pbx.get("queue", "support")["abandoned"] == 1
    assert "support" in pbx.model.stale_queues


def test_a_caller_that_joins_behind_a_surrogate(pbx: Pbx) -> None:
    """The action Bridge has taken caller 1 away, and Asterisk still counts a channel in its place."""
    pbx.add_channels("1", "2", "3")
    pbx.feed("QueueCallerJoin", caller("1", 1))
    pbx.feed("QueueCallerJoin", caller("2", 2))
    pbx.feed("BridgeEnter", {**channel("1"), **bridge("b")})
    pbx.feed("QueueCallerJoin", caller("3", 3))
    assert waiting(pbx) == ["2", "3"]


def test_completed_is_not_counted_from_events(pbx: Pbx) -> None:
    pbx.model.put("queue", "support", {"name": "support", "completed": 5, "abandoned": 1})
    pbx.feed("AgentComplete", {"Queue": "support"})
    assert pbx.get("queue", "support")["completed"] == 5 and "support" in pbx.model.stale_queues
    pbx.feed("QueueCallerAbandon", {"Queue": "support"})
    assert pbx.get("queue", "support")["abandoned"] == 2


def member(**headers: str) -> dict[str, str]:
    return {"Queue": "support", "MemberName": "Bob", "Interface": "PJSIP/bob", "Status": "1", "Paused": "0", **headers}


def test_members(pbx: Pbx) -> None:
    pbx.feed("QueueMemberAdded", member())
    known = pbx.get("member", "support/PJSIP/bob")
    assert (known["name"], known["status"], known["paused"]) == ("Bob", "not in use", False)
    pbx.feed("QueueMemberPause", member(Paused="1", PausedReason="lunch", Status="6"))
    assert (known["status"], known["paused"], known["paused_reason"]) == ("ringing", True, "lunch")
    pbx.feed("QueueMemberPause", member(PausedReason="lunch"))
    assert known["paused_reason"] == "", "Asterisk repeats the reason when the pause ends; its lists have none then"
    pbx.feed("QueueMemberRemoved", member())
    assert not pbx.model.kinds["member"]


# ── devices, parked calls, conferences ──


def test_devices_hints_contacts_and_registrations(pbx: Pbx) -> None:
    pbx.feed("DeviceStateChange", {"Device": "PJSIP/100", "State": "INUSE"})
    for device in ("Local/1@phones", "CBAnn/100"):  # in no list
        pbx.feed("DeviceStateChange", {"Device": device, "State": "INUSE"})
    assert set(pbx.model.kinds["device"]) == {"PJSIP/100"}
    pbx.feed("ExtensionStatus", {"Exten": "100", "Context": "h", "Hint": "PJSIP/100", "Status": "1", "StatusText": "InUse"})
    contact = {"AOR": "100", "URI": "sip:100@10.0.0.1", "EndpointName": "100", "RoundtripUsec": "900"}
    pbx.feed("ContactStatus", {**contact, "ContactStatus": "Reachable"})
    pbx.feed("ContactStatus", {**contact, "ContactStatus": "Updated"})
    pbx.feed("Registry", {"Username": "sip:a@b", "Domain": "sip:b", "Status": "Registered"})
    assert pbx.get("device", "PJSIP/100")["state"] == "INUSE" and pbx.get("hint", "100@h")["status"] == 1
    assert pbx.get("contact", "100/sip:100@10.0.0.1")["status"] == "Reachable"
    assert pbx.get("registration", "sip:a@b")["status"] == "Registered"
    pbx.feed("ContactStatus", {**contact, "ContactStatus": "Removed"})
    assert not pbx.model.kinds["contact"]


def parked(uniqueid: str, space: str = "701") -> dict[str, str]:
    return {"ParkeeUniqueid": uniqueid, "ParkeeChannel": "PJSIP/1", "Parkinglot": "default", "ParkingSpace": space}


@pytest.mark.parametrize("end", ["UnParkedCall", "ParkedCallGiveUp", "ParkedCallTimeOut", "Hangup"])
def test_parked_calls(pbx: Pbx, end: str) -> None:
    pbx.add_channels("1")
    pbx.feed("ParkedCall", parked("1"))
    assert pbx.get("parked", "1")["space"] == "701"
    pbx.feed(end, {**parked("1"), **channel("1")})
    assert not pbx.model.kinds["parked"]


def test_a_channel_takes_over_a_parking_space(pbx: Pbx) -> None:
    pbx.feed("ParkedCall", parked("1"))
    pbx.feed("ParkedCall", parked("2", "702"))
    pbx.feed("ParkedCallSwap", parked("3"))
    assert set(pbx.model.kinds["parked"]) == {"2", "3"}


def test_conferences(pbx: Pbx) -> None:
    pbx.feed("ConfbridgeStart", {"Conference": "100"})
    pbx.feed("ConfbridgeJoin", {**channel("1"), "Conference": "100", "Admin": "Yes", "Muted": "No"})
    known = pbx.get("participant", "100/1")
    assert (known["admin"], known["muted"]) == (True, False)
    pbx.feed("ConfbridgeMute", {**channel("1"), "Conference": "100"})
    pbx.feed("ConfbridgeTalking", {**channel("1"), "Conference": "100", "TalkingStatus": "on"})
    assert (known["muted"], known["talking"]) == (True, True)
    pbx.feed("ConfbridgeUnmute", {**channel("1"), "Conference": "100"})
    assert known["muted"] is False
    pbx.feed("ConfbridgeJoin", {**channel("2"), "Conference": "100"})
    pbx.feed("ConfbridgeLeave", {**channel("1"), "Conference": "100"})
    assert set(pbx.model.kinds["participant"]) == {"100/2"}
    pbx.feed("ConfbridgeEnd", {"Conference": "100"})
    assert not pbx.model.kinds["conference"] and not pbx.model.kinds["participant"]


def test_each_kind_has_its_members_from_events_and_from_lists() -> None:
    """The headers are those of all events and items together."""
    headers = {**channel("1"), **bridge("b"), **member(), "Conference": "100", "ParkeeUniqueid": "1", "Duration": "00:00:01"}
    items = [name for group in GROUPS.values() for listing in group.listings for name in listing.items]
    seen = set()
    for name in [*EVENTS, *items]:
        pbx = Pbx()
        pbx.feed("Newchannel", channel("1"))
        if name in EVENTS:
            pbx.feed(name, headers)
        else:
            add_items(pbx.model, [(name, headers)], NOW)
        for kind, things in pbx.model.kinds.items():
            seen |= {(kind, frozenset(thing)) for thing in things.values()}
    assert seen == {(kind, frozenset({"id", *members})) for kind, members in MEMBERS.items()}


# ── changes ──


def test_each_changed_thing_has_one_change(pbx: Pbx) -> None:
    model = pbx.model
    model.put("device", "a", {"device": "a", "state": "1"})
    model.put("device", "a", {"state": "2"})
    model.put("device", "b", {"device": "b"})
    model.remove("device", "b")
    assert model.take_changes() == [Change("device", "a", {"device": "a", "state": "2"})]
    model.put("device", "a", {"state": "2"})
    assert model.take_changes() == []
    model.put("device", "a", {"state": "3"})
    model.remove("device", "a")
    assert model.take_changes() == [Change("device", "a", None)]
