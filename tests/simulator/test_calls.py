"""Calls: lists and events show the same state."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amid.simulator.pbx import Pbx
from amid.simulator.traffic import traffic
from tests.simulator.dialogue import NOW, Dialogue, Packet, named

SNAPSHOT = (
    "Channel",
    "ChannelState",
    "ChannelStateDesc",
    "CallerIDNum",
    "CallerIDName",
    "ConnectedLineNum",
    "ConnectedLineName",
    "Language",
    "AccountCode",
    "Context",
    "Uniqueid",
    "Linkedid",
)


class Replay:
    """The state of a listener that began with an empty PBX and received every event."""

    def __init__(self) -> None:
        self.channels: dict[str, dict[str, str]] = {}
        self.bridges: dict[str, set[str]] = {}
        self.waiting: dict[str, list[str]] = {}
        self.members: dict[tuple[str, str], str] = {}

    def see(self, packet: Packet) -> None:
        event, fields = packet[0][1], dict(packet)
        if event == "Newchannel":
            assert fields["Uniqueid"] not in self.channels
        if "Uniqueid" in fields and "ChannelState" in fields:
            assert event == "Newchannel" or fields["Uniqueid"] in self.channels, f"{event} of an unknown channel"
            self.channels[fields["Uniqueid"]] = {name: fields[name] for name in SNAPSHOT}
        getattr(self, f"_{event.lower()}", lambda fields: None)(fields)

    def _hangup(self, fields: dict[str, str]) -> None:
        del self.channels[fields["Uniqueid"]]

    def _bridgecreate(self, fields: dict[str, str]) -> None:
        self.bridges[fields["BridgeUniqueid"]] = set()

    def _bridgeenter(self, fields: dict[str, str]) -> None:
        self.bridges[fields["BridgeUniqueid"]].add(fields["Uniqueid"])

    def _bridgeleave(self, fields: dict[str, str]) -> None:
        self.bridges[fields["BridgeUniqueid"]].remove(fields["Uniqueid"])

    def _bridgedestroy(self, fields: dict[str, str]) -> None:
        assert not self.bridges.pop(fields["BridgeUniqueid"])

    def _queuecallerjoin(self, fields: dict[str, str]) -> None:
        self.waiting.setdefault(fields["Queue"], []).append(fields["Uniqueid"])

    def _queuecallerleave(self, fields: dict[str, str]) -> None:
        self.waiting[fields["Queue"]].remove(fields["Uniqueid"])

    def _queuememberstatus(self, fields: dict[str, str]) -> None:
        self.members[fields["Queue"], fields["Interface"]] = fields["Status"]


def busy(seed: int, calls_per_minute: float) -> tuple[Pbx, Dialogue, Dialogue]:
    pbx = Pbx(NOW, seed)
    pbx.tasks.start(traffic(pbx, calls_per_minute))
    return pbx, Dialogue(pbx, events="on"), Dialogue(pbx)


def check_same(replay: Replay, asker: Dialogue) -> None:
    channels = {item["Uniqueid"]: item for item in named(asker.ask("CoreShowChannels"), "CoreShowChannel")}
    assert {uniqueid: {name: item[name] for name in SNAPSHOT} for uniqueid, item in channels.items()} == replay.channels
    bridges = {item["BridgeUniqueid"]: item["BridgeNumChannels"] for item in named(asker.ask("BridgeList"), "BridgeListItem")}
    assert bridges == {uniqueid: str(len(inside)) for uniqueid, inside in replay.bridges.items()}
    for uniqueid, item in channels.items():
        inside = {bridge for bridge, members in replay.bridges.items() if uniqueid in members}
        assert {item["BridgeId"]} - {""} == inside
    queues = asker.ask("QueueStatus")
    assert [item["Uniqueid"] for item in named(queues, "QueueEntry")] == [
        uniqueid for waiting in replay.waiting.values() for uniqueid in waiting
    ]
    for item in named(queues, "QueueMember"):
        assert item["Status"] == replay.members.get((item["Queue"], item["Location"]), "1")


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), steps=st.lists(st.tuples(st.floats(0.01, 20), st.integers(0, 9)), max_size=25))
def test_the_events_lead_to_the_same_state_as_the_lists(seed: int, steps: list[tuple[float, int]]) -> None:
    """However long the calls last, and whichever are hung up or redirected."""
    pbx, listener, asker = busy(seed, 60)
    replay = Replay()
    for seconds, choice in steps:
        for packet in listener.later(seconds):
            replay.see(packet)
        check_same(replay, asker)
        names = list(pbx.channels)
        if names and choice < 3:
            asker.ask("Hangup", Channel=names[choice % len(names)])
        elif names and choice == 3:
            asker.ask("Redirect", Channel=names[-1], Context="default", Exten="500", Priority="1")
        elif choice == 4:
            asker.ask("Originate", Channel="Local/600@default", Application="Echo", Async="true")
        elif choice == 5:
            asker.ask("Originate", Channel="PJSIP/bob", Exten="300", Context="default", Priority="1", Async="true")


def test_a_call_has_one_linkedid_and_everything_ends() -> None:
    pbx, listener, _ = busy(3, 0)
    caller = Dialogue(pbx)
    caller.ask(
        "Originate",
        Channel="Local/600@default",
        Application="Wait",
        Data="3",
        CallerID='"Zoë" <77>',
        Async="true",
    )
    seen = listener.later(30)
    channels = named(seen, "Newchannel")
    assert len(channels) == 4
    assert {channel["Linkedid"] for channel in channels} == {channels[0]["Uniqueid"]}
    assert any(fields["CallerIDName"] == "Zoë" for fields in named(seen, "NewCallerid"))
    assert len(named(seen, "Hangup")) == 4
    assert (pbx.channels, pbx.bridges) == ({}, {})


def test_traffic_is_varied_and_the_same_for_the_same_seed() -> None:
    def names(seed: int) -> list[str]:
        _, listener, _ = busy(seed, 30)
        return [packet[0][1] for packet in listener.later(600)]

    first = names(1)
    assert first == names(1) != names(2)
    assert {
        "Newchannel",
        "Newstate",
        "Newexten",
        "VarSet",
        "DialBegin",
        "DialState",
        "DialEnd",
        "BridgeCreate",
        "BridgeEnter",
        "BridgeLeave",
        "BridgeDestroy",
        "QueueCallerJoin",
        "QueueCallerLeave",
        "AgentCalled",
        "AgentConnect",
        "AgentComplete",
        "QueueMemberStatus",
        "DeviceStateChange",
        "HangupRequest",
        "SoftHangupRequest",
        "Hangup",
        "ConfbridgeStart",
        "ConfbridgeJoin",
        "ConfbridgeLeave",
        "ConfbridgeEnd",
    } <= set(first)
    assert 200 <= first.count("Newchannel") <= 900


@pytest.mark.parametrize("exten", ["400", "500", "300", "600", "700"])
def test_hangup_in_the_middle_leaves_nothing_behind(exten: str) -> None:
    pbx, _, asker = busy(1, 0)
    asker.ask("Originate", Channel=f"Local/{exten}@default/n", Application="Echo", Async="true")
    asker.later(1)
    assert pbx.channels
    asker.ask("Hangup", Channel="/^Local/")
    asker.later(0.1)
    assert (pbx.channels, pbx.bridges, pbx.conferences, pbx.parked) == ({}, {}, {}, {})
    assert not pbx.queues["support"].callers


@pytest.mark.parametrize("pattern", ["/^(L+)+@x$/", "/.*.*.*.*.*@@/", "/" + "L?" * 30 + "/"])
def test_an_exponential_channel_pattern_is_refused(pattern: str) -> None:
    _, _, asker = busy(1, 0)
    (answer,) = asker.ask("Hangup", Channel=pattern)
    assert dict(answer)["Message"] == f"Regex compile failed on: {pattern}"


def test_a_phone_and_a_trunk_name_their_party_at_once() -> None:
    """As chan_pjsip of Asterisk 16 and 22 does."""
    _, listener, _ = busy(1, 30)
    channels = [fields for fields in named(listener.later(60), "Newchannel") if fields["Channel"].startswith("PJSIP/")]
    assert channels and all("<unknown>" not in (fields["CallerIDNum"], fields["CallerIDName"]) for fields in channels)
