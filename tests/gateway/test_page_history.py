"""Recorded calls in the page: the search, and the ladder of one call."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from amid.cli.demo_pbx import simulated_pbx
from amid.simulator import SimulatedPbx
from tests.conftest import StartDaemon
from tests.daemon import eventually, gateway_table
from tests.gateway.browser import PHONE, WIDE, log_in, page, shoot
from tests.gateway.conftest import Gateway, listening, serving
from tests.processes.pbx import simulated, table

TOKENS_FILE = """
[operator]
token = "operator-0123456789abcdef"
history = true

[masked]
token = "masked-0123456789abcdef-0"
history = "masked"

[wallboard]
token = "wallboard-0123456789abcdef"
"""
MASKED, WALLBOARD = "masked-0123456789abcdef-0", "wallboard-0123456789abcdef"
CALLS_PER_MINUTE = 150
LONG_NUMBER = re.compile(r"\+?\d{6,}")
HISTORY: dict[str, Any] = {"recorder": {}, "callers__local": {"history": True}, "supervision": {"silence": 30}}
"""A browser may take the processors from the daemon for longer than the default `silence`."""


@pytest.fixture(scope="module")
def quiet_pbx() -> Iterator[SimulatedPbx]:
    """The PBX `pbx2`, which has no calls but those of a test."""
    with simulated() as pbx:
        yield pbx


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, quiet_pbx: SimulatedPbx) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("amid")
    with simulated_pbx(directory, CALLS_PER_MINUTE) as busy:
        servers = {"pbx1": busy, "pbx2": table(quiet_pbx)}
        with serving(directory, servers, TOKENS_FILE, **HISTORY) as gateway:
            eventually(lambda: finished(gateway), "a call has ended", bound=90)  # calls last up to a minute
            yield gateway


@pytest.fixture
def view(browser: Browser, gateway: Gateway) -> Iterator[Page]:
    with page(browser, gateway) as view:
        log_in(view)
        view.click("#tab-history")
        yield view


def finished(gateway: Gateway) -> list[dict[str, Any]]:
    """Answered calls with a known caller that have ended, the newest first."""
    calls = recorded(gateway, outcome="answered")
    return [call for call in calls if call["ended"] is not None]


def recorded(gateway: Gateway, **params: Any) -> list[dict[str, Any]]:
    with gateway.http as http:
        calls: list[dict[str, Any]] = http.get("/v1/calls", params={"server": "pbx1", **params}).json()["calls"]
    return calls


def ladder(gateway: Gateway, linkedid: str, server: str = "pbx1") -> list[str]:
    with gateway.http as http:
        steps = http.get(f"/v1/calls/{linkedid}", params={"server": server}).json()["ladder"]
    return [step["text"] for step in steps]


def search(view: Page, **fields: str) -> None:
    """Fill in the form and submit it."""
    view.select_option("#history-server", "pbx1")
    view.locator("#history-form details").evaluate("(details) => { details.open = true; }")
    for name, value in fields.items():
        field = view.locator(f"#history-{name}")
        if field.evaluate("(field) => field.tagName") == "SELECT":
            field.select_option(value)
        else:
            field.fill(value)
    view.click("#history-form button[type=submit]")


def test_a_call_is_found_and_its_ladder_is_drawn(view: Page, gateway: Gateway) -> None:
    call = finished(gateway)[0]
    search(view, number=call["numbers"][0], outcome="answered")
    row = view.locator("#records [data-outcome=answered] button").first
    parties = row.locator(".who").inner_text()
    row.click()
    expect(view.locator("#history-title")).to_have_text(parties)
    linkedid = view.locator("#history-facts dt:text-is('Linkedid') + dd").inner_text()
    expect(view.locator("#ladder .step")).to_have_text(ladder(gateway, linkedid))
    assert view.locator("#ladder-parties li").count() > 1 and view.locator("#ladder .lanes .dot.acts").count() > 1
    view.click("#history-back")
    expect(row).to_be_visible()


FIELDS: list[dict[str, str]] = [
    {"queue": "support"},
    {"outcome": "lost"},
    {"name": "Dana"},
    {"agent": "Bob Okafor"},
    {"ended_by": "caller"},
    {"longer": "20"},
    {"shorter": "10"},
    {"period": "hour"},
    {"number": "6001", "queue": "support"},
]


def test_each_field_of_the_search(view: Page, gateway: Gateway) -> None:
    """The page sends the params of the method `calls`, and shows its calls."""
    expect(view.locator("#records li").first).to_be_visible()  # of the search at the opening of the tab
    for fields in FIELDS:
        view.locator("#history-form").evaluate("(form) => form.reset()")
        with view.expect_response("**/v1/calls?*") as response:
            search(view, **fields)
        query = dict(httpx.URL(response.value.url).params)
        expected = {"lost": "true"} if fields.get("outcome") == "lost" else fields
        assert set(query) - {"server", "limit"} == {"since" if name == "period" else name for name in expected}
        assert all(query[name] == value for name, value in expected.items() if name != "period")
        shown = [f"{call['server']} {call['linkedid']}" for call in response.value.json()["calls"]]
        eventually(lambda shown=shown: records(view) == shown, f"the calls for {fields} are shown")  # type: ignore[misc]


def records(view: Page) -> list[str]:
    """Server and Linkedid of each call that is shown."""
    listed = "(items) => items.map((item) => `${item.firstChild.record.server} ${item.firstChild.record.linkedid}`)"
    found: list[str] = view.locator("#records li").evaluate_all(listed)
    return found


def test_a_time_range(view: Page, gateway: Gateway) -> None:
    search(view, period="range", since="2020-01-01T00:00", until="2020-01-02T00:00")
    expect(view.locator("#history-summary")).to_have_text("No calls match.")
    search(view, until="2090-01-01T00:00")
    expect(view.locator("#records li").first).to_be_visible()


def test_more_calls_than_one_search_returns(view: Page, gateway: Gateway) -> None:
    eventually(lambda: len(recorded(gateway, limit=1000)) > 60, "there are more calls", 60)
    search(view)
    expect(view.locator("#records li")).to_have_count(50)
    expect(view.locator("#history-summary")).to_contain_text("50 calls, the newest ones")
    view.click("#history-more")
    eventually(lambda: view.locator("#records li").count() > 50, "the others are shown")


def test_a_current_call_opens_its_ladder_and_follows_it(view: Page, gateway: Gateway) -> None:
    call = {"Channel": "Local/400@default/n", "Context": "default", "Exten": "400", "Priority": 1, "Async": True}
    gateway.daemon.action("Originate", call, server="pbx2")
    view.click("#tab-calls")
    card = view.locator("#calls .call", has_text="pbx2")
    card.get_by_role("button", name="History").click()
    expect(view.locator("#tab-history")).to_have_attribute("aria-selected", "true")
    expect(view.locator("#history-facts")).to_contain_text("in progress")
    expect(view.locator("#ladder li").first).to_be_visible()
    assert "#history/pbx2/" in view.url, "the address names the call"
    view.reload()
    expect(view.locator("#ladder li").first).to_be_visible()
    gateway.daemon.action("Hangup", {"Channel": "/^Local/"}, server="pbx2")
    expect(view.locator("#ladder li[data-kind=end]")).to_be_visible()
    expect(view.locator("#history-facts")).not_to_contain_text("in progress")


def test_a_call_that_was_not_recorded_is_reported(view: Page, gateway: Gateway) -> None:
    view.goto(f"{gateway.url}/#history/pbx1/1.1")
    expect(view.locator("#history-error")).to_have_text("The recorder has no call 1.1 of pbx1 yet.")


def test_an_invalid_address_shows_the_calls(view: Page, gateway: Gateway) -> None:
    for address in ("#constructor", "#history/%", "#%"):
        view.goto(f"{gateway.url}/{address}")
        view.reload()
        expect(view.locator("#link")).to_have_attribute("data-state", "live")


def test_masked_numbers_are_shown_as_they_are_received(browser: Browser, gateway: Gateway) -> None:
    with page(browser, gateway) as view:
        log_in(view, MASKED)
        view.click("#tab-history")
        expect(view.locator("#history-hint")).to_contain_text("This token sees masked numbers")
        expect(view.locator("#history-name")).to_be_hidden()
        search(view, outcome="answered")
        row = view.locator("#records button", has_text="xxxx").first
        row.click()
        expect(view.locator("#ladder li").first).to_be_visible()
        text = view.locator("#history-title, #ladder, #ladder-parties").all_inner_texts()
        assert "xxxx" in " ".join(text) and not LONG_NUMBER.search(" ".join(text))
        view.click("#history-back")
        view.fill("#history-number", "5551234567")
        view.click("#history-form button[type=submit]")
        assert view.evaluate("!document.getElementById('history-form').checkValidity()")


def test_the_tab_requires_the_right_history(browser: Browser, gateway: Gateway) -> None:
    with page(browser, gateway) as view:
        view.goto(f"{gateway.url}/#history")
        log_in(view, WALLBOARD)
        expect(view.locator("#tab-calls")).to_have_attribute("aria-selected", "true")
        expect(view.locator("#tab-history")).to_be_hidden()
        expect(view.locator("#calls .call").first).to_be_visible()
        expect(view.locator("#calls button:visible", has_text="History")).to_have_count(0)


def test_the_tab_requires_the_recorder(browser: Browser, tmp_path: Path, daemon_for: StartDaemon) -> None:
    """It appears when a reload of the configuration starts the recorder."""
    keys = gateway_table(tmp_path, TOKENS_FILE)
    with simulated() as pbx:
        daemon = daemon_for({"pbx1": table(pbx)}, gateway=keys, callers__local={"history": True})
        with page(browser, listening(daemon, keys)) as view:
            log_in(view)
            expect(view.locator("#processes")).to_have_count(1)
            expect(view.locator("#servers li")).to_have_attribute("data-state", "up")
            expect(view.locator("#tab-history")).to_be_hidden()
            daemon.configure({"pbx1": table(pbx)}, gateway=keys, **HISTORY)
            daemon.signal("supervisor", signal.SIGHUP)
            expect(view.locator("#tab-history")).to_be_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_the_search_and_a_ladder_fit_the_screen(browser: Browser, gateway: Gateway, size: tuple[int, int], theme: str) -> None:
    call = next((call for call in finished(gateway) if call["queue"]), finished(gateway)[0])
    with page(browser, gateway, size, theme) as view:
        log_in(view)
        view.click("#tab-history")
        search(view)
        expect(view.locator("#records li").first).to_be_visible()
        assert_fits(view, size[0])
        shoot(view, f"history-{theme}-{size[0]}")
        view.goto(f"{gateway.url}/#history/pbx1/{call['linkedid']}")
        expect(view.locator("#ladder li[data-kind=end]")).to_be_visible()
        assert_fits(view, size[0])
        shoot(view, f"ladder-{theme}-{size[0]}")


def assert_fits(view: Page, width: int) -> None:
    """Nothing is wider than the screen, and no text of a step is cut off."""
    assert view.evaluate("document.documentElement.scrollWidth") <= width
    cut = "[...document.querySelectorAll('#ladder .step')].filter((step) => step.scrollWidth > step.clientWidth + 1).length"
    assert view.evaluate(cut) == 0


def test_a_printed_ladder_has_the_call_only(view: Page, gateway: Gateway) -> None:
    call = finished(gateway)[0]
    view.goto(f"{gateway.url}/#history/pbx1/{call['linkedid']}")
    expect(view.locator("#ladder li[data-kind=end]")).to_be_visible()
    view.emulate_media(media="print")
    expect(view.locator("#history-title")).to_be_visible()
    expect(view.locator("#ladder li").first).to_be_visible()
    for name in ("#tabs", ".top", "#history-back", "#history-form"):
        expect(view.locator(name)).to_be_hidden()
    shoot(view, "ladder-printed")
