"""Calls folded from events: those of real Asterisks, and rare ones that are written by hand."""

from __future__ import annotations

import pytest

from amid.history.event import decode
from amid.history.ladder import ladder, summary
from amid.history.masking import mask, mask_summary
from amid.history.model import MAX_STEPS
from tests.asterisk.server import VERSIONS
from tests.history.events import Script, channel, fold, ladder_of, recorded
from tests.history.ladders import LADDERS, OUTCOMES, lines


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", LADDERS)
def test_the_ladder_of_a_recorded_call(kind: str, version: str) -> None:
    folded = fold(recorded(version, kind))
    first = min(folded.calls.values(), key=lambda call: call.began)
    assert ladder_of(folded, first.linkedid) == lines(kind)
    row = summary(first, "pbx1")
    assert (row["outcome"], row["ended_by"]) == OUTCOMES[kind]
    assert row["ended"] and row["events"] and not folded.live_channels


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", LADDERS)
def test_a_call_whose_beginning_is_missing_tells_nothing_wrong(kind: str, version: str) -> None:
    """The recording begins at each of its events in turn."""
    events = recorded(version, kind)
    truth = summary(min(fold(events).calls.values(), key=lambda call: call.began), "pbx1")
    linkedids = [truth["linkedid"], *truth["joined"]]
    begin = [decode(event).fields.Uniqueid for event in events].index(min(linkedids))
    for first in range(1, len(events)):
        folded = fold(events[first:])
        call = next((folded.calls[one] for one in linkedids if one in folded.calls), None)
        if call is not None:
            row = summary(call, "pbx1")
            assert [row[name] for name in TOLD] == [row[name] and truth[name] for name in TOLD], decode(events[first])
            assert row["outcome"] in (truth["outcome"], "unknown")
            assert (ladder_of(folded, call.linkedid)[0] == LATE) == row["late"] == (first > begin)


TOLD = ("who", "whom", "ended_by", "queue", "agent")


@pytest.mark.parametrize("version", VERSIONS)
def test_the_summary_of_a_queue_call(version: str) -> None:
    folded = fold(recorded(version, "agent_hangs_up"))
    (call,) = folded.calls.values()
    row = summary(call, "pbx1")
    expected = {"who": "Alice (100)", "whom": "Bob (200)", "dialled": "400", "queue": "desk", "agent": "Bob", "channels": 4}
    assert row.items() >= expected.items()
    assert row["numbers"] == ["100", "200", "400"]
    assert 0 < row["talked"] < row["ended"] - row["began"]


@pytest.mark.parametrize("version", VERSIONS)
def test_joined_calls_become_one(version: str) -> None:
    folded = fold(recorded(version, "attended_transfer"))
    (call,) = set(folded.calls.values())
    assert len(folded.calls) == 2 and call.joined == [linkedid for linkedid in folded.calls if linkedid != call.linkedid]


def ringing(script: Script) -> list[bytes]:
    """Channel 1 calls channel 2, which rings."""
    call = script.event("Newchannel", **{**_ring(1), "Exten": "200"})
    return [
        call,
        script.on("Newchannel", 2, ChannelState="0"),
        script.between("DialBegin", 1, 2),
        script.event("Newstate", **{**_ring(2), "ChannelStateDesc": "Ringing"}),
    ]


def talking(script: Script) -> list[bytes]:
    bridge = {"BridgeUniqueid": "b1", "BridgeTechnology": "simple_bridge"}
    events = [*ringing(script), script.between("DialEnd", 1, 2, DialStatus="ANSWER")]
    return [*events, script.on("BridgeEnter", 2, **bridge), script.on("BridgeEnter", 1, **bridge)]


def _ring(number: int) -> dict[str, str]:
    return {**channel(number), "ChannelStateDesc": "Ring"}


LATE = "the beginning of this call was not recorded"
TALK = ["100 calls 200", "200 rings", "200 answers after N s", "100 and 200 talk"]


def test_a_caller_hangs_up_before_the_answer() -> None:
    script = Script()
    events = [*ringing(script), script.on("HangupRequest", 1), script.between("DialEnd", 1, 2, DialStatus="CANCEL")]
    folded = fold([*events, script.on("Hangup", 2), script.on("Hangup", 1)])
    assert ladder_of(folded) == ["100 calls 200", "200 rings", "100 hangs up", "200 stops ringing", "the call ends after N s"]
    row = summary(folded.calls["1.1"], "pbx1")
    assert (row["outcome"], row["ended_by"]) == ("cancelled", "caller")


