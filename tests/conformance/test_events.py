"""The event sockets: exact subscriptions, contiguous numbers, Asterisk's order, detectable loss,
and raw packets."""

from __future__ import annotations

import threading
import time
from typing import Any

from tests.asterisk.raw import Packet, Raw
from tests.conformance.callers import Action, Dealer, at_once
from tests.conformance.conftest import Phone
from tests.conformance.listeners import Event, Listener
from tests.conformance.pbx import SERVER, Pbx
from tests.daemon import Daemon, eventually

STREAM = f"stream.{SERVER}."
STORM = {"Channel": "Local/storm@calls/n", "Application": "Wait", "Data": "0.1", "Async": True}


def storm(daemon: Daemon, calls: int) -> None:
    """Run this many concurrent short calls to their end."""
    with Dealer(daemon) as dealer:
        assert {answer.kind for answer in dealer.carry_out([Action("Originate", STORM)] * calls).values()} == {"ok"}
    eventually(lambda: not daemon.action("CoreShowChannels")["events"], "the storm is over")


def send_mark(daemon: Daemon, text: str) -> Event:
    """Send a UserEvent as a mark in the stream; returns when it has arrived."""
    until: Event = daemon.action("UserEvent", {"UserEvent": text}, until="UserEvent")["until"]
    return until


def contiguous(events: list[Event]) -> bool:
    """Whether `seq` is contiguous, and every `prev` is the previous event of its name, within one
    epoch."""
    seqs = [event["seq"] for event in events]
    last: dict[str, int] = {}
    for event in events:
        if not (event["prev"] == last[event["event"]] if event["event"] in last else event["prev"] < seqs[0]):
            return False
        last[event["event"]] = event["seq"]
    return len({event["epoch"] for event in events}) == 1 and seqs == list(range(seqs[0], seqs[0] + len(seqs)))


def text(value: str | bytes) -> str:
    """As the bare session has it: each byte a character."""
    return (value if isinstance(value, bytes) else value.encode()).decode("latin-1")


def as_raw(event: Event) -> tuple[str, dict[str, Any]]:
    fields = {text(k): [text(one) for one in v] if isinstance(v, list) else text(v) for k, v in event["fields"].items()}
    return event["event"], fields


class Witness:
    """A bare session with events, read by a thread: Asterisk's own events in order."""

    def __init__(self, pbx: Pbx) -> None:
        self._raw = Raw(pbx, events="on")
        self._raw.ask("Ping")  # what its login brought is before this
        self.packets: list[Packet] = []
        self._end = ""
        self._thread = threading.Thread(target=self._drain, daemon=True)

    def between(self, begin: str, end: str) -> list[tuple[str, dict[str, Any]]]:
        """The events from the one mark to the other, as names and headers; waits for the end."""
        self._thread.join(20)
        assert not self._thread.is_alive(), "the mark at the end has not come"
        marks = [packet["UserEvent"] for packet in self.packets]
        return [self._split(packet) for packet in self.packets[marks.index(begin) : marks.index(end) + 1]]

    def listen(self, end: str) -> None:
        self._end = end
        self._thread.start()

    def _drain(self) -> None:
        with self._raw:
            while not self.packets or self.packets[-1]["UserEvent"] != self._end:
                self.packets.append(self._raw.packet())

    def _split(self, packet: Packet) -> tuple[str, dict[str, Any]]:
        names = {name: packet.all(name) for name, _ in packet if name != "Event"}
        return packet["Event"] or "", {name: values if len(values) > 1 else values[0] for name, values in names.items()}


# --- Topics ---


def test_subscriptions_are_exact(daemon: Daemon, phone: Phone, mark: str) -> None:
    """The final dot: `Hangup` is not `HangupRequest`."""
    with Listener(daemon, "events", f"event.{SERVER}.Hangup.", f"event.{SERVER}.UserEvent.") as listener:
        phone.call("answer")
        phone.hang_up_all()
        send_mark(daemon, mark)
        listener.until_event("UserEvent", UserEvent=mark)
    assert [event["event"] for event in listener.events] == ["Hangup", "Hangup", "UserEvent"]
    assert listener.events[1]["prev"] == listener.events[0]["seq"]
    assert listener.messages == 3 and listener.topics == {f"event.{SERVER}.Hangup.", f"event.{SERVER}.UserEvent."}
    (hangup, *_), keys = listener.events, {"server", "epoch", "seq", "prev", "time", "event", "fields"}
    assert set(hangup) == keys and hangup["server"] == SERVER and "Event" not in hangup["fields"]
    assert abs(hangup["time"] - time.time()) < 30


