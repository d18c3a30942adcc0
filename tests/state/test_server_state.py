"""Loads, barriers and reconciliations: lists and the events around them give the true state, in any
order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amid.state.calls import derive_calls
from amid.state.channels import remove_channel
from amid.state.fold import apply
from amid.state.lists import ALL_GROUPS
from amid.state.model import Model
from amid.state.server_state import BARRIER, STEP_THINGS, Load, ServerState
from tests.state.test_fold import NOW, channel, member

Event = tuple[str, dict[str, Any]]


def barrier(value: str) -> Event:
    return "VarSet", {"Channel": "none", "Variable": BARRIER, "Value": value}


def listed(uniqueid: str, **headers: str) -> Event:
    return "CoreShowChannel", {**channel(uniqueid), "Duration": "00:01:05", "BridgeId": "", **headers}


class Server:
    """A server state, and events and lists for it."""

    def __init__(self) -> None:
        self.state = ServerState("pbx1", 1_000_000)
        self.state.begin_epoch(7)

    def feed(self, *events: Event) -> list[str]:
        return self.state.feed_events(self.state.seq + len(events), events, NOW)

    def load(self, *items: Event, before: tuple[Event, ...] = (), after: tuple[Event, ...] = (), **how: Any) -> Load:
        """Load a list between two barriers; these events arrive before and after the list."""
        load = self.begin_load(**how)
        self.feed(*before)
        load.add(items, NOW)
        self.feed(*after, barrier("2"))
        self.finish(load)
        return load

    def begin_load(self, groups: tuple[str, ...] = ALL_GROUPS, **how: Any) -> Load:
        """Begin a load whose first barrier arrives."""
        load = Load(groups, **how)
        self.state.begin_load(load)
        load.first_barrier = "1"
        assert self.feed(barrier("1")) == ["1"]
        return load

    def finish(self, load: Load, exact: bool = True) -> None:
        for _ in self.state.finish_load(load, exact, NOW):
            pass

    @property
    def channels(self) -> set[str]:
        return set(self.state.model.kinds["channel"])


@pytest.fixture
def server() -> Server:
    return Server()


def test_a_load_is_exact_after_its_second_barrier(server: Server) -> None:
    load = server.begin_load()
    load.add([listed("1")], NOW)
    server.feed(barrier("2"))
    assert not server.state.ready
    server.finish(load)
    assert server.state.ready and server.state.exact and server.state.head()["seq"] == 2
    assert server.state.model.kinds["channel"]["1"]["since"] == NOW - 65


def test_events_during_the_steps_of_a_first_load(server: Server) -> None:
    load = server.begin_load()
    load.add([listed(str(number)) for number in range(STEP_THINGS + 1)], NOW)
    steps = server.state.finish_load(load, True, NOW)
    next(steps)
    server.feed(("Hangup", channel("0")), ("Newchannel", channel("new")), ("Newstate", channel("1", Exten="9")))
    assert not server.state.ready and len(list(steps)) > 2
    assert server.state.ready and len(server.channels) == STEP_THINGS + 1
    things: dict[str, Any] = {}
    for delta in server.state.change_log.take_unpublished():
        if delta["kind"] == "call":
            things = {**things, delta["id"]: delta.get("set")}
    assert {thing for thing, values in things.items() if values} == set(server.state.model.kinds["call"])
    assert server.state.model.kinds["call"].keys() == server.channels


def test_an_epoch_that_begins_during_the_steps_of_a_first_load(server: Server) -> None:
    load = server.begin_load()
    load.add([listed("1")], NOW)
    steps = server.state.finish_load(load, True, NOW)
    next(steps)
    server.state.begin_epoch(8)
    assert list(steps) and not server.state.ready and not server.channels
    assert [delta["kind"] for delta in server.state.change_log.take_unpublished()] == ["reset"]


def test_events_during_the_steps_of_a_reconciliation(server: Server) -> None:
    """Channel 1 is missing in the model, which is corrected; 0 would be too, but it hangs up
    meanwhile."""
    numbers = range(3 * STEP_THINGS)
    server.load(*(listed(str(number)) for number in numbers))
    for number in ("0", "1"):
        remove_channel(server.state.model, number)
    load = server.begin_load(reconciles=True)
    load.add([listed(str(number)) for number in numbers], NOW)
    steps = server.state.finish_load(load, True, NOW)
    next(steps)
    next(steps)  # the first portion has been compared
    server.feed(
        ("Hangup", channel("0")), ("Hangup", channel("999")), ("Newchannel", channel("new")), ("Newstate", channel("5", Exten="9"))
    )
    assert list(steps)
    assert [(one.kind, one.id) for one in server.state.last_corrections] == [("channel", "1")]
    assert server.channels == {str(number) for number in numbers} - {"0", "999"} | {"new"}


def test_events_around_a_list(server: Server) -> None:
    """Channel 1 hung up after the list, 2 before it; 3 began before it, 4 after it; 5 changed before
    it."""
    server.load(
        listed("1"),
        listed("3"),
        listed("5", ChannelStateDesc="Up"),
        before=(("Hangup", channel("2")), ("NewCallerid", channel("2")), ("Newchannel", channel("3")), ("Newstate", channel("5"))),
        after=(("Newstate", channel("5", ChannelStateDesc="Up")), ("Hangup", channel("1")), ("Newchannel", channel("4"))),
    )
    assert server.channels == {"3", "4", "5"}
    assert server.state.model.kinds["channel"]["5"]["state"] == "Up"


def test_a_loaded_state_is_published_as_changes(server: Server) -> None:
    server.feed(("Newchannel", channel("1")))
    server.load(listed("1"), listed("2"))
    deltas = server.state.change_log.take_unpublished()
    assert [delta["kind"] for delta in deltas] == ["reset", *["channel"] * 2, *["call"] * 2]
    assert {delta["id"] for delta in deltas[1:]} == {"1", "2"} and "id" not in deltas[1]["set"]


def test_without_barriers_the_state_is_not_exact(server: Server) -> None:
    load = Load(ALL_GROUPS)
    server.state.begin_load(load)
    server.feed(("Newchannel", channel("2")))
    load.add([listed("1"), listed("2")], NOW)
    server.finish(load, exact=False)
    assert server.state.ready and not server.state.exact and server.channels == {"1", "2"}


def test_a_reconciliation_counts_corrections(server: Server) -> None:
    server.load(listed("1"), listed("2"))
    server.load(listed("1"), listed("2"), reconciles=True, before=(("Newstate", channel("1", Exten="9")),))
    assert server.state.corrections == 0
    server.load(listed("1", Exten="300"), listed("3"), reconciles=True)
    assert server.channels == {"1", "3"} and server.state.model.kinds["channel"]["1"]["exten"] == "300"
    assert server.state.corrections == 3
    assert {(one.id, one.member) for one in server.state.last_corrections} == {("1", "exten"), ("2", ""), ("3", "")}


def test_channels_that_begin_without_an_event_are_reported(server: Server) -> None:
    """The manager user does not receive the class `call`."""
    server.load(listed("1"))
    server.load(listed("1"), reconciles=True)
    assert not server.state.blind
    server.load(listed("1"), listed("2"), reconciles=True)
    server.load(listed("1"), listed("2"), reconciles=True)
    assert server.channels == {"1", "2"} and not server.state.exact
    assert "read = call" in server.state.head()["detail"]
    server.feed(("Newchannel", channel("3")))
    assert server.state.head()["detail"] == ""


def test_a_channel_that_a_reconciliation_finds_after_others_were_announced(server: Server) -> None:
    server.load()
    server.feed(("Newchannel", channel("1")))
    server.load(listed("1"), listed("2"), reconciles=True)
    assert not server.state.blind and server.state.exact


def test_members_that_a_list_lacks_are_kept(server: Server) -> None:
    server.load()
    server.feed(("Newchannel", channel("1")), ("Newstate", channel("1", ChannelStateDesc="Up")), ("Hold", channel("1")))
    before = dict(server.state.model.kinds["channel"]["1"])
    server.load(listed("1"), reconciles=True)
    assert server.state.corrections == 0 or server.state.last_corrections[0].member == "state"
    after = server.state.model.kinds["channel"]["1"]
    assert {name: after[name] for name in ("since", "held", "answered")} == {
        name: before[name] for name in ("since", "held", "answered")
    }


def test_a_channel_that_events_knew_before_the_first_load(server: Server) -> None:
    """Newchannel shows when channel 1 began; NewCallerid of channel 2 does not."""
    server.feed(("Newchannel", channel("1")), ("Newstate", channel("1", ChannelStateDesc="Up")))
    server.feed(("NewCallerid", channel("2", ChannelStateDesc="Up")))
    server.load(listed("1", ChannelStateDesc="Up", Duration="00:00:00"), listed("2", ChannelStateDesc="Up"))
    known = server.state.model.kinds["channel"]
    assert [(known[one]["since"], known[one]["answered"]) for one in "12"] == [(NOW, NOW), (NOW - 65, None)]


def test_a_list_with_an_outdated_bridge_is_not_a_correction(server: Server) -> None:
    server.load(listed("1"), ("BridgeListItem", {"BridgeUniqueid": "b"}))
    of_bridge = {**channel("1"), "BridgeUniqueid": "b"}
    server.feed(("BridgeEnter", of_bridge))
    server.feed(("BridgeLeave", of_bridge))
    server.load(listed("1", BridgeId="b"), ("BridgeListItem", {"BridgeUniqueid": "b"}), reconciles=True)
    assert server.state.corrections == 0 and server.state.model.kinds["channel"]["1"]["bridge"] == ""


def test_a_bridge_that_is_missing_in_the_list_keeps_its_channels(server: Server) -> None:
    server.load(listed("1"), ("BridgeListItem", {"BridgeUniqueid": "b"}))
    server.feed(("BridgeEnter", {**channel("1"), "BridgeUniqueid": "b"}))
    server.load(listed("1", BridgeId="b"), reconciles=True)
    assert server.state.corrections == 0 and server.state.model.kinds["channel"]["1"]["bridge"] == "b"
    assert server.state.model.kinds["bridge"]["b"]["channels"] == ["1"]
    server.load(listed("1"), reconciles=True)
    assert not server.state.model.kinds["bridge"] and server.state.model.kinds["channel"]["1"]["bridge"] == ""


def test_a_priority_that_no_event_shows_yet_is_not_a_correction(server: Server) -> None:
    server.load(listed("1"))
    server.load(listed("1", Priority="3"), reconciles=True)
    assert server.state.model.kinds["channel"]["1"]["priority"] == 3 and server.state.corrections == 0


def test_contacts_of_the_configuration(server: Server) -> None:
    """PJSIPShowContacts lacks them. PJSIPShowAors has no status, and no reconciliation requests it."""
    aors = "AorList", {"ObjectName": "a", "Contacts": "a/sip:1@h,a/sip:2@h;x=1,2"}
    server.load(aors)
    known = server.state.model.kinds["contact"]
    assert {contact: one["status"] for contact, one in known.items()} == {"a/sip:1@h": "", "a/sip:2@h;x=1,2": ""}
    server.feed(("ContactStatus", {"AOR": "a", "URI": "sip:1@h", "EndpointName": "e", "ContactStatus": "Reachable"}))
    server.load(reconciles=True)
    server.load(groups=("queues",))
    server.load(aors, groups=("contacts",))
    assert (known["a/sip:1@h"]["status"], known["a/sip:1@h"]["endpoint"]) == ("Reachable", "e")
    unreachable = "ContactStatus", {"AOR": "a", "URI": "sip:1@h", "EndpointName": "e", "ContactStatus": "Unreachable"}
    server.load(reconciles=True, before=(unreachable,))
    assert server.state.corrections == 0 and known["a/sip:1@h"]["status"] == "Unreachable"
    server.load(("AorList", {"ObjectName": "a", "Contacts": ""}), groups=("contacts",))
    server.load(reconciles=True)
    assert not server.state.model.kinds["contact"] and server.state.corrections == 0


def test_a_registered_contact_is_in_both_lists(server: Server) -> None:
    status = "ContactStatus", {"AOR": "a", "URI": "sip:1@h", "EndpointName": "e", "ContactStatus": "Reachable"}
    contact = {"ObjectName": "a;@0123", "Uri": "sip:1@h", "Endpoint": "e", "Status": "Reachable", "UserAgent": "phone"}
    items = ("ContactList", contact), ("AorList", {"ObjectName": "a", "Contacts": "a/sip:1@h"})
    server.load()
    server.feed(status)  # has no user agent
    server.load(items[0], reconciles=True)
    server.feed(status)
    (known,) = server.state.model.kinds["contact"].values()
    assert (known["status"], known["endpoint"], known["user_agent"]) == ("Reachable", "e", "phone")
    server.load(*items, groups=("contacts",))
    server.load(items[0], reconciles=True, after=(status,))
    assert known["user_agent"] == "phone" and server.state.corrections == 0


def test_changes_without_an_event_are_not_corrections(server: Server) -> None:
    hint = "ExtensionStatus", {"Exten": "1", "Context": "h", "Hint": "Custom:1", "Status": "0", "StatusText": "Idle"}
    server.load(hint, ("ConfbridgeListRooms", {"Conference": "100", "Locked": "No"}))
    server.load(("ConfbridgeListRooms", {"Conference": "100", "Locked": "Yes"}), reconciles=True)
    assert server.state.model.kinds["conference"]["100"]["locked"] and not server.state.model.kinds["hint"]
    assert server.state.corrections == 0
    server.load(hint, ("ConfbridgeListRooms", {"Conference": "100", "Locked": "Yes"}), reconciles=True)
    assert server.state.corrections == 1  # a new hint has an event


def params(**statistics: str) -> Event:
    return "QueueParams", {"Queue": "support", "Completed": "0", "Abandoned": "0", "ServicelevelPerf": "0.0", **statistics}


def test_statistics_that_are_read_again_are_not_corrections(server: Server) -> None:
    server.load(params())
    server.feed(("AgentComplete", {"Queue": "support"}))
    server.load(params(Completed="1"), groups=("queues",), statistics_only=True)
    assert server.state.model.kinds["queue"]["support"]["completed"] == 1 and server.state.corrections == 0
    server.load(params(Completed="5"), reconciles=True)
    assert server.state.corrections == 0


def test_a_corrected_statistic_derives_no_calls(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Statistics are read every second, and to derive the calls of 10,000 channels takes 30 ms."""
    server.load(listed("1"), ("QueueParams", {"Queue": "support", "Completed": "1"}))
    derived: list[str] = []
    monkeypatch.setattr("amid.state.lists.derive_calls", lambda model: derived.extend(model.stale_calls))
    server.load(("QueueParams", {"Queue": "support", "Completed": "2"}), groups=("queues",), statistics_only=True)
    assert server.state.model.kinds["queue"]["support"]["completed"] == 2 and not derived
    server.load(listed("1", ChannelStateDesc="Up"), reconciles=True)
    assert derived == ["1"]