def test_a_gap_is_a_line_of_the_ladder() -> None:
    script = Script()
    folded = fold(talking(script))
    folded.add_gap(1, 9, 40, script.time)
    folded.add_gap(1, 49, None, script.time)
    assert ladder_of(folded) == [*TALK, "40 events are missing here", "events are missing here"]


def test_unlisted_channels_are_ended() -> None:
    script = Script()
    folded = fold(talking(script))
    folded.hang_up_unlisted(frozenset({"1.1"}), script.time)
    assert folded.live_channels == {"1.1"} and not folded.calls["1.1"].ended
    folded.hang_up_unlisted(frozenset(), script.time)
    assert folded.calls["1.1"].ended == script.time


@pytest.mark.parametrize(("uptime", "restarted"), [("5", True), ("86400", False)])
def test_a_lost_session_is_a_restart_if_the_uptime_is_short(uptime: str, restarted: bool) -> None:
    script = Script()
    events = [*talking(script), script.event("amid:disconnected")]
    script.time += 10
    script.epoch += 1
    folded = fold([*events, script.event("amid:connected"), script.event("FullyBooted", Uptime=uptime)])
    assert bool(folded.calls["1.1"].ended) == restarted
    assert ladder_of(folded) == [*TALK, *(["Asterisk stops", "the call ends after N s"] if restarted else [])]


def test_events_after_the_hangup_are_only_counted() -> None:
    script = Script()
    folded = fold([*talking(script), script.on("Hangup", 2), script.on("Hangup", 1, Cause="16")])
    before = ladder_of(folded)
    for event in (script.on("NewCallerid", 1), script.on("VarSet", 1), script.on("Hangup", 1)):
        folded.feed(decode(event), event)
    assert ladder_of(folded) == before and not folded.live_channels
    assert folded.calls["1.1"].events == 12


def test_a_call_that_began_before_the_recording() -> None:
    script = Script()
    bridge = {"BridgeUniqueid": "b1", "BridgeTechnology": "simple_bridge"}
    events = [script.on("BridgeEnter", 1, **bridge), script.on("BridgeEnter", 2, **bridge), script.on("HangupRequest", 2)]
    folded = fold([*events, script.on("Hangup", 2), script.on("Hangup", 1)])
    assert ladder_of(folded) == [LATE, "100 and 200 talk", "200 hangs up", "the call ends after more than N s"]
    row = summary(folded.calls["1.1"], "pbx1")
    assert (row["outcome"], row["late"]) == ("answered", True)


def test_what_happened_before_the_recording_is_unknown() -> None:
    script = Script()
    end = [script.on("HangupRequest", 1), script.on("ConfbridgeLeave", 1, Conference="room"), script.on("Hangup", 1)]
    folded = fold(end)
    assert ladder_of(folded) == [LATE, "100 hangs up", "the call ends after more than N s"]
    row = summary(folded.calls["1.1"], "pbx1")
    assert (row["outcome"], row["ended_by"]) == ("unknown", "caller")


def test_the_caller_of_a_late_call_is_the_one_with_its_linkedid() -> None:
    script = Script()
    bridge = {"BridgeUniqueid": "b1", "BridgeTechnology": "simple_bridge"}
    events = [script.on("BridgeEnter", 2, **bridge), script.on("BridgeEnter", 1, **bridge), script.on("HangupRequest", 1)]
    row = summary(fold([*events, script.on("Hangup", 2), script.on("Hangup", 1)]).calls["1.1"], "pbx1")
    assert (row["who"], row["whom"], row["ended_by"]) == ("100", "200", "caller")


def test_the_caller_of_a_late_call_may_be_unknown() -> None:
    script = Script()
    row = summary(fold([script.on("HangupRequest", 2), script.on("Hangup", 2)]).calls["1.1"], "pbx1")
    assert (row["who"], row["whom"], row["outcome"], row["ended_by"]) == ("", "200", "unknown", "")


