"""Many tabs of one browser, which opens six connections to a host: they share two streams."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.daemon import BOUND_S, eventually
from tests.gateway.browser import load, log_in, log_out
from tests.gateway.conftest import TOKENS, Gateway

TABS = 8
STREAMS = 2
"""Of events, and of the state."""


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context()
    context.set_default_timeout(BOUND_S * 1000)
    yield context
    context.close()


def tabs_of(context: BrowserContext, gateway: Gateway) -> list[Page]:
    """So many tabs, of which the first one logs in."""
    tabs = [context.new_page()]
    load(tabs[0], gateway.url)
    log_in(tabs[0])
    for _ in range(TABS - 1):
        tabs.append(context.new_page())
        load(tabs[-1], gateway.url)
    for tab in tabs:
        expect(tab.locator("#link")).to_have_attribute("data-state", "live")
    return tabs


def streams(gateway: Gateway) -> int:
    with gateway.http as http:
        line = next(line for line in http.get("/metrics").text.splitlines() if line.startswith("amid_gateway_streams "))
    return int(float(line.split()[1]))


def all_show_the_next_event(tabs: list[Page], gateway: Gateway, token: str) -> None:
    """All tabs show an event that the first one receives."""
    for tab in tabs:
        tab.click("#tab-events")
    gateway.daemon.action("UserEvent", {"UserEvent": "Tab", "Token": token}, server="pbx1")
    for tab in tabs:
        tab.fill("#events-filter", f"Token={token}")
        expect(tab.locator("#events li button")).to_have_count(1)


def test_eight_tabs_share_two_streams_until_the_last_is_closed(context: BrowserContext, own_gateway: Gateway) -> None:
    tabs = tabs_of(context, own_gateway)
    all_show_the_next_event(tabs, own_gateway, "all")
    assert streams(own_gateway) == STREAMS
    tabs.pop(0).close()
    all_show_the_next_event(tabs, own_gateway, "without-the-first")
    tabs.pop().close()
    tabs.pop(2).reload()
    while len(tabs) > 1:
        tabs.pop(0).close()
    all_show_the_next_event(tabs, own_gateway, "last")
    assert streams(own_gateway) == STREAMS
    tabs.append(context.new_page())
    load(tabs[-1], own_gateway.url)
    all_show_the_next_event(tabs, own_gateway, "and-one-more")
    for tab in context.pages:
        tab.close()
    eventually(lambda: streams(own_gateway) == 0, "the stream ends with the last tab")


def test_a_later_tab_shows_the_same_calls(context: BrowserContext, own_gateway: Gateway) -> None:
    tabs = tabs_of(context, own_gateway)
    call = {"Channel": "Local/400@default/n", "Context": "default", "Exten": "400", "Priority": 1, "Async": True}
    own_gateway.daemon.action("Originate", call, server="pbx1")
    expect(tabs[0].locator("#calls .call")).to_have_count(1)
    tabs.append(context.new_page())
    load(tabs[-1], own_gateway.url)
    for tab in tabs:
        expect(tab.locator("#calls .call")).to_have_count(1)


def test_all_tabs_reconnect_to_a_replaced_gateway(context: BrowserContext, own_gateway: Gateway) -> None:
    tabs = tabs_of(context, own_gateway)
    pid = own_gateway.daemon.signal("gateway", signal.SIGKILL)
    own_gateway.daemon.action("UserEvent", {"UserEvent": "Tab", "Token": "meanwhile"}, server="pbx1")
    eventually(lambda: own_gateway.daemon.pid("gateway") not in (0, pid), "it is replaced")
    for tab in tabs:
        tab.click("#tab-events")
        tab.fill("#events-filter", "Token=meanwhile")
        expect(tab.locator("#events li button")).to_have_count(1)
    eventually(lambda: streams(own_gateway) == STREAMS, "two streams for all")


def test_logging_out_in_one_tab_ends_the_stream_and_all_tabs(context: BrowserContext, own_gateway: Gateway) -> None:
    tabs = tabs_of(context, own_gateway)
    log_out(tabs[3])
    for tab in tabs:
        expect(tab.locator("#login")).to_be_visible(timeout=BOUND_S * 1000)
    eventually(lambda: streams(own_gateway) == 0, "the stream has ended")


def test_a_second_log_in_replaces_the_session_of_all_tabs(context: BrowserContext, own_gateway: Gateway) -> None:
    """Two tabs showed the log-in. Each event is shown once, and of the old token nothing is left."""
    tabs = [context.new_page() for _ in range(2)]
    for tab in tabs:
        load(tab, own_gateway.url)
    log_in(tabs[0])
    log_in(tabs[1], TOKENS["wallboard"])
    expect(tabs[0].locator("#notice")).to_contain_text("this token may receive some events only")
    eventually(lambda: streams(own_gateway) == 1, "the streams of the first session have ended")
    all_show_the_next_event(tabs, own_gateway, "second")
    for tab in tabs:
        expect(tab.locator("#events-summary")).to_have_text("1 of the last 1, 1 since this page was opened")


def test_a_browser_without_shared_workers_has_streams_in_each_tab(context: BrowserContext, own_gateway: Gateway) -> None:
    context.add_init_script("delete window.SharedWorker")
    tab = context.new_page()
    load(tab, own_gateway.url)
    log_in(tab)
    all_show_the_next_event([tab], own_gateway, "alone")
