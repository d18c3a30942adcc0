"""The page without a mouse."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.gateway.browser import log_in, page
from tests.gateway.conftest import Gateway

CALL = {"Channel": "Local/400@default/n", "Context": "default", "Exten": "400", "Priority": 1, "Async": True}


@pytest.fixture
def view(browser: Browser, own_gateway: Gateway) -> Iterator[Page]:
    with page(browser, own_gateway) as view:
        log_in(view)
        yield view


def test_the_arrow_keys_change_the_view(view: Page) -> None:
    view.locator("#tab-calls").focus()
    for name in ("queues", "events", "console", "health", "calls"):
        view.keyboard.press("ArrowRight")
        expect(view.locator(f"#tab-{name}")).to_be_focused()
        expect(view.locator(f"#view-{name}")).to_be_visible()


def test_the_link_to_the_content_stays_in_the_view(view: Page) -> None:
    view.click("#tab-queues")
    view.locator(".skip").focus()
    view.keyboard.press("Enter")
    view.keyboard.press("Tab")
    expect(view.locator("#queues-filter")).to_be_focused()


def test_a_button_keeps_the_focus_when_another_call_ends(view: Page, own_gateway: Gateway) -> None:
    for number in range(3):
        own_gateway.daemon.action("Originate", {**CALL, "CallerID": f"Caller {number} <10{number}>"})
    cards = view.locator("#calls .call")
    expect(cards).to_have_count(3)
    button = cards.last.get_by_role("button", name="Hang up")
    button.focus()
    own_gateway.daemon.action("Hangup", {"Channel": cards.first.locator(".channel").first.inner_text()})
    expect(cards).to_have_count(2)
    expect(button).to_be_focused()