def test_a_late_call_that_becomes_part_of_another_remains_late() -> None:
    script = Script()
    joined = script.on("Newstate", 1), script.on("VarSet", 1, linkedid="0.9")
    ends = script.on("HangupRequest", 1, linkedid="0.9"), script.on("Hangup", 1, linkedid="0.9")
    row = summary(fold([*joined, *ends]).calls["0.9"], "pbx1")
    assert (row["joined"], row["who"], row["outcome"], row["ended_by"]) == (["1.1"], "", "unknown", "")


def test_a_call_that_becomes_part_of_another_keeps_its_outcome_and_its_wait() -> None:
    """As a consultation of a queue that is transferred; the beginning of the other call was not recorded."""
    script = Script()
    join, leave = script.on("QueueCallerJoin", 1, Queue="desk", Position="1"), script.on("QueueCallerLeave", 1, Queue="desk")
    joined = [script.on(name, number, linkedid="0.9") for name, number in (("VarSet", 1), ("Hangup", 2), ("Hangup", 1))]
    row = summary(fold([join, leave, *talking(script), *joined]).calls["0.9"], "pbx1")
    assert (row["queue"], row["waited"], row["outcome"]) == ("desk", 0.1, "answered")


@pytest.mark.parametrize("status", ["", "BUSY"])
def test_the_outcome_of_a_call_with_a_gap_is_unknown(status: str) -> None:
    """Somebody may have answered in it."""
    script = Script()
    folded = fold([*ringing(script), *([script.between("DialEnd", 1, 2, DialStatus=status)] if status else [])])
    folded.add_gap(1, 9, None, script.time)
    folded.hang_up_unlisted(frozenset(), script.time)
    row = summary(folded.calls["1.1"], "pbx1")
    assert (row["outcome"], row["ended_by"]) == ("unknown", "")
    assert ladder_of(folded)[-2:] == ["events are missing here", "the call ends after N s"]


def test_a_restart_in_a_gap_ends_an_unanswered_call() -> None:
    script = Script()
    folded = fold([*ringing(script), script.event("amid:disconnected")])
    folded.add_gap(1, 9, None, script.time)
    script.epoch += 1
    booted = script.event("FullyBooted", Uptime="0")
    folded.feed(decode(booted), booted)
    row = summary(folded.calls["1.1"], "pbx1")
    assert (row["outcome"], row["ended_by"]) == ("failed", "restart")


def originated(script: Script) -> list[bytes]:
    """The PBX calls channel 1, which answers."""
    dialled = channel(1, prefix="Dest")
    events = [script.on("Newchannel", 1, ChannelState="0"), script.event("DialBegin", **dialled)]
    return [*events, script.event("DialEnd", **dialled, DialStatus="ANSWER")]


def test_an_answered_call_of_the_pbx_itself() -> None:
    script = Script()
    row = summary(fold([*originated(script), script.on("HangupRequest", 1), script.on("Hangup", 1)]).calls["1.1"], "pbx1")
    assert (row["who"], row["outcome"]) == ("100", "answered")


def test_a_call_of_the_pbx_itself_that_its_second_party_does_not_answer() -> None:
    script = Script()
    dial = [script.on("Newchannel", 2, ChannelState="0"), script.between("DialBegin", 1, 2)]
    end = [script.on("HangupRequest", 1), script.between("DialEnd", 1, 2, DialStatus="CANCEL")]
    folded = fold([*originated(script), *dial, *end, script.on("Hangup", 2), script.on("Hangup", 1)])
    assert summary(folded.calls["1.1"], "pbx1")["outcome"] == "cancelled"


def test_a_pickup_is_told_before_the_talk_that_it_leads_to() -> None:
    script = Script()
    bridge = {"BridgeUniqueid": "b1", "BridgeTechnology": "simple_bridge"}
    third = script.event("Newchannel", **{**channel(3, "1.3"), "ChannelStateDesc": "Ring", "Exten": "820"})
    bridged = [script.on("BridgeEnter", 1, **bridge), script.on("BridgeEnter", 3, **bridge)]
    pickup = script.event("Pickup", **channel(3), **channel(2, prefix="Target"))
    folded = fold([*ringing(script), third, *bridged, pickup])
    assert ladder_of(folded)[-2:] == ["300 picks up the call to 200", "100 and 300 talk"]


LOCAL = {name: {"Channel": f"Local/200@agents-1;{name}", "Uniqueid": f"1.3{name}"} for name in "12"}


