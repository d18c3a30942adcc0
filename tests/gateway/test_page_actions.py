"""Actions of the page: only those that the token's lists allow, and only after a confirmation."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.conformance.pbx import Pbx, running
from tests.gateway.browser import PHONE, log_in, page, shoot
from tests.gateway.conftest import Gateway, serving

TOKENS_FILE = """
[operator]
token = "operator-0123456789abcdef"

[wallboard]
token = "wallboard-0123456789abcdef"
allow = ["Ping", "QueuePause"]
"""
CALL = {"Channel": "Local/answer@calls/n", "Context": "calls", "Exten": "answer", "Priority": 1, "Async": True}


@pytest.fixture(scope="module", params=["simulated", "asterisk-22"])
def pbx(request: pytest.FixtureRequest) -> Iterator[Pbx]:
    with running(request.param) as pbx:
        yield pbx


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, pbx: Pbx) -> Iterator[Gateway]:
    with serving(tmp_path_factory.mktemp("amid"), {"pbx1": pbx.table}, TOKENS_FILE) as gateway:
        yield gateway


@pytest.fixture
def view(browser: Browser, gateway: Gateway) -> Iterator[Page]:
    with page(browser, gateway) as view:
        log_in(view)
        yield view
    gateway.daemon.action("Hangup", {"Channel": "/^Local/"})


def test_a_call_is_hung_up_after_a_confirmation(view: Page, gateway: Gateway) -> None:
    gateway.daemon.action("Originate", CALL)
    card = view.locator("#calls .call")
    card.get_by_role("button", name="Hang up").click()
    expect(view.locator("#act-dialog")).to_contain_text("This ends the call")
    expect(view.locator("#act-do")).not_to_be_focused()
    shoot(view, "hang-up")
    view.click("#act-cancel")
    expect(card).to_have_count(1)
    card.get_by_role("button", name="Hang up").click()
    view.click("#act-do")
    expect(view.locator("#done")).to_have_text("Hang up: done.")
    expect(card).to_have_count(0)


def test_the_second_click_of_a_double_click_confirms_nothing(view: Page, gateway: Gateway) -> None:
    gateway.daemon.action("Originate", CALL)
    opener = view.locator("#calls .call").get_by_role("button", name="Hang up")
    at = opener.bounding_box()
    assert at is not None
    move = "(button, { x, y }) => Object.assign(button.style, { position: 'fixed', left: `${x}px`, top: `${y}px` })"
    view.locator("#act-do").evaluate(move, at)
    opener.dblclick()
    expect(view.locator("#act-dialog")).to_be_visible()
    view.click("#act-cancel")
    expect(view.locator("#calls .call")).to_have_count(1)


def test_a_member_is_paused_with_a_reason_and_unpaused(view: Page, gateway: Gateway) -> None:
    view.click("#tab-queues")
    member = view.locator(".queue", has_text="support").locator(".members li").first
    member.get_by_role("button", name="Pause").click()
    view.fill("#act-reason", "Lunch")
    view.click("#act-do")
    expect(member).to_contain_text("paused: Lunch")
    member.get_by_role("button", name="Unpause").click()
    view.click("#act-do")
    expect(member).not_to_contain_text("paused")


def test_a_member_is_added_and_removed(view: Page, gateway: Gateway) -> None:
    view.click("#tab-queues")
    queue = view.locator(".queue", has_text="support")
    queue.get_by_role("button", name="Add member").click()
    view.fill("#act-interface", "Local/answer@calls")
    view.fill("#act-member", "Zed")
    view.click("#act-do")
    zed = queue.locator(".members li", has_text="Zed")
    expect(zed).to_have_count(1)
    zed.get_by_role("button", name="Remove").click()
    view.click("#act-do")
    expect(zed).to_have_count(0)


def test_a_call_is_originated(view: Page) -> None:
    view.click("#calls-new")
    view.fill("#act-channel", "Local/answer@calls/n")
    view.fill("#act-exten", "answer")
    view.fill("#act-context", "calls")
    view.click("#act-do")
    expect(view.locator("#calls .call")).to_have_count(1)


CALLED = 1
"""Index of the called party. The calling one runs an application, and ends with it."""
TALK = {"Channel": "Local/answer@calls/n", "Application": "Dial", "Data": "Local/answer@calls/n", "Async": True}


def test_a_call_is_transferred(view: Page, gateway: Gateway, pbx: Pbx) -> None:
    """The simulated PBX does not offer BlindTransfer, so there is no button."""
    gateway.daemon.action("Originate", CALL if pbx.simulated else TALK)
    card = view.locator("#calls .call")
    expect(card).to_have_count(1)
    if pbx.simulated:
        expect(card.get_by_role("button", name="Transfer")).to_have_count(0)
        return
    card.get_by_role("button", name="Transfer").click()
    view.select_option("#act-party", index=CALLED)
    view.fill("#act-exten", "conf")
    view.fill("#act-context", "calls")
    shoot(view, "transfer")
    view.click("#act-do")
    expect(view.locator("#done")).to_have_text("Transfer: done.")
    expect(view.locator("#calls")).to_contain_text("in conference 100")


def test_a_call_is_parked(view: Page, gateway: Gateway, pbx: Pbx) -> None:
    if pbx.simulated:
        return
    gateway.daemon.action("Originate", TALK)
    view.locator("#calls .call").get_by_role("button", name="Park").click()
    view.select_option("#act-party", index=CALLED)
    view.click("#act-do")
    expect(view.locator("#done")).to_have_text("Park: done.")
    expect(view.locator("#calls .call[data-state=parked]")).to_contain_text("parked at 701")


def test_an_error_is_shown_in_the_dialog(view: Page, gateway: Gateway) -> None:
    view.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    view.click("#calls-new")
    view.fill("#act-channel", "nonsense")
    view.fill("#act-exten", "answer")
    view.fill("#act-context", "calls")
    view.click("#act-do")
    expect(view.locator("#act-error")).to_have_text(re.compile(r"^Asterisk answered Error.*\(it failed\)$"))
    expect(view.locator("#act-error")).to_be_in_viewport(ratio=1)


def test_the_error_of_a_closed_dialog_is_not_shown_in_the_next_one(view: Page, gateway: Gateway) -> None:
    gateway.daemon.action("Originate", CALL)
    held: list[Route] = []
    view.locator("#calls .call").get_by_role("button", name="Hang up").click()
    view.route("**/rpc", lambda route: held.append(route) if "Hangup" in (route.request.post_data or "") else route.continue_())
    with view.expect_request(lambda request: "Hangup" in (request.post_data or "")):
        view.click("#act-do")
    view.keyboard.press("Escape")
    view.click("#calls-new")
    held[0].abort()
    expect(view.locator("#done")).to_have_text("Hang up: the gateway does not answer (it may have been carried out)")
    expect(view.locator("#act-title")).to_have_text("New call")
    expect(view.locator("#act-error")).to_have_text("")


def test_a_call_is_hung_up_whose_first_channel_has_ended(view: Page, gateway: Gateway) -> None:
    """It had another channel when the dialog was opened."""
    gateway.daemon.action("Originate", CALL)
    view.locator("#calls .call").get_by_role("button", name="Hang up").click()
    view.locator("#calls .call").evaluate("(card) => (card.call.legs[0].channel.name = 'Local/ended')")
    view.keyboard.press("Escape")
    view.locator("#calls .call").get_by_role("button", name="Hang up").click()
    view.click("#act-do")
    expect(view.locator("#done")).to_have_text("Hang up: done.")
    expect(view.locator("#calls .call")).to_have_count(0)


def test_buttons_appear_only_for_what_the_token_may_do(browser: Browser, gateway: Gateway) -> None:
    gateway.daemon.action("Originate", CALL)
    with page(browser, gateway) as view:
        log_in(view, "wallboard-0123456789abcdef")
        expect(view.locator("#calls .call")).to_have_count(1)
        expect(view.locator("#calls button:visible")).to_have_count(0)
        expect(view.locator("#calls-new")).to_be_hidden()
        view.click("#tab-queues")
        expect(view.locator(".members button:visible", has_text="Pause").first).to_be_visible()
        expect(view.locator(".queue button:visible", has_text="Remove")).to_have_count(0)
        expect(view.locator(".queue button:visible", has_text="Add")).to_have_count(0)
    gateway.daemon.action("Hangup", {"Channel": "/^Local/"})