def test_ticks_are_published(daemon: Daemon, mark: str) -> None:
    with Listener(daemon, "stream", STREAM) as stream:
        send_mark(daemon, mark)
        last = stream.until_event("UserEvent", UserEvent=mark)
        stream.ticks.clear()
        stream.until(lambda listener: len(listener.ticks) >= 2, "two ticks")
    one, two = stream.ticks[:2]
    assert one["event"] == "amid:tick" and 0.5 < two["time"] - one["time"] < 2
    assert one["epoch"] == last["epoch"] and one["seq"] >= last["seq"]
    assert one["last"]["UserEvent"] == last["seq"]


# --- Order and loss ---


def test_a_storm_of_calls_is_delivered_in_order(daemon: Daemon, pbx: Pbx, phone: Phone, mark: str) -> None:
    """A fast subscriber receives all events in Asterisk's order, byte for byte; so does one that
    did not read, because 10,000 are buffered."""
    witness = Witness(pbx)
    witness.listen(f"{mark} end")
    with Listener(daemon, "events", f"event.{SERVER}.", kept=1) as slow, Listener(daemon, "stream", STREAM) as fast:
        send_mark(daemon, f"{mark} begin")
        began = time.monotonic()
        thread = threading.Thread(target=storm, args=(daemon, 200))
        thread.start()
        fast.until(lambda listener: not thread.is_alive(), "the storm is over", 30)
        send_mark(daemon, f"{mark} end")
        end = fast.until_event("UserEvent", UserEvent=f"{mark} end")
        seconds = time.monotonic() - began
        begin = fast.until_event("UserEvent", UserEvent=f"{mark} begin")
        slow.until_event("UserEvent", UserEvent=f"{mark} end")
    whole = [event for event in fast.events if begin["seq"] <= event["seq"] <= end["seq"]]
    assert contiguous(fast.events)
    assert [as_raw(event) for event in whole] == witness.between(f"{mark} begin", f"{mark} end")
    assert [event for event in slow.events if begin["seq"] <= event["seq"] <= end["seq"]] == whole
    print(f"\n200 calls: {len(whole)} events in {fast.messages} messages, {seconds:.1f} s")


def test_loss_is_detected_and_recovered(daemon: Daemon, phone: Phone, mark: str) -> None:
    """A subscriber that does not read loses events over the limit, detects it from the numbers, and
    pulls them; the other loses none."""
    before = daemon.server(SERVER)["seq"]
    with Listener(daemon, "events", f"event.{SERVER}.", kept=1) as slow, Listener(daemon, "stream", STREAM) as fast:
        while daemon.server(SERVER)["seq"] < before + 23_000:
            storm(daemon, 100)
            fast.until(lambda listener: True, "nothing more")
            fast.until(lambda listener: listener.events and listener.events[-1]["seq"] >= before, "what came")
        send_mark(daemon, mark)
        end = fast.until_event("UserEvent", UserEvent=mark)
        slow.until(lambda listener: listener.ticks and listener.ticks[-1]["seq"] >= end["seq"], "the tick that tells the end")
    assert contiguous(fast.events)
    got = {event["seq"]: event for event in slow.events}
    lost = [seq for seq in range(fast.events[0]["seq"], end["seq"] + 1) if seq not in got]
    assert lost and [event["seq"] for event in slow.events] == sorted(got)
    published = {event["seq"]: event for event in fast.events}
    again: list[Event] = []
    after = lost[0] - 1
    while after < lost[-1]:
        cursor = {"epoch": end["epoch"], "seq": after}
        answer = daemon.result("events", {"server": SERVER, "after": cursor, "limit": 5000, "timeout": 0})
        assert answer["missed"] == 0
        again += answer["events"]
        after = answer["seq"]
    assert [event["seq"] for event in again[: len(lost)]] == list(range(lost[0], lost[0] + len(lost)))
    assert all(event["fields"].keys() == published[event["seq"]]["fields"].keys() for event in again if event["seq"] in published)
    print(f"\n{len(fast.events)} events; the slow listener lost {len(lost)}")


