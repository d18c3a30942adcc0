"""The pure modules of the page, run in a browser with states and changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.gateway.browser import page
from tests.gateway.conftest import Gateway

DESCRIBE = """async ([state, changes]) => {
  const { PbxStates, KINDS } = await import("/page/state.js");
  const { describeCalls, describeQueues } = await import("/page/describe.js");
  const states = new PbxStates();
  const empty = Object.fromEntries(Object.values(KINDS).map((kind) => [kind, []]));
  states.apply("state", { server: "pbx1", exact: true, detail: "", ...empty, ...state });
  for (const change of changes) states.apply("change", { server: "pbx1", ...change });
  const pbx = states.get("pbx1");
  const calls = describeCalls(pbx).map(({ who, whom, state, direction, wait, talk, legs, folded }) => (
    { who, whom, state, direction, wait, talk, folded, legs: legs.map((leg) => leg.text) }));
  const other = new PbxStates();
  for (const message of states.messages()) other.apply(...message);
  const same = JSON.stringify(other.get("pbx1").snapshot()) === JSON.stringify(pbx.snapshot());
  return { calls, queues: describeQueues(pbx), same };
}"""


@pytest.fixture(scope="module")
def view(browser: Browser, gateway: Gateway) -> Iterator[Page]:
    with page(browser, gateway) as view:
        yield view


def describe(view: Page, *changes: dict[str, Any], **state: Any) -> Any:
    made = view.evaluate(DESCRIBE, [state, list(changes)])
    assert made["same"], "another tab has the same state"
    return made


def channel(number: str, name: str, bridge: str = "", **more: Any) -> dict[str, Any]:
    return {
        "id": number, "uniqueid": number, "name": name, "linkedid": "1", "state": "Up", "caller": "",
        "caller_name": "", "exten": "", "bridge": bridge, "held": False, "since": float(number), "answered": None, **more,
    }  # fmt: skip


def call(*uniqueids: str, **more: Any) -> dict[str, Any]:
    return {
        "id": "1", "linkedid": "1", "channels": list(uniqueids), "caller": "", "caller_name": "", "connected": "",
        "connected_name": "", "context": "from-trunk", "exten": "300", "talking": False, "since": 1.0, **more,
    }  # fmt: skip


def bridge(name: str, since: float, *channels: str) -> dict[str, Any]:
    return {"id": name, "uniqueid": name, "channels": list(channels), "since": since}


DANA = channel("1", "PJSIP/trunk-1", "b1", caller="+12025550143", caller_name="Dana")
ANN = channel("4", "PJSIP/100-4", "b2", caller="300", caller_name="Ann")
LOCAL = [channel("2", "Local/ann@agents-0;1", "b1"), channel("3", "Local/ann@agents-0;2", "b2")]
HINT = {"id": "100@phones", "exten": "100", "context": "phones", "hint": "PJSIP/100&Custom:DND", "status": 0, "state": "Idle"}


def member(**more: Any) -> dict[str, Any]:
    return {
        "id": "support/PJSIP/100", "queue": "support", "interface": "PJSIP/100", "name": "Ann", "device": "PJSIP/100",
        "status": "not in use", "paused": False, "paused_reason": "", "penalty": 0, "calls_taken": 3,
        "last_call": 50, "last_pause": 0, **more,
    }  # fmt: skip


def queue() -> dict[str, Any]:
    return {"id": "support", "name": "support", "completed": 5, "abandoned": 4}


def test_parties_behind_local_channels_are_found(view: Page) -> None:
    made = describe(
        view,
        channels=[DANA, *LOCAL, ANN],
        calls=[call("1", "2", "3", "4", talking=True)],
        bridges=[bridge("b1", 9.0, "1", "2"), bridge("b2", 9.0, "3", "4")],
        hints=[HINT],
    )
    (one,) = made["calls"]
    assert (one["who"], one["whom"], one["state"], one["direction"]) == ("Dana +12025550143", "Ann 300", "talking", "in")
    assert one["talk"] == 9.0 and one["legs"] == ["talks to Ann 300", "talks to Dana +12025550143"]
    assert len(one["folded"]) == 2


def test_local_channels_are_shown_in_a_call_without_others(view: Page) -> None:
    one, other = LOCAL
    made = describe(view, channels=[one, other], calls=[call("2", "3")], bridges=[])
    assert len(made["calls"][0]["legs"]) == 2 and made["calls"][0]["folded"] == []


def test_waiting_and_ringing_calls(view: Page) -> None:
    waits = {
        "id": "support/1",
        "queue": "support",
        "uniqueid": "1",
        "channel": DANA["name"],
        "caller": "+12025550143",
        "position": 2,
    }
    alone = {**DANA, "bridge": ""}
    state = {"channels": [alone], "calls": [call("1")], "queues": [queue()], "members": [member()]}
    made = describe(view, callers=[{**waits, "caller_name": "Dana", "since": 7.0}], **state)
    assert (made["calls"][0]["state"], made["calls"][0]["whom"], made["calls"][0]["wait"]) == ("waiting", "queue support", 7.0)
    assert made["queues"][0]["longest"] == 7.0
    ringing = {**ANN, "bridge": "", "state": "Ringing"}
    made = describe(view, channels=[alone, ringing], calls=[call("1", "4")])
    assert (made["calls"][0]["state"], made["calls"][0]["whom"]) == ("ringing", "Ann 300")


@pytest.mark.parametrize(
    ("first", "second", "direction"),
    [
        (DANA, {**ANN, "bridge": "b1"}, "in"),
        ({**ANN, "id": "1", "uniqueid": "1"}, {**DANA, "id": "4", "uniqueid": "4", "bridge": "b2"}, "out"),
        ({**ANN, "id": "1", "uniqueid": "1"}, channel("4", "PJSIP/200-1", "b2", caller="200"), "internal"),
        (DANA, channel("4", "PJSIP/trunk-2", "b1", caller="+442071838750"), "through"),
        (channel("1", "PJSIP/x-1", "b1", caller="anonymous"), {**ANN, "bridge": "b1"}, ""),
    ],
)
def test_the_direction_of_a_call(view: Page, first: dict[str, Any], second: dict[str, Any], direction: str) -> None:
    made = describe(view, channels=[first, second], calls=[call("1", "4")], hints=[HINT])
    assert made["calls"][0]["direction"] == direction


def test_parked_calls_and_calls_on_hold(view: Page) -> None:
    parked = {"id": "1", "uniqueid": "1", "space": "701", "lot": "default", "since": 8.0}
    made = describe(view, channels=[DANA], calls=[call("1")], parked=[parked])
    assert (made["calls"][0]["state"], made["calls"][0]["whom"]) == ("parked", "parked at 701")
    held = [{**DANA, "held": True}, {**ANN, "bridge": "b1"}]
    made = describe(view, channels=held, calls=[call("1", "4")])
    assert (made["calls"][0]["state"], made["calls"][0]["whom"]) == ("held", "Ann 300")


def test_the_state_of_a_member_has_a_reason_and_a_time(view: Page) -> None:
    def state_of(**more: Any) -> tuple[str, Any]:
        made = describe(view, queues=[queue()], members=[member(**more)], channels=[{**ANN, "answered": 33.0}])
        return made["queues"][0]["members"][0]["state"], made["queues"][0]["members"][0]["from"]

    assert state_of() == ("free", 50)
    assert state_of(paused=True, paused_reason="Lunch", last_pause=77) == ("paused: Lunch", 77)
    assert state_of(status="in use") == ("in use", 33.0)
    assert state_of(status="unavailable") == ("unavailable", None)


def test_changes_are_merged(view: Page) -> None:
    paused = {"kind": "member", "id": "support/PJSIP/100", "set": {"paused": True}}
    made = describe(view, paused, queues=[queue()], members=[member()])
    assert made["queues"][0]["members"][0]["group"] == "paused"
    gone = {"kind": "member", "id": "support/PJSIP/100", "gone": True}
    unknown = {"kind": "sheep", "id": "1", "set": {}}
    assert describe(view, gone, unknown, queues=[queue()], members=[member()])["queues"][0]["members"] == []


def test_a_background_tab_uses_bounded_memory(view: Page) -> None:
    """It is not drawn for hours."""
    kept = """async () => {
      const { EventsView } = await import("/page/events.js");
      const events = new EventsView(() => {});
      for (let seq = 0; seq < 100000; seq += 1) events.addEvent({ server: "pbx1", epoch: 1, seq, event: "X", fields: {} });
      return Math.max(...Object.values(events).map((one) => one?.length ?? 0));
    }"""
    assert view.evaluate(kept) <= 2000