def test_the_far_half_of_a_local_pair_that_hangs_up_has_not_answered() -> None:
    """An Originate to a Local channel whose dialplan only waits."""
    script = Script()
    near, far = ({**channel(3), **LOCAL[half], "ChannelStateDesc": state} for half, state in (("1", "Down"), ("2", "Ring")))
    near |= {"Uniqueid": "1.1"}
    dial = {f"Dest{name}": value for name, value in near.items()}
    events = [script.event("Newchannel", **near), script.event("Newchannel", **far), script.event("DialBegin", **dial)]
    events += [script.event("DialEnd", **dial, DialStatus="CANCEL"), script.event("HangupRequest", **far)]
    folded = fold([*events, script.event("Hangup", **near), script.event("Hangup", **far)])
    assert summary(folded.calls["1.1"], "pbx1")["outcome"] == "failed"


def test_the_end_of_a_phone_that_has_transferred_the_call_is_no_step() -> None:
    script = Script()
    events = talking(script)
    parties = {**channel(2, prefix="Transferer"), **channel(1, prefix="Transferee")}
    events.append(script.event("BlindTransfer", **parties, Extension="300", Result="Success"))
    events += [script.on("HangupRequest", 2), script.on("Hangup", 2), script.on("HangupRequest", 1), script.on("Hangup", 1)]
    folded = fold(events)
    assert ladder_of(folded) == [*TALK, "200 transfers 100 to 300", "100 hangs up", "the call ends after N s"]
    assert summary(folded.calls["1.1"], "pbx1")["ended_by"] == "caller"


def test_a_call_whose_ids_are_not_utf_8_has_its_beginning() -> None:
    script, odd = Script(), {"Uniqueid": b"crm-\xe9", "Linkedid": b"crm-\xe9"}
    folded = fold([script.event("Newchannel", **{**_ring(1), **odd}), script.event("Hangup", **{**channel(1), **odd})])
    (call,) = folded.calls.values()
    assert not call.late


def offered(script: Script, rings: bool, status: str, through_local: bool, status_of_pair: str = "NOANSWER") -> list[bytes]:
    """The queue calls channel 2, the phone of its member Bob, directly or through a Local pair."""
    member = {**channel(3, prefix="Dest"), **{f"Dest{name}": value for name, value in LOCAL["1"].items()}}
    dialler = {**channel(3), **LOCAL["2"]}
    if not through_local:
        member, dialler = channel(2, prefix="Dest"), channel(1)
    of_queue = {**channel(1), **member, "Queue": "desk", "MemberName": "Bob"}
    dialled = {**dialler, **channel(2, prefix="Dest")}
    phone = {**_ring(2), "ChannelStateDesc": "Ringing"}
    return [
        script.event("Newchannel", **{**_ring(1), "Exten": "400"}),
        script.on("QueueCallerJoin", 1, Queue="desk", Position="1"),
        script.event("AgentCalled", **of_queue),
        *([script.event("DialBegin", **of_queue)] if through_local else []),
        script.event("DialBegin", **dialled),
        *([script.event("Newstate", **phone)] if rings else []),
        script.event("DialEnd", **dialled, DialStatus=status),
        *([script.event("DialEnd", **of_queue, DialStatus=status_of_pair)] if through_local else []),
        script.event("AgentRingNoAnswer", **of_queue),
    ]


@pytest.mark.parametrize("through_local", [False, True])
@pytest.mark.parametrize(
    ("rings", "status", "lines_of_member"),
    [
        (True, "NOANSWER", ["200 rings", "Bob does not answer"]),
        (True, "CHANUNAVAIL", ["200 rings", "Bob does not answer"]),
        (True, "BUSY", ["200 rings", "Bob does not answer"]),
        (False, "NOANSWER", ["Bob does not answer"]),
        (False, "CHANUNAVAIL", ["200 cannot be reached"]),
        (False, "BUSY", ["200 is busy"]),
    ],
)
def test_the_end_of_the_call_of_a_queue_member_is_one_line(
    through_local: bool, rings: bool, status: str, lines_of_member: list[str]
) -> None:
    folded = fold(offered(Script(), rings, status, through_local))
    assert ladder_of(folded)[2:] == ["queue desk calls Bob", *lines_of_member]