def test_pulled_events_equal_published_events(daemon: Daemon, phone: Phone, mark: str) -> None:
    with Listener(daemon, "stream", STREAM) as stream, Dealer(daemon, "msgpack") as dealer:
        send_mark(daemon, mark)
        first = stream.until_event("UserEvent", UserEvent=mark)
        dealer.send("bytes", Action("UserEvent", {"UserEvent": "Bytes", "X": b"caf\xe9", "Y": "a: b  "}))
        phone.call("answer")
        phone.hang_up_all()
        send_mark(daemon, f"{mark} end")
        last = stream.until_event("UserEvent", UserEvent=f"{mark} end")
        params = {"server": SERVER, "after": {"epoch": first["epoch"], "seq": first["seq"] - 1}, "timeout": 0}
        dealer.request("all", "events", params)
        dealer.request("some", "events", {**params, "limit": 3})
        dealer.request("named", "events", {**params, "names": ["userevent"]})
        everything = [event for event in dealer.reply("all").result["events"] if event["seq"] <= last["seq"]]
        assert everything == [event for event in stream.events if first["seq"] <= event["seq"] <= last["seq"]]
        some = {"server": SERVER, "epoch": first["epoch"], "seq": everything[2]["seq"], "missed": 0, "more": True}
        assert dealer.reply("some").result == {**some, "events": everything[:3]}
        assert dealer.reply("named").result["events"] == [event for event in everything if event["event"] == "UserEvent"]
        assert [event["fields"]["X"] for event in everything if event["fields"].get("UserEvent") == "Bytes"] == [b"caf\xe9"]


# --- What must not be on the event sockets ---

LISTS = ["QueueStatus", "CoreShowChannels", "Status", "ParkedCalls", "DeviceStateList", "BridgeList", "WaitEvent"]


def test_list_items_go_only_to_the_caller(daemon: Daemon, phone: Phone, mark: str) -> None:
    phone.call("conf")
    phone.call("park")
    eventually(lambda: daemon.action("ParkedCalls")["events"], "a parked call")
    with Listener(daemon, "stream", STREAM) as stream, Listener(daemon, "events", f"event.{SERVER}.") as events:
        answers = at_once(daemon, [Action(name, {"Timeout": 1}) for name in LISTS])
        send_mark(daemon, mark)
        stream.until_event("UserEvent", UserEvent=mark)
        events.until_event("UserEvent", UserEvent=mark)
    ids = {answer.result["action_id"] for answer in answers}
    assert all(answer.result["complete"] for answer in answers) and answers[1].result["events"]
    for event in (*stream.events, *events.events):
        assert event["fields"].get("ActionID") not in ids and "EventList" not in event["fields"], event


def published(daemon: Daemon) -> int:
    count: int = daemon.result("status")["servers"][0]["counters"]["published_messages"]
    return count


def test_events_without_subscribers_are_not_published(daemon: Daemon, mark: str) -> None:
    """Earlier subscribers have left; their sockets may report it with a delay."""

    def nothing() -> bool:
        before, seq = published(daemon), daemon.server(SERVER)["seq"]
        send_mark(daemon, mark)
        eventually(lambda: daemon.server(SERVER)["seq"] > seq, "the event is in the reader's report")
        return published(daemon) == before

    eventually(nothing, "nothing is published")
    with Listener(daemon, "events", f"event.{SERVER}.NoSuchEvent."):
        count, seq = published(daemon), daemon.server(SERVER)["seq"]
        for _ in range(20):
            send_mark(daemon, mark)
        eventually(lambda: daemon.server(SERVER)["seq"] >= seq + 20, "they came")
        assert published(daemon) - count < 10, "more than the ticks was published"


# --- Epochs ---


def test_epochs_grow_and_start_with_event_one(daemon: Daemon) -> None:
    """With a new reader, the tick shows a reconnected subscriber what it has missed, from number 1."""
    with Listener(daemon, "stream", STREAM) as stream:
        epochs = [daemon.server(SERVER)["epoch"]]
        for _ in range(2):
            daemon.result("restart", {"server": SERVER})
            stream.until(lambda listener: listener.ticks and listener.ticks[-1]["epoch"] > epochs[-1], "a tick of a new epoch")
            epochs.append(stream.ticks[-1]["epoch"])
            daemon.wait_up(SERVER)
            page = daemon.result("events", {"server": SERVER, "after": {"epoch": epochs[-1], "seq": 0}, "limit": 1, "timeout": 0})
            (first,) = page["events"]
            assert (first["event"], first["seq"], first["prev"], page["missed"]) == ("amid:connected", 1, 0, 0)
    told = [event["epoch"] for event in stream.ticks]
    assert told == sorted(told) and stream.named("amid:disconnected")
