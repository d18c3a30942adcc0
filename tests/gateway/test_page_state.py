"""The page's state module, fed with answers and events in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.gateway.browser import chromium, page
from tests.gateway.conftest import Gateway

FOLLOW = """async ([queues, events]) => {
  const { Pbx } = await import("/page/pbx.js");
  const pbx = new Pbx("pbx1");
  pbx.load([], queues, 1000);
  for (const [event, fields] of events) pbx.apply({ event, fields, time: 1000 });
  const plain = ({ completed, abandoned, members, waiting }) => (
    { completed, abandoned, members: [...members.values()], waiting: [...waiting.values()] })
  const after = {
    queues: Object.fromEntries([...pbx.queues].map(([name, queue]) => [name, plain(queue)])),
    states: [...pbx.channels.values()].map((channel) => channel.state),
    uncounted: [...pbx.uncounted],
  };
  pbx.count([{ Event: "QueueParams", Queue: "support", Completed: "6", Abandoned: "7" }]);
  return { ...after, counted: plain(pbx.queues.get("support")) };
}"""
MEMBER = {"Queue": "support", "StateInterface": "PJSIP/100"}


@pytest.fixture(scope="module")
def view(gateway: Gateway) -> Iterator[Page]:
    with chromium() as browser, page(browser, gateway) as view:
        yield view


def followed(view: Page, queues: list[dict[str, str]], *events: tuple[str, dict[str, Any]]) -> Any:
    return view.evaluate(FOLLOW, [queues, events])


def entry(uniqueid: str, position: int) -> dict[str, str]:
    return {"Event": "QueueEntry", "Queue": "support", "Uniqueid": uniqueid, "Position": str(position), "Wait": "1"}


def test_a_member_with_another_state_interface_is_one_member(view: Page) -> None:
    """QueueStatus says Location where the events say Interface (apps/app_queue.c); the interface of the state may differ."""
    item = {"Event": "QueueMember", "Name": "Ann", "Location": "Local/100@agents/n", "Status": "1", **MEMBER}
    status = {"MemberName": "Ann", "Interface": "Local/100@agents/n", "Status": "2", **MEMBER}
    after = followed(view, [item], ("QueueMemberStatus", status))
    assert [(one["name"], one["status"]) for one in after["queues"]["support"]["members"]] == [("Ann", 2)]
    assert followed(view, [item], ("QueueMemberRemoved", status))["queues"]["support"]["members"] == []


def test_queue_positions_are_correct_when_a_caller_joins_before_others(view: Page) -> None:
    joined = ("QueueCallerJoin", entry("3", 1))
    waiting = followed(view, [entry("1", 1), entry("2", 2)], joined, joined)["queues"]["support"]["waiting"]
    assert {one["id"]: one["position"] for one in waiting} == {"3": 1, "1": 2, "2": 3}


def test_asterisks_counters_are_used_instead_of_counting_events(view: Page) -> None:
    """AgentComplete comes for calls that Asterisk does not count, and of others the snapshot may know."""
    snapshot = [{"Event": "QueueParams", "Queue": "support", "Abandoned": "4", "Completed": "5"}, entry("2", 1)]
    ends = [("AgentComplete", {"Queue": "support"})] * 13 + [("QueueCallerAbandon", entry("2", 1))]
    after = followed(view, snapshot, *ends)
    assert (after["queues"]["support"]["completed"], after["queues"]["support"]["abandoned"]) == (5, 4)
    assert after["uncounted"] == ["support"], "the page asks for the counters of this queue"
    assert (after["counted"]["completed"], after["counted"]["abandoned"]) == (6, 7)


def test_a_forged_event_ends_no_call(view: Page) -> None:
    forged = {"Uniqueid": "1", "ChannelStateDesc": ["Up", "Ring"]}
    assert followed(view, [], ("valueOf", {}), ("Newchannel", forged))["states"] == ["Up"]


def test_a_background_tab_uses_bounded_memory(view: Page) -> None:
    """It is not drawn for hours."""
    kept = """async () => {
      const { Events } = await import("/page/events.js");
      const events = new Events(() => {});
      for (let seq = 0; seq < 100000; seq += 1) events.take({ server: "pbx1", epoch: 1, seq, event: "X", fields: {} });
      return Math.max(...Object.values(events).map((one) => one?.length ?? 0));
    }"""
    assert view.evaluate(kept) <= 2000