def test_the_end_of_the_call_of_a_queue_member_is_shown_although_only_its_local_pair_is_busy() -> None:
    folded = fold(offered(Script(), False, "NOANSWER", True, "BUSY"))
    assert ladder_of(folded)[2:] == ["queue desk calls Bob", "Bob does not answer"]


def test_forged_headers_change_no_call() -> None:
    script = Script()
    twice = ["1.1", "1.2"]
    folded = fold(
        [*talking(script), script.event("UserEvent", Linkedid=twice, DestLinkedid=b"\xff"), script.event("VarSet", Uniqueid=twice)]
    )
    assert ladder_of(folded) == TALK


def test_a_global_variable_adds_no_channel() -> None:
    script = Script()
    folded = fold([script.event("VarSet", Channel="none", Uniqueid="none", Linkedid="none", Variable="A", Value="1")])
    assert not folded.live_channels


def test_stored_calls_expire_after_their_end() -> None:
    script = Script()
    folded = fold([*talking(script), script.on("Hangup", 2), script.on("Hangup", 1)])
    folded.expire(script.time + 60)
    assert folded.calls
    folded.calls["1.1"].changed = False
    folded.expire(script.time + 60)
    assert not folded.calls


def test_the_steps_of_a_call_are_bounded() -> None:
    script = Script()
    folded = fold(talking(script))
    for _ in range(MAX_STEPS):
        event = script.on("Hold", 1)
        folded.feed(decode(event), event)
    assert len(folded.calls["1.1"].steps) == MAX_STEPS
    assert ladder_of(folded)[-1] == "5 further steps are left out"


@pytest.mark.parametrize(
    ("label", "masked"),
    [
        ("Alice (100)", "Alice (100)"),
        ("Alice Miller (+4930123456)", "xxxxxxxxx56"),
        ("030123456", "xxxxxxx56"),
        ("PJSIP/trunk-030123456", "PJSIP/trunk-xxxxxxx56"),
        ("Alice (+4930123456;npdi)", "xxxxxxxxx56;npdi"),
        ("Alice (555-1234)", "xxxxxx34"),
        ("(089) 123456", "(xxxxxxxxx56"),
        ("Desk 12 (2001)", "Desk 12 (2001)"),
        ("Bob 555 123 456 (100)", "Bob xxxxxxxxx56 (100)"),
        ("Local/030123456@agents", "Local/xxxxxxx56@agents"),
        ("Bob 0301\u20132345 (100)", "Bob xxxxxxx45 (100)"),
        ("03012,,34567", "xxxxxxxxxx67"),
        ("SIP/100@10.0.0.1", "SIP/100@10.0.0.1"),
        ("Alice", "Alice"),
        ("", ""),
    ],
)
def test_masking(label: str, masked: str) -> None:
    assert mask(label) == masked


def test_a_queue_member_is_masked_as_a_party_is() -> None:
    """One without a name is called by its interface."""
    script = Script()
    member = {"Queue": "030999999", "MemberName": "Local/030123456@agents", "HoldTime": "1"}
    events = [script.event("Newchannel", **_ring(1)), script.between("AgentConnect", 1, 2, **member)]
    call = fold(events).calls["1.1"]
    assert ladder(call, mask)[-1]["text"] == "Local/xxxxxxx56@agents answers; 100 waited 1 s"
    shown = mask_summary(summary(call, "pbx1"))
    assert (shown["queue"], shown["agent"]) == ("xxxxxxx99", "Local/xxxxxxx56@agents")


def test_the_order_of_masked_numbers_tells_nothing() -> None:
    script = Script()
    caller = {"CallerIDNum": "0301111199", "Exten": "0302222211"}
    row = summary(fold([script.event("Newchannel", **{**_ring(1), **caller})]).calls["1.1"], "pbx1")
    assert mask_summary(row)["numbers"] == ["xxxxxxxx11", "xxxxxxxx99"]


def test_a_masked_ladder_has_no_long_number() -> None:
    script = Script()
    call = script.event("Newchannel", **{**_ring(1), "CallerIDNum": "030123456", "CallerIDName": "Alice", "Exten": "040987654"})
    (line,) = ladder(fold([call]).calls["1.1"], mask)
    assert line["text"] == "xxxxxxx56 calls xxxxxxx54"