def test_a_caller_that_abandons_a_queue_during_its_listing_is_counted_once(server: Server) -> None:
    server.load(params())
    server.load(params(Abandoned="1"), reconciles=True, before=(("QueueCallerAbandon", {"Queue": "support"}),))
    assert server.state.model.kinds["queue"]["support"]["abandoned"] == 1 and server.state.corrections == 0


@pytest.mark.parametrize("is_first", [True, False], ids=["first load", "reconciliation"])
@pytest.mark.parametrize("waits", ["1", "2"], ids=["listed before the move", "listed after it"])
def test_an_attended_transfer_that_begins_before_a_load(server: Server, is_first: bool, waits: str) -> None:
    """Phone 1 waits in a queue. Channel 2 takes its place, which only the Hangup of 1 shows."""

    def items(waits: str) -> list[Event]:
        entry = {"Queue": "support", "Position": "1", "Uniqueid": waits, "Channel": f"PJSIP/{waits}", "Wait": "5"}
        return [listed("1"), listed("2"), ("QueueParams", {"Queue": "support"}), ("QueueEntry", entry)]

    if not is_first:
        server.load(*items("1"))
    moved = {"SecondTransfererUniqueid": "1", "TransfereeUniqueid": "2"}
    server.feed(("AttendedTransfer", {"Result": "Success", "DestType": "App", **moved}))
    server.load(*items(waits), after=(("Hangup", channel("1")),), reconciles=not is_first)
    assert set(server.state.model.kinds["caller"]) == {"support/2"}
    assert server.state.model.kinds["queue"]["support"]["abandoned"] == 0 and server.state.corrections == 0
    assert not server.state.model.replacing


