"""A browser, and dashboards for it to look at.

Playwright's synchronous API throughout: it has an event loop of its own, and so these tests are
plain functions; what serves runs in a thread or in a process beside.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from es_saga.web.access import Access
from tests.dashboard.sample import SAGAS, fill
from tests.dashboard.serving import Site, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_MS = 10_000
"""How long the browser waits for what a test expects."""


class Tabs:
    """Opens pages, each in a browser without a past, and hears what the browser complains of:
    script errors, what the policy refused, what was not found.
    """

    def __init__(self, browser: Browser) -> None:
        self.complaints: list[str] = []
        """Must be empty in the end: a test takes out what it provokes on purpose."""
        self._browser = browser
        self._contexts: list[BrowserContext] = []

    def open(self, site: Site, path: str = "/", **options: Any) -> Page:
        """A page of a dashboard; `options` are those of Playwright's `new_context`."""
        context = self._browser.new_context(base_url=site.url, timezone_id="UTC", **options)
        self._contexts.append(context)
        # Known already, else the first page would be loaded twice.
        context.add_cookies([{"name": "es_saga_zone", "value": "UTC", "url": site.url}])
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(f"thrown: {error}"))
        page.goto(path)
        return page

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text} {message.location}")

    def close(self) -> None:
        """Close them all, before what serves them stops: they would complain of that."""
        while self._contexts:
            context = self._contexts.pop()
            for page in context.pages:
                page.wait_for_load_state()  # else Chromium may never be done with it
            context.close()


def log_in(page: Page, token: str) -> None:
    """Give a token that is known, and wait for the page that this leads to.

    By what stands there: that the browser is on its way may be told of the page that it leaves.
    """
    from playwright.sync_api import expect

    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("nav[aria-label=Pages]")).to_be_visible()
    page.wait_for_load_state()


@pytest.fixture(scope="module")
def browser() -> Generator[Browser, None, None]:
    """Chromium; one for each file, because no event loop of anybody else's can run beside it."""
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("needs Playwright: pip install -e '.[dev,verify]'")
    if not CHROMIUM.exists():
        pytest.skip(f"needs {CHROMIUM}: install the package chromium")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def tabs(browser: Browser) -> Generator[Tabs, None, None]:
    """Pages about which the browser has nothing to complain."""
    opened = Tabs(browser)
    yield opened
    opened.close()
    assert not opened.complaints, "\n".join(opened.complaints)


@pytest.fixture(scope="session")
def sample_log(tmp_path_factory: pytest.TempPathFactory) -> str:
    """URL of a log in which an hour of much trouble stands."""
    # In a thread: in this one, Playwright's event loop may be running.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(fill, tmp_path_factory.mktemp("sample")).result()


@pytest.fixture(scope="session")
def site(sample_log: str) -> Generator[Site, None, None]:
    """A dashboard over the sample log, with the code of its sagas, and nobody behind it."""
    with serving(sample_log, [one.definition for one in SAGAS]) as found:
        yield found


@pytest.fixture
def read_only_site(sample_log: str) -> Generator[Site, None, None]:
    """The same, where nothing may be changed."""
    with serving(sample_log, access=Access(read_only=True)) as found:
        yield found
