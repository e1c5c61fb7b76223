"""The whole story, in a real browser, with the real engine and a real broker: a saga goes wrong, is
seen live, understood, repaired by the buttons, and closes.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.cli.conftest import REPOSITORY, Running, environment
from tests.dashboard.conftest import Tabs
from tests.dashboard.serving import Site

if TYPE_CHECKING:
    from playwright.sync_api import Page

READY_SECONDS = 20.0
APP = "tests.cli.bakery:app"


@contextmanager
def dashboard(data: Path) -> Generator[Site, None, None]:
    """`es-saga ui` as a process of its own, beside the one that runs the sagas."""
    log = data.with_suffix(".ui")
    with log.open("wb") as told:
        process = subprocess.Popen(
            [sys.executable, "-m", "es_saga", "ui", APP, "--port", "0"],
            cwd=REPOSITORY,
            env=environment(ES_SAGA_DATA=str(data), ES_SAGA_ACTOR="the test"),
            stdout=subprocess.DEVNULL,
            stderr=told,
            start_new_session=True,
        )
    try:
        end = time.monotonic() + READY_SECONDS
        while (found := re.search(r"http://[\d.]+:\d+", log.read_text())) is None:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.02)
        yield Site(found[0], f"sqlite:///{data / 'log.db'}")
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(READY_SECONDS) == 0, log.read_text()


@pytest.fixture(scope="module")
def bakery(tmp_path_factory: pytest.TempPathFactory) -> Generator[Path, None, None]:
    """The folder of a bakery that runs; its oven is cold until a file `open` lies there."""
    data = tmp_path_factory.mktemp("bakery") / "data"
    running = Running(data, APP, "--participants")
    yield data
    running.stop()


@pytest.fixture(scope="module")
def site(bakery: Path) -> Generator[Site, None, None]:
    with dashboard(bakery) as found:
        yield found


def order_cake(site: Site, name: str) -> str:
    """Somebody orders a cake, from elsewhere."""
    body = {"type": "cake", "data": {"name": name}, "key": name}
    answer = httpx.post(f"{site.url}/api/v1/sagas", json=body, timeout=20)
    assert answer.status_code == 201, answer.text
    return f"cake-{name}"


def status(page: Page) -> str:
    return page.locator("#live_head .st").first.inner_text().strip()


@pytest.mark.requirement("R079", "R080", "R081", "R083")
def test_a_saga_that_went_wrong_is_seen_understood_and_repaired(
    tabs: Tabs, site: Site, bakery: Path
) -> None:
    from playwright.sync_api import expect

    # Somebody watches; nothing is wrong.
    page = tabs.open(site, "/pending")
    expect(page.locator("#pulse")).to_have_attribute("data-state", "live")
    expect(page.locator("#live_stuck")).to_contain_text("Nothing takes a human")

    # A cake is ordered, paid, and not baked: it shows by itself.
    saga_id = order_cake(site, "sponge")
    row = page.locator(f"#stuck-{saga_id}")
    expect(row).to_contain_text("bake")
    assert page.evaluate("performance.getEntriesByType('navigation').length") == 1

    # Why? The timeline and the history say.
    row.get_by_role("link", name=saga_id).click()
    page.get_by_role("link", name="Timeline", exact=True).click()
    expect(page.locator(".picture svg")).to_contain_text("refused: Closed")
    page.get_by_role("link", name="History", exact=True).click()
    expect(page.locator("#live_trail")).to_contain_text("Step refused")
    expect(page.locator("#live_trail")).to_contain_text("Saga stuck")

    # Somebody opens the bakery, and tries what a retry would do.
    (bakery / "open").touch()
    page.get_by_role("link", name="Ledger", exact=True).click()
    page.get_by_role("row").filter(has_text="bake").get_by_role("link", name="Retry").click()
    page.get_by_label("Why").fill("the bakery is open again")
    page.get_by_role("button", name="See what it would do").click()
    preview = page.locator("#preview")
    expect(preview).to_contain_text("Operator retried")
    expect(preview).to_contain_text("Bake")
    assert status(page) == "stuck", "a dry run changes nothing"

    # So be it. The saga goes on, and closes before our eyes.
    page.get_by_role("button", name="Retry", exact=True).click()
    expect(page.locator("main")).to_contain_text("It is being tried again.")
    expect(page.locator("#live_head")).to_contain_text("completed")

    # It stands in the audit trail for ever: who, and why.
    page.get_by_role("link", name="History", exact=True).click()
    trail = page.locator("#live_trail")
    expect(trail).to_contain_text("Operator retried")
    expect(trail).to_contain_text("the test")
    expect(trail).to_contain_text("the bakery is open again")
    page.goto("/pending")
    expect(page.locator("#live_stuck")).to_contain_text("Nothing takes a human")


@pytest.mark.requirement("R079")
def test_a_saga_is_started_by_a_form_and_once_only(tabs: Tabs, site: Site, bakery: Path) -> None:
    from playwright.sync_api import expect

    (bakery / "open").touch()
    page = tabs.open(site, "/start?type=cake", java_script_enabled=False)
    page.get_by_label("Input").fill('{"name": 7}')
    page.get_by_role("button", name="Start it").click()
    expect(page.locator(".note.bad")).to_contain_text("name")
    tabs.complaints.clear()  # of the 422
    page.get_by_label("Input").fill('{"name": "cheese"}')
    form: dict[str, str | float | bool] = {
        field.get_attribute("name") or "": field.input_value()
        for field in page.locator("form[action='/start'] :is(input, textarea)").all()
    }
    page.get_by_role("button", name="Start it").click()
    expect(page.locator("main")).to_contain_text("What it was started with")
    again = page.request.post("/start", form=form)
    assert again.url == page.url, "the same form is the same saga"
    form["data"] = '{"name": "another"}'
    assert page.request.post("/start", form=form).status == 409


def test_it_can_be_repaired_without_javascript(tabs: Tabs, site: Site, bakery: Path) -> None:
    from playwright.sync_api import expect

    (bakery / "open").unlink(missing_ok=True)
    saga_id = order_cake(site, "plum")
    page = tabs.open(site, "/pending", java_script_enabled=False)
    deadline = time.monotonic() + READY_SECONDS
    while not page.locator(f"#stuck-{saga_id}").count():
        assert time.monotonic() < deadline
        page.reload()
    page.locator(f"#stuck-{saga_id}").get_by_role("link", name="Resolve").click()
    page.get_by_label("it was done", exact=True).check()
    page.get_by_label("Its reply").fill(json.dumps({"weight": 500}))
    page.get_by_label("Why").fill("baked next door")
    page.get_by_label("Who").fill("grace")
    page.get_by_role("button", name="See what it would do").click()
    expect(page.locator("#preview")).to_contain_text("Saga completed")
    page.get_by_role("button", name="Resolve").click()
    expect(page.locator("#live_head")).to_contain_text("completed")


def test_many_are_repaired_at_once_and_each_tells_what_became_of_it(
    tabs: Tabs, site: Site, bakery: Path
) -> None:
    from playwright.sync_api import expect

    (bakery / "open").unlink(missing_ok=True)
    cakes = [order_cake(site, name) for name in ("carrot", "lemon", "walnut")]
    page = tabs.open(site, "/sagas?status=stuck")
    for saga_id in cakes:
        expect(page.locator(f"#row-{saga_id}")).to_be_visible()
    (bakery / "open").touch()
    for saga_id in cakes[:2]:
        page.locator(f"#row-{saga_id} input").check()
    expect(page.locator("[data-chosen]")).to_have_text("2")
    page.get_by_role("button", name="Operate on the chosen").click()
    page.get_by_label("Verb").select_option("retry")
    page.get_by_label("Why").fill("the bakery is open again")
    page.get_by_role("button", name="See what it would do").click()
    expect(page.locator("main")).to_contain_text("It would be done to 2 of 2")
    page.get_by_role("button", name="Do it to 2").click()
    expect(page.locator("main")).to_contain_text("Done to 2 of 2")
    page.goto("/sagas?status=stuck")
    expect(page.locator(f"#row-{cakes[2]}")).to_be_visible()
    expect(page.locator("#live_rows tbody tr")).to_have_count(1)
    page.get_by_role("button", name="Operate on all that match").click()
    expect(page.locator("main")).to_contain_text("What to do with 1 saga")


def test_a_verb_for_a_saga_that_has_moved_on_is_refused_and_says_what_happened(
    tabs: Tabs, site: Site, bakery: Path
) -> None:
    from playwright.sync_api import expect

    (bakery / "open").unlink(missing_ok=True)
    saga_id = order_cake(site, "apple")
    page = tabs.open(site, "/pending")
    page.locator(f"#stuck-{saga_id}").get_by_role("link", name="Retry").click()
    page.get_by_label("Why").fill("try it again")
    page.get_by_role("button", name="See what it would do").click()
    expect(page.locator("#preview")).to_be_visible()

    # Meanwhile somebody else retries it, in vain.
    other = {"reason": "I was faster"}
    answer = httpx.post(f"{site.url}/api/v1/sagas/{saga_id}/retry", json=other, timeout=20)
    assert answer.status_code == 200, answer.text

    with page.expect_response(re.compile("/operate$")) as sent:
        page.get_by_role("button", name="Retry", exact=True).click()
    assert sent.value.status == 409
    expect(page.locator("main")).to_contain_text("What happened since you looked")
    expect(page.locator("main")).to_contain_text("I was faster")
    tabs.complaints[:] = [one for one in tabs.complaints if "409" not in one]


def test_a_form_that_is_not_ours_changes_nothing(tabs: Tabs, site: Site) -> None:
    saga_id = order_cake(site, "cherry")
    version = httpx.get(f"{site.url}/api/v1/sagas/{saga_id}", timeout=20).json()["version"]
    form = {"verb": "cancel", "reason": "gotcha", "actor": "mallory", "act": "do", "version": "1"}
    path = f"{site.url}/sagas/{saga_id}/operate"
    for proof in ({}, {"proof": "0" * 64}):
        answer = httpx.post(path, data=form | proof, timeout=20)
        assert answer.status_code == 422
        assert "was not made here" in answer.text
    page = tabs.open(site, f"/sagas/{saga_id}/history")
    assert "mallory" not in page.locator("main").inner_text()
    assert version >= 1
