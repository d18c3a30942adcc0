"""A real Chromium, Debian's, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright
from playwright.sync_api import Error as PlaywrightError

from tests.daemon import BOUND_S, eventually
from tests.gateway.conftest import TOKENS, Gateway
from tests.need import need

CHROMIUM = shutil.which("chromium") or ""
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
WIDE, PHONE = (1280, 800), (320, 640)
SHOTS = Path(os.environ.get("AMID_SCREENSHOTS", "screenshots"))
"""Where pictures of the page are left."""


@cache
def missing_prerequisite() -> str:
    """Why the browser cannot be run here, or ""."""
    if not CHROMIUM:
        return "there is no chromium; as root, run apt install chromium fonts-dejavu-core"
    try:
        with sync_playwright() as playwright:
            playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS).close()
    except PlaywrightError as error:
        return f"chromium does not start ({str(error).splitlines()[0][:200]}); as root, run apt install --reinstall chromium"
    return ""


@contextmanager
def chromium() -> Iterator[Browser]:
    need(missing_prerequisite(), "BROWSER")
    expect.set_options(timeout=BOUND_S * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


def load(view: Page, url: str) -> None:
    """Load the page, and load it again if a script of it could not be loaded. Chromium aborts all
    requests when the machine's network changes, also to loopback, and tests that create network
    namespaces run beside these."""
    aborted: list[str] = []
    view.on("requestfailed", lambda request: aborted.append(request.url) if request.resource_type == "script" else None)
    ready = view.locator("#login:not([hidden]), #app:not([hidden])")

    def loaded() -> bool:
        aborted.clear()
        view.goto(url)
        eventually(lambda: ready.count() or aborted, "the log-in or the page is shown")
        return not aborted

    eventually(loaded, "the page is loaded")


@contextmanager
def page(browser: Browser, gateway: Gateway, size: tuple[int, int] = WIDE, theme: str = "light") -> Iterator[Page]:
    """The page before log-in. Errors in the browser's console fail the test."""
    complaints: list[str] = []
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=theme)  # type: ignore[arg-type]
    context.set_default_timeout(BOUND_S * 1000)
    made = context.new_page()
    made.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
    made.on("pageerror", lambda error: complaints.append(str(error)))
    load(made, gateway.url)
    yield made
    context.close()
    expected = ("ERR_", "status of 50")  # what the browser itself says of a gateway that was killed
    unexpected = [complaint for complaint in complaints if not any(word in complaint for word in expected)]
    assert not unexpected, unexpected


def submit_token(page: Page, token: str = TOKENS["operator"]) -> None:
    page.fill("#token", token)
    page.click("#login button")
    page.wait_for_selector("#app:not([hidden])")


def log_in(page: Page, token: str = TOKENS["operator"]) -> None:
    """Log in, and wait for the stream of events: one from before is not shown."""
    submit_token(page, token)
    page.wait_for_selector("#link[data-state=live]", state="attached")


def log_out(page: Page) -> None:
    page.click("#logout")
    page.wait_for_selector("#login:not([hidden])")


def shoot(page: Page, name: str) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png")