def test_a_surrogate_has_no_position(server: Server) -> None:
    """Until it ends, QueueStatus has a channel Surrogate in place of a caller that the action Bridge took away."""

    def entry(uniqueid: str, position: int, name: str) -> Event:
        fields = {"Queue": "support", "Uniqueid": uniqueid, "Channel": f"{name}/{uniqueid}", "Position": str(position), "Wait": "1"}
        return "QueueEntry", fields

    channels = listed("1"), listed("2"), listed("3")
    server.load(*channels, params(), entry("1", 1, "PJSIP"), entry("2", 2, "PJSIP"))
    server.feed(("BridgeEnter", {**channel("1"), "BridgeUniqueid": "b", "BridgeType": "basic"}))
    join = ("QueueCallerJoin", {**channel("3"), "Queue": "support", "Position": "2", "Count": "2"})
    server.load(*channels, params(), entry("9", 1, "Surrogate"), entry("2", 2, "PJSIP"), reconciles=True, after=(join,))
    callers = server.state.model.kinds["caller"]
    assert {one["uniqueid"]: one["position"] for one in callers.values()} == {"2": 1, "3": 2}
    assert not [one for one in server.state.last_corrections if one.kind == "caller"]


def test_a_reload_of_a_module_reloads_its_groups(server: Server) -> None:
    server.load()
    assert not server.state.outdated
    server.feed(("Reload", {"Module": "app_queue.so"}))
    assert list(server.state.outdated) == ["queues"]
    server.load(params(), ("QueueMember", member(Location="PJSIP/bob")), groups=("queues",))
    assert not server.state.outdated and set(server.state.model.kinds["member"]) == {"support/PJSIP/bob"}
    server.feed(("Reload", {"Module": "All"}))
    assert tuple(server.state.outdated) == ALL_GROUPS


