"""The page in a real browser with a real Asterisk: calls, queues, gaps and restarts."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.conformance.pbx import Pbx, running
from tests.conftest import StartDaemon
from tests.daemon import eventually
from tests.gateway.browser import PHONE, WIDE, load, log_in, log_out, page, shoot
from tests.gateway.conftest import TOKENS, Gateway, listening, serving, with_gateway
from tests.languages.world import flood


@pytest.fixture(scope="module", params=["simulated", "asterisk-22"])
def pbx(request: pytest.FixtureRequest) -> Iterator[Pbx]:
    with running(request.param) as pbx:
        yield pbx


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, pbx: Pbx) -> Iterator[Gateway]:
    with serving(tmp_path_factory.mktemp("amid"), {"pbx1": pbx.table}) as gateway:
        yield gateway


@pytest.fixture
def view(browser: Browser, gateway: Gateway) -> Iterator[Page]:
    """Logged in, and no calls are left over."""
    hang_up(gateway)
    with page(browser, gateway) as view:
        log_in(view)
        yield view
    hang_up(gateway)


CALL = {"Channel": "Local/answer@calls/n", "Context": "calls", "Priority": 1, "Async": True}


def originate(gateway: Gateway, exten: str, count: int = 1) -> None:
    for number in range(count):
        gateway.daemon.action("Originate", {**CALL, "Exten": exten, "CallerID": f"Caller {number} <10{number}>"})


def channels(gateway: Gateway) -> list[str]:
    return [one["Channel"] for one in gateway.daemon.action("CoreShowChannels")["events"]]


def hang_up(gateway: Gateway) -> None:
    def none_left() -> bool:
        gateway.daemon.action("Hangup", {"Channel": "/^Local/"})
        return not channels(gateway)

    eventually(none_left, "no channels are left")


def test_logging_in_and_out(browser: Browser, gateway: Gateway) -> None:
    with page(browser, gateway) as view:
        expect(view.locator("#app")).to_be_hidden()
        log_in(view)
        expect(view.locator("#servers")).to_contain_text("pbx1")
        expect(view.locator("#servers li")).to_have_attribute("data-state", "up")
        view.reload()
        expect(view.locator("#app")).to_be_visible()
        log_out(view)
        expect(view.locator("#app")).to_be_hidden()


def test_the_end_of_a_session_is_reported_at_the_log_in(browser: Browser, gateway: Gateway) -> None:
    with page(browser, gateway) as view:
        expect(view.locator("#login-error")).to_be_empty()
        log_in(view)
        view.goto("about:blank")  # whose requests are not refused meanwhile
        view.context.clear_cookies()
        load(view, gateway.url)
        expect(view.locator("#login-error")).to_have_text("The session has ended. Log in again.")
        log_in(view)
        log_out(view)
        expect(view.locator("#login-error")).to_be_empty()


def test_logging_out_during_loading_leaves_no_call(browser: Browser, gateway: Gateway) -> None:
    """Its request would come without the cookie and be refused."""
    with page(browser, gateway) as view:
        log_in(view)
        held: list[Route] = []
        view.route("**/rpc", lambda route: held.append(route))
        with view.expect_request("**/rpc"):
            view.reload()
        log_out(view)
        for route in held:
            route.continue_()
        view.unroute("**/rpc")
        log_in(view)


def test_logging_out_during_loading_starts_no_stream(browser: Browser, gateway: Gateway) -> None:
    """Its open calls ended, and so did the loading: the streams were requested without a session, and refused."""
    frames = "new Promise(done => { let left = 60; (function next() { left-- ? requestAnimationFrame(next) : done(); })(); })"
    with page(browser, gateway) as view:
        log_in(view)
        logouts: list[Route] = []
        view.route("**/v1/rights*", lambda route: None)
        view.route("**/logout", lambda route: logouts.append(route))
        with view.expect_request("**/v1/rights*"):
            view.reload()
        view.click("#logout")
        eventually(lambda: view.evaluate("1") and logouts, "the log-out is requested")
        answer = logouts[0].fetch()
        view.evaluate(frames)
        logouts[0].fulfill(response=answer)
        expect(view.locator("#login")).to_be_visible()


def test_another_token_sees_only_its_own_data(browser: Browser, gateway: Gateway) -> None:
    with page(browser, gateway) as view:
        log_in(view)
        view.click("#tab-events")
        gateway.daemon.action("UserEvent", {"UserEvent": "Secret"})
        expect(view.locator("#events")).to_contain_text("Secret")
        log_out(view)
        log_in(view, TOKENS["wallboard"])
        expect(view.locator("#view-events")).to_be_visible()
        expect(view.locator("#events")).not_to_contain_text("Secret")
        view.click("#tab-calls")
        expect(view.locator("#notice")).to_contain_text("Not shown: this token may receive some events only")
        expect(view.locator("#calls-new")).to_be_hidden()


def test_a_failed_logout_is_reported(browser: Browser, gateway: Gateway) -> None:
    with page(browser, gateway) as view:
        log_in(view)
        view.route("**/logout", lambda route: route.abort())
        view.click("#logout")
        expect(view.locator("#link")).to_contain_text("Not logged out")
        expect(view.locator("#servers li")).to_have_attribute("data-state", "up")


def test_a_call_appears_and_ends(view: Page, gateway: Gateway) -> None:
    expect(view.locator("#calls-empty")).to_be_visible()
    originate(gateway, "answer")
    expect(view.locator("#calls .call")).to_have_count(1)
    expect(view.locator("#calls .legs li")).to_have_count(2)
    view.locator("#calls .legs time").first.wait_for()
    hang_up(gateway)
    expect(view.locator("#calls .call")).to_have_count(0)


@pytest.mark.parametrize("hours", [-1, 1])
def test_durations_do_not_depend_on_the_browsers_clock(browser: Browser, gateway: Gateway, hours: int) -> None:
    originate(gateway, "answer")
    with page(browser, gateway) as view:
        view.add_init_script(f"const right = Date.now; Date.now = () => right() + {hours} * 3600000")
        view.reload()
        log_in(view)
        time = view.locator("#calls .legs time").first
        expect(time).to_have_text(re.compile(r"0:\d\d"))
        since = time.inner_text()
        expect(time).not_to_have_text(since)  # the clock runs
    hang_up(gateway)


def test_who_talks_is_shown_by_name(view: Page, gateway: Gateway) -> None:
    originate(gateway, "conf", 2)
    expect(view.locator("#calls .call[data-state=talking]")).to_have_count(2)
    expect(view.locator("#calls .legs .state", has_text="conference").first).to_be_visible()
    expect(view.locator("#calls .call", has_text="Caller 1 101")).to_contain_text("talk 0:")
    view.fill("#calls-filter", "caller 101")
    expect(view.locator("#calls .call")).to_have_count(1)


def test_a_queue_shows_callers_and_members(view: Page, gateway: Gateway) -> None:
    view.click("#tab-queues")
    expect(view.locator(".queue", has_text="support")).to_contain_text("First")
    originate(gateway, "queue", 3)
    expect(view.locator(".queue .waiting li").first).to_be_visible()
    hang_up(gateway)
    expect(view.locator(".queue .waiting li")).to_have_count(0)


def test_originate_from_the_console(view: Page, gateway: Gateway) -> None:
    view.click("#tab-console")
    view.fill("#console-action", "Originate")
    expect(view.locator("#console-hint")).to_contain_text("riginate")
    assert view.locator("#console-actions option").count() > 20
    view.fill("#console-fields", "Channel: Local/answer@calls/n\nContext: calls\nExten: answer\nPriority: 1\nAsync: true")
    view.fill("#console-until", "OriginateResponse")
    view.click("#console-send")
    expect(view.locator(".answer").first).to_contain_text("OriginateResponse")
    view.click("#tab-calls")
    expect(view.locator("#calls .call")).to_have_count(1)


def test_an_error_in_the_console_says_whether_it_was_sent(view: Page) -> None:
    view.click("#tab-console")
    view.fill("#console-action", "Hangup")
    view.fill("#console-fields", "Channel: nobody")
    view.click("#console-send")
    expect(view.locator(".answer").first).to_contain_text("action_failed, it failed")


def test_an_invalid_line_in_the_console_is_reported(view: Page) -> None:
    view.click("#tab-console")
    view.fill("#console-action", "Hangup")
    view.fill("#console-fields", "Channel: nobody\n\nCause 16")
    view.click("#console-send")
    expect(view.locator(".answer").first).to_contain_text("not sent")
    expect(view.locator(".answer").first).to_contain_text("this line is not `Name: value`: Cause 16")


def test_an_interrupted_call_in_the_console_may_have_run(view: Page) -> None:
    view.click("#tab-console")
    view.fill("#console-action", "CoreStatus")
    view.route("**/rpc", lambda route: route.abort() if "CoreStatus" in (route.request.post_data or "") else route.continue_())
    view.click("#console-send")
    expect(view.locator(".answer").first).to_contain_text("connection_lost, it may have been carried out")


def test_events_can_be_filtered_paused_and_inspected(view: Page, gateway: Gateway) -> None:
    view.click("#tab-events")
    view.fill("#events-filter", "Token~look")
    gateway.daemon.action("UserEvent", {"UserEvent": "Hidden", "Token": "one"})
    gateway.daemon.action("UserEvent", {"UserEvent": "Page", "Token": "look-1"})
    expect(view.locator("#events li")).to_have_text([re.compile("UserEvent Page")])  # and none of the list before the filter
    view.click("#events-pause")
    gateway.daemon.action("UserEvent", {"UserEvent": "Page", "Token": "look-2"})
    view.locator("#events button.row").click()
    expect(view.locator("#details")).to_contain_text("look-1")
    view.keyboard.press("Escape")
    expect(view.locator("#events li")).to_have_count(1)
    view.click("#events-pause")
    expect(view.locator("#events li")).to_have_count(2)


def test_a_killed_reader_is_shown_and_calls_are_correct_again(view: Page, gateway: Gateway) -> None:
    originate(gateway, "answer")
    expect(view.locator("#calls .call")).to_have_count(1)
    pid = gateway.daemon.signal("reader pbx1", signal.SIGKILL)
    eventually(lambda: gateway.daemon.pid("reader pbx1") not in (0, pid), "it is replaced")
    gateway.daemon.wait_up("pbx1")
    hang_up(gateway)
    originate(gateway, "answer", 2)
    expect(view.locator("#calls .call")).to_have_count(2)
    view.click("#tab-health")
    expect(view.locator("#log")).to_contain_text("the event session was replaced")
    expect(view.locator("#log")).to_contain_text("reader pbx1 was replaced")
    shoot(view, "health-after-a-restart")


def test_a_removed_server_removes_its_calls(browser: Browser, tmp_path: Path, daemon_for: StartDaemon) -> None:
    keys = with_gateway(tmp_path)
    with running("simulated") as one, running("simulated") as other:
        daemon = daemon_for({"pbx1": one.table, "pbx2": other.table}, gateway=keys)
        with page(browser, listening(daemon, keys)) as view:
            log_in(view)
            for server, times in (("pbx1", 1), ("pbx2", 2)):
                for _ in range(times):
                    daemon.action("Originate", {**CALL, "Exten": "answer"}, server=server)
            expect(view.locator("#calls .call")).to_have_count(3)
            daemon.configure({"pbx1": one.table, "pbx3": other.table}, gateway=keys)
            daemon.signal("supervisor", signal.SIGHUP)
            expect(view.locator("#calls .call .server", has_text="pbx3")).to_have_count(2)
            expect(view.locator("#calls .call")).to_have_count(3)


def test_a_killed_gateway_is_shown_and_the_page_continues(view: Page, gateway: Gateway) -> None:
    pid = gateway.daemon.signal("gateway", signal.SIGSTOP)
    eventually(lambda: gateway.daemon.pid("gateway") not in (0, pid), "it is replaced")
    expect(view.locator("#link")).to_have_attribute("data-state", "live")
    originate(gateway, "answer")
    expect(view.locator("#calls .call")).to_have_count(1)


def test_after_a_storm_the_page_shows_what_asterisk_has(view: Page, gateway: Gateway) -> None:
    for _ in range(5):
        originate(gateway, "storm", 20)
        originate(gateway, "answer", 4)

    def right() -> bool:
        there = sorted(channels(gateway))
        return len(there) == 2 * 5 * 4 and sorted(view.locator("#calls .legs .channel").all_inner_texts()) == there

    eventually(right, "the storm is over, and the page shows what Asterisk has")


def test_the_theme_can_be_changed_and_is_kept(view: Page) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    light = view.evaluate(ground)
    view.click("#theme")
    dark = view.evaluate(ground)
    view.reload()
    assert light != dark == view.evaluate(ground)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_pictures(browser: Browser, gateway: Gateway, size: tuple[int, int], theme: str) -> None:
    """Nothing is wider than the screen."""
    originate(gateway, "conf", 3)
    originate(gateway, "answer", 4)
    originate(gateway, "queue", 2)
    with page(browser, gateway, size, theme) as view:
        shoot(view, f"login-{theme}-{size[0]}")
        log_in(view)
        expect(view.locator("#calls .call").first).to_be_visible()
        for name in ("calls", "queues", "events", "console", "health"):
            view.click(f"#tab-{name}")
            expect(view.locator(f"#view-{name}")).to_be_visible()
            shoot(view, f"{name}-{theme}-{size[0]}")
            width = view.evaluate("document.documentElement.scrollWidth")
            assert width <= size[0], f"{name} is {width} wide"
    hang_up(gateway)


@pytest.mark.alone
def test_many_channels_and_500_events_a_second_stay_smooth_in_bounded_memory(browser: Browser, gateway: Gateway, pbx: Pbx) -> None:
    """A thousand channels on the simulated PBX; a real Asterisk beside a browser on two cores carries a tenth of them."""
    calls = 500 if pbx.simulated else 50
    with page(browser, gateway) as view:
        log_in(view)
        originate(gateway, "answer", calls)
        eventually(lambda: len(channels(gateway)) == 2 * calls, "all calls are there")
        expect(view.locator("#calls-summary")).to_contain_text(re.compile(rf"of {calls} calls, {2 * calls} channels"))
        view.evaluate(LONG_TASKS)
        heap = [grown(view, pbx, seconds=8) for _ in range(3)]
        longest = view.evaluate("window.longest")
        assert longest < 250, f"a task of {longest:.0f} ms: the page stutters"
        assert heap[-1] < heap[0] + 15, f"MB used: {heap}"
    hang_up(gateway)


LONG_TASKS = """() => {
  window.longest = 0;
  const note = (task) => { window.longest = Math.max(window.longest, task.duration); };
  new PerformanceObserver((list) => list.getEntries().forEach(note)).observe({ entryTypes: ["longtask"] });
}"""


def grown(view: Page, pbx: Pbx, seconds: int) -> float:
    """MB that the page uses behind so many seconds of 500 events each."""
    for _ in range(seconds):
        flood(pbx, 500)
        view.wait_for_timeout(1000)
    client = view.context.new_cdp_session(view)
    client.send("HeapProfiler.collectGarbage")
    used: float = client.send("Runtime.getHeapUsage")["usedSize"] / 1e6
    return used


def completed(gateway: Gateway) -> str:
    events = gateway.daemon.action("QueueStatus")["events"]
    return str(next(one for one in events if one["Event"] == "QueueParams")["Completed"])


def test_a_queue_counts_as_asterisk_does(view: Page, gateway: Gateway) -> None:
    """AgentComplete comes for calls that Asterisk does not count, and may be in the snapshot already."""
    view.click("#tab-queues")
    facts = view.locator(".queue", has_text="support").locator(".facts")
    before = completed(gateway)
    expect(facts).to_contain_text(f"answered{before}")
    originate(gateway, "queue", 2)
    eventually(lambda: any("in use" in text for text in view.locator(".queue .members .state").all_inner_texts()), "one talks")
    hang_up(gateway)
    eventually(lambda: completed(gateway) != before, "Asterisk counts it")
    eventually(lambda: f"answered{completed(gateway)}" in (facts.text_content() or ""), "the page counts as Asterisk does")


def test_the_page_recovers_from_a_killed_state_process(browser: Browser, own_gateway: Gateway) -> None:
    daemon = own_gateway.daemon
    with page(browser, own_gateway) as view:
        log_in(view)
        expect(view.locator("#notice")).to_be_hidden()
        view.click("#tab-queues")
        expect(view.locator(".queue", has_text="support")).to_be_visible()
        pid = daemon.signal("state", signal.SIGKILL)
        eventually(lambda: daemon.pid("state") not in (0, pid), "it is replaced")
        daemon.action("QueuePause", {"Interface": "PJSIP/chloe", "Paused": True, "Reason": "Lunch"}, server="pbx1")
        expect(view.locator(".members li", has_text="paused: Lunch")).to_be_visible()
        expect(view.locator("#notice")).to_be_hidden()
