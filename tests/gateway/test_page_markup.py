"""Names from callers and from Asterisk are shown as text in every part of the page: never as markup,
and they cannot change the order of the text behind them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.gateway.browser import WIDE, page, submit_token
from tests.gateway.conftest import Gateway

OVERRIDE = "\u202e"
"""RIGHT-TO-LEFT OVERRIDE: the text behind it is shown in reverse, numbers too."""
NAME = f'<img src=x onerror="window.ran=1"><script>window.ran=1</script>{OVERRIDE}{"9" * 60}'
"""What a caller sends as its name."""
SHOWN = NAME.replace(OVERRIDE, "\\u202e")
MARKUP = "document.querySelectorAll('body img:not(.brand img), body script, body iframe, body a:not(.skip)').length"
"""The elements that markup in a name could create."""


def channel(uniqueid: str, name: str, bridge: str = "b1") -> dict[str, Any]:
    texts = {"caller": NAME, "caller_name": NAME, "exten": NAME, "context": NAME, "linkedid": "1"}
    times = {"since": 1.0, "answered": 2.0}
    return {"id": uniqueid, "uniqueid": uniqueid, "name": name, "state": "Up", "bridge": bridge, "held": False, **texts, **times}


CALL = {
    "id": "1", "linkedid": "1", "channels": ["1", "2", "3"], "caller": NAME, "caller_name": NAME, "connected": NAME,
    "connected_name": NAME, "context": NAME, "exten": NAME, "talking": True, "since": 1.0,
}  # fmt: skip
MEMBER = {
    "id": "m", "queue": NAME, "interface": NAME, "name": NAME, "device": NAME, "status": NAME, "paused": True,
    "paused_reason": NAME, "penalty": 0, "calls_taken": 3, "last_call": 50, "last_pause": 1,
}  # fmt: skip
CALLER = {
    "id": "c",
    "queue": NAME,
    "uniqueid": "9",
    "channel": NAME,
    "caller": NAME,
    "caller_name": NAME,
    "position": 1,
    "since": 1.0,
}
STATE = {
    "server": "pbx1", "exact": False, "detail": NAME,
    "channels": [channel("1", NAME), channel("2", f"PJSIP/{NAME}"), channel("3", "Local/x;1", "")],
    "calls": [CALL], "bridges": [{"id": "b1", "uniqueid": "b1", "channels": ["1", "2"], "since": 1.0}],
    "queues": [{"id": NAME, "name": NAME, "completed": 1, "abandoned": 0}], "members": [MEMBER], "callers": [CALLER],
    "hints": [{"id": "h", "exten": NAME, "context": NAME, "hint": f"PJSIP/{NAME}", "status": 0, "state": NAME}],
    "parked": [], "participants": [],
}  # fmt: skip
EVENT = {"server": "pbx1", "epoch": 1, "seq": 1, "prev": 0, "time": 1.0, "event": NAME, "fields": {"Channel": NAME, NAME: NAME}}
RECORDED = {
    "server": "pbx1", "linkedid": NAME, "joined": [NAME], "began": 1.0, "ended": 2.0, "who": NAME, "whom": NAME, "dialled": NAME,
    "queue": NAME, "agent": NAME, "outcome": NAME, "waited": 3.0, "talked": 4.0, "ended_by": NAME, "cause": 17, "cause_text": NAME,
    "numbers": [NAME], "late": False, "channels": 1, "events": 1,
}  # fmt: skip
STEP = {"time": 1.0, "after": 0.0, "kind": NAME, "text": NAME, "parties": [NAME, f"{NAME} 2"], "epoch": 1, "seq": 1}
CALL = {"call": RECORDED, "ladder": [STEP, {**STEP, "kind": "end", "parties": None}], "unreadable": [NAME]}
STATUS = {
    "servers": [{"name": "pbx1", "state": NAME, "detail": NAME, "asterisk": NAME, "queued": 1}],
    "processes": [
        {"name": name, "pid": 1, "uptime": 1, "restarts": 0, "last_exit": "", "problem": NAME} for name in ("recorder", NAME)
    ],
}  # fmt: skip
NAMES = ("Hangup", "BlindTransfer", "Park", "Originate", "QueuePause", "QueueAdd", "QueueRemove")
RIGHTS = {"name": NAME, "admin": True, "history": True, "state": True, "actions": dict.fromkeys(NAMES, True)}
ACTIONS = [{"name": name, "synopsis": NAME, "privilege": NAME} for name in (*NAMES, NAME)]
ERROR = {"code": 1, "message": NAME, "data": {"kind": "action_failed", "sent": True, "response": {"Message": NAME, NAME: NAME}}}


def answer_rpc(route: Route) -> None:
    """Answer `status`, `actions` and `call`; any action fails with an error that contains the name."""
    method = (route.request.post_data_json or [{}])[0].get("method")
    results = {"status": STATUS, "actions": ACTIONS, "call": CALL}
    reply = {"result": results[method]} if method in results else {"error": ERROR}
    route.fulfill(json=[{"jsonrpc": "2.0", "id": 1, **reply}])


def stream(*messages: tuple[str, Any]) -> Callable[[Route], None]:
    """A handler that answers with these Server-Sent Events."""
    body = "".join(f"event: {name}\ndata: {json.dumps(value)}\n\n" for name, value in messages)
    return lambda route: route.fulfill(body=body, content_type="text/event-stream")


def answer(value: Any) -> Callable[[Route], None]:
    return lambda route: route.fulfill(json=value)


@pytest.fixture(scope="module")
def view(browser: Browser, gateway: Gateway) -> Iterator[Page]:
    """The page with a gateway in whose answers every text is `NAME`."""
    with page(browser, gateway) as view:
        view.add_init_script("delete window.SharedWorker")  # its requests could not be answered here
        view.reload()
        lost = {**EVENT, "event": "amid:disconnected", "fields": {"Reason": NAME}, "seq": 2}
        gap = {"server": NAME, "epoch": 1, "after": 0, "missed": 3}
        away = {"server": NAME, "kind": NAME, "detail": NAME}
        silent = {"server": "pbx2", "kind": "not_connected", "detail": "server pbx2 has no session: refused"}
        samples = {"interval": 15, "servers": {NAME: {"calls": [1, 2], "waiting": [0, 1], "events": [None, 1]}}}
        view.route("**/v1/state?*", stream(("state", STATE), ("away", away), ("away", silent)))
        view.route("**/v1/events", stream(("event", EVENT), ("event", lost), ("gap", gap)))
        view.route("**/v1/rights?*", answer(RIGHTS))
        view.route("**/v1/samples", answer(samples))
        view.route("**/v1/calls?*", answer({"calls": [RECORDED], "more": True, "unreadable": [NAME]}))
        view.route("**/rpc", answer_rpc)
        submit_token(view)
        yield view
        assert not view.evaluate("window.ran"), "no script of a name has run"


@pytest.fixture(autouse=True)
def shown_as_text(view: Page) -> Iterator[None]:
    yield
    assert view.evaluate(MARKUP) == 0, "a name became an element"
    assert OVERRIDE not in view.locator("body").inner_text(), "a name changes the order of the text behind it"
    view.keyboard.press("Escape")


@pytest.mark.parametrize("act", ["hangUp", "transfer", "park"])
def test_a_call_and_its_dialogs(view: Page, act: str) -> None:
    view.click("#tab-calls")
    card = view.locator("#calls .call")
    expect(card).to_contain_text(SHOWN)
    card.locator(f"button[data-act={act}]").click()
    expect(view.locator("#act")).to_contain_text(SHOWN)
    if act != "hangUp":
        view.keyboard.press("Escape")
        return
    view.click("#act-do")
    expect(view.locator("#act-error")).to_contain_text(SHOWN)


def test_the_notice_names_each_server_once(view: Page) -> None:
    expect(view.locator("#notice")).to_have_text(re.compile(r"\. server pbx2 has no session: refused\.$"))


@pytest.mark.parametrize("act", ["addMember", "pauseMember", "removeMember"])
def test_a_queue_and_its_dialogs(view: Page, act: str) -> None:
    view.click("#tab-queues")
    queue = view.locator("#queues .queue")
    expect(queue).to_contain_text(f"paused: {SHOWN}")
    queue.locator(f"button[data-act={act}]").click()
    expect(view.locator("#act")).to_contain_text(SHOWN)


def test_recorded_calls_and_a_ladder(view: Page) -> None:
    view.click("#tab-history")
    view.locator("#records button").click()
    expect(view.locator("#ladder .step").first).to_have_text(SHOWN)
    expect(view.locator("#ladder-parties")).to_contain_text(SHOWN)
    expect(view.locator("#history-facts")).to_contain_text(SHOWN)
    view.click("#history-back")
    expect(view.locator("#records")).to_contain_text(SHOWN)


def test_events_and_their_details(view: Page) -> None:
    view.click("#tab-events")
    view.locator("#events button.row", has_text=SHOWN).first.click()
    expect(view.locator("#details")).to_contain_text(SHOWN)


def test_the_console_and_the_health_of_amid(view: Page) -> None:
    view.click("#tab-console")
    view.fill("#console-action", NAME)
    view.click("#console-send")
    expect(view.locator("#console-answers")).to_contain_text(SHOWN)
    view.click("#tab-health")
    expect(view.locator("#processes")).to_contain_text(SHOWN)
    expect(view.locator("#processes tr", has_text="recorder").locator("td").last).to_have_text(SHOWN, use_inner_text=True)
    expect(view.locator("#log")).to_contain_text(SHOWN)
    expect(view.locator("#servers")).to_contain_text(SHOWN)


@pytest.mark.parametrize("width", [320, 640, 1280])
def test_no_view_is_wider_than_the_screen(view: Page, width: int) -> None:
    """Of recorded calls, another test has names that Asterisk could give."""
    view.set_viewport_size({"width": width, "height": 800})
    for tab in ("calls", "queues", "events", "console", "health"):
        view.click(f"#tab-{tab}")
        assert view.evaluate("document.documentElement.scrollWidth") <= width, tab
    view.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})