def test_a_new_epoch_forgets_everything_and_voids_a_load(server: Server) -> None:
    server.load(listed("1"))
    load = server.begin_load()
    server.state.begin_epoch(8)
    load.add([listed("1")], NOW)
    server.finish(load)
    assert not server.state.ready and not server.channels
    assert server.state.change_log.page_after(7, 2, None, frozenset({"channel"}), 10).missed is None


def test_groups_that_cannot_be_listed_are_known_from_events(server: Server) -> None:
    load = Load(ALL_GROUPS)
    load.missing = {"registrations": "denied", "channels": "denied"}
    server.state.begin_load(load)
    server.feed(("Registry", {"Username": "a", "Domain": "b", "Status": "Registered"}))
    server.feed(("Newchannel", channel("1")))
    server.finish(load)
    assert "a" in server.state.model.kinds["registration"]
    assert server.channels == {"1"} and set(server.state.model.kinds["call"]) == {"1"} and not server.state.exact
    server.feed(("Newstate", channel("2")), ("Hangup", channel("1")))
    assert server.channels == {"2"} == set(server.state.model.kinds["call"])


# ── with hypothesis ──

UNIQUEIDS = ("1", "2", "3")
STATES = ("Down", "Ring", "Up")


@st.composite
def lives(draw: st.DrawFn) -> list[Event]:
    """Events of some channels, in an order in which Asterisk could send them."""
    alive: dict[str, None] = {}
    ended: set[str] = set()
    events: list[Event] = []
    for _ in range(draw(st.integers(0, 15))):
        uniqueid = draw(st.sampled_from(UNIQUEIDS))
        if uniqueid in ended:
            events.append(("NewCallerid", channel(uniqueid)))
        elif uniqueid not in alive:
            alive[uniqueid] = None
            events.append(("Newchannel", channel(uniqueid)))
        elif draw(st.integers(0, 3)):
            state, linkedid = draw(st.sampled_from(STATES)), draw(st.sampled_from(UNIQUEIDS))
            events.append(("Newstate", channel(uniqueid, ChannelStateDesc=state, Linkedid=linkedid)))
        else:
            ended.add(uniqueid)
            del alive[uniqueid]
            events.append(("Hangup", channel(uniqueid)))
    return events


