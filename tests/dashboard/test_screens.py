"""Every screen: without JavaScript, in light and dark, for people who see or use it otherwise."""

from __future__ import annotations

import httpx
import pytest

from es_saga.database import make_engine
from es_saga.projections.queries import Queries, SagaFilter
from tests.dashboard.axe import violations
from tests.dashboard.conftest import Tabs
from tests.dashboard.serving import Site

SCREENS = {
    "overview": "/",
    "sagas": "/sagas",
    "timeline": "/sagas/{stuck}",
    "messages": "/sagas/{stuck}/messages",
    "stuck sagas": "/sagas?status=stuck",
    "no saga": "/sagas?q=nobody",
    "history": "/sagas/{stuck}/history",
    "time travel": "/sagas/{stuck}/travel?at=5",
    "decided again": "/sagas/{stuck}/travel?at=5&check=1",
    "another ending": "/sagas/{closed}/travel?if=charge&says=CardDeclined",
    "ledger": "/sagas/{stuck}/ledger",
    "operate": "/sagas/{stuck}/operate?verb=resolve",
    "start": "/start?type=order",
    "pending": "/pending",
    "incidents": "/incidents",
    "compare": "/compare",
    "compared": "/compare?a={stuck}&b={closed}",
    "batch": "/batch",
    "projections": "/projections",
    "participants": "/participants",
    "a week": "/?within=7d",
    "system": "/system",
    "definitions": "/definitions",
    "definition": "/definitions/order/1",
    "login": "/login",
    "not there": "/sagas/nobody",
    "nowhere": "/no/such/page",
}
"""Every screen there is, and what it looks like when there is little to show."""


@pytest.fixture(scope="module")
def paths(site: Site) -> dict[str, str]:
    """The screens' paths, with sagas of the sample."""
    engine = make_engine(site.log)
    queries = Queries(engine)

    def some(status: str) -> str:
        return queries.page(SagaFilter(status=(status,), type="order")).rows[0].saga_id

    sagas = {"stuck": some("stuck"), "closed": some("completed")}
    engine.dispose()
    return {name: path.format(**sagas) for name, path in SCREENS.items()}


@pytest.mark.requirement("R079", "R080", "R081", "R083")
def test_every_screen_is_shown_without_javascript(
    tabs: Tabs, site: Site, paths: dict[str, str]
) -> None:
    page = tabs.open(site, "/sagas", java_script_enabled=False)
    for name, path in paths.items():
        response = page.goto(path)
        assert response is not None
        assert response.status == (404 if name in ("not there", "nowhere") else 200), name
        assert page.locator("h1").count() == 1, name
        assert page.locator("main").inner_text().strip(), name
    tabs.complaints.clear()  # of the saga that is not there


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(tabs: Tabs, site: Site, paths: dict[str, str], scheme: str) -> None:
    page = tabs.open(site, "/sagas", color_scheme=scheme, bypass_csp=True)
    # In the dark nothing but the colours is different.
    only = ("color-contrast", "link-in-text-block") if scheme == "dark" else ()
    found: list[str] = []
    for name, path in paths.items():
        page.goto(path)
        found += [f"{name}: {one}" for one in violations(page, only=only)]
    tabs.complaints.clear()
    assert not found, "\n".join(found)


@pytest.mark.parametrize("width", [1440, 768, 390])
def test_no_screen_is_wider_than_the_window(
    tabs: Tabs, site: Site, paths: dict[str, str], width: int
) -> None:
    page = tabs.open(site, "/sagas", viewport={"width": width, "height": 900})
    for name, path in paths.items():
        page.goto(path)
        beyond: int = page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert beyond <= 0, f"{name} at {width}: {beyond} pixels"
    tabs.complaints[:] = [one for one in tabs.complaints if "404" not in one]


def test_what_is_not_there_is_a_page_for_people_and_an_error_for_programs(site: Site) -> None:
    wanted = {"Accept": "text/html,*/*"}
    with httpx.Client(base_url=site.url, headers=wanted, timeout=20) as client:
        page = client.get("/no/such/page")
        assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
        for path, status in (("/api/v1/nothing", 404), ("/api/v1/operations", 405)):
            answer = client.get(path)
            assert answer.status_code == status, path
            assert set(answer.json()) == {"error"}


def test_the_chart_is_a_picture_and_with_javascript_it_can_be_read_off(
    tabs: Tabs, site: Site
) -> None:
    from playwright.sync_api import expect

    plain = tabs.open(site, "/", java_script_enabled=False)
    assert plain.locator(".chart .spark").is_visible()
    page = tabs.open(site, "/")
    chart = page.locator(".plot canvas")
    expect(chart).to_be_visible()
    assert not page.locator(".chart .spark").is_visible(), "one picture is enough"
    page.locator(".plot .u-over").hover()
    expect(page.locator(".reading")).to_contain_text("started")
    page.locator("a.chip", has_text="7d").click()
    expect(page.locator("#rates")).to_have_text("Each two hours")
    expect(page.locator(".plot canvas")).to_be_visible()


def test_a_form_begins_with_the_step_that_takes_a_human(
    tabs: Tabs, site: Site, paths: dict[str, str]
) -> None:
    page = tabs.open(site, paths["ledger"])
    stuck = page.get_by_role("link", name="Resolve").first
    wanted = httpx.URL(stuck.get_attribute("href") or "").params
    page.goto(paths["operate"])
    assert page.locator("select[name=step]").input_value() == wanted["step"]
    assert page.locator("input[name=direction]").input_value() == wanted["direction"]
    assert page.locator("nav .n").inner_text(), "it is still counted who takes a human"