def truth(events: list[Event]) -> Model:
    model = Model()
    model.channels_listed = True
    for name, fields in events:
        apply(model, name, fields, NOW)
    derive_calls(model)
    return model


def plain(model: Model) -> dict[str, dict[str, Any]]:
    """The members that lists have, and calls."""
    return {
        kind: {
            thing: {name: value for name, value in of.items() if name not in ("since", "answered", "held")}
            for thing, of in things.items()
        }
        for kind, things in model.kinds.items()
    }


@given(lives(), st.data())
def test_a_load_at_any_moment_gives_the_true_state(events: list[Event], data: st.DataObject) -> None:
    """Events lag: the list is newer than the events before it."""
    first = data.draw(st.integers(0, len(events)))
    at = data.draw(st.integers(first, len(events)))
    come = data.draw(st.integers(first, at))
    of_list = truth(events[:at]).kinds["channel"]
    items = [listed(uniqueid, ChannelStateDesc=one["state"], Linkedid=one["linkedid"]) for uniqueid, one in of_list.items()]
    server = Server()
    server.feed(*events[:first])
    server.load(*items, before=tuple(events[first:come]), after=tuple(events[come:]))
    assert plain(server.state.model) == plain(truth(events))
    assert server.state.corrections == 0


@given(lives(), st.data())
def test_a_reconciliation_at_any_moment_corrects_nothing(events: list[Event], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(events)))
    at = data.draw(st.integers(first, len(events)))
    of_list = truth(events[:at]).kinds["channel"]
    items = [listed(uniqueid, ChannelStateDesc=one["state"], Linkedid=one["linkedid"]) for uniqueid, one in of_list.items()]
    server = Server()
    server.load()
    server.feed(*events[:first])
    server.load(*items, before=tuple(events[first:at]), after=tuple(events[at:]), reconciles=True)
    assert server.state.corrections == 0, server.state.last_corrections
    assert plain(server.state.model) == plain(truth(events))


@given(lives(), st.integers(1, 5))
def test_the_merged_changes_are_the_state(events: list[Event], size: int) -> None:
    server = Server()
    server.load()
    things: dict[str, dict[str, dict[str, Any]]] = {}
    for start in range(0, len(events), size):
        server.feed(*events[start : start + size])
        for delta in server.state.change_log.take_unpublished():
            of_kind = things.setdefault(delta["kind"], {})
            if delta.get("gone"):
                of_kind.pop(delta["id"], None)
            else:
                of_kind.setdefault(delta["id"], {"id": delta["id"]}).update(delta["set"])
    for kind, known in server.state.model.kinds.items():
        assert things.get(kind, {}) == known
