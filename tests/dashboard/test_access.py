"""Who may look, who may act, and what the pages defend themselves against."""

from __future__ import annotations

import re
from collections.abc import Generator

import httpx
import pytest

from es_saga.web.access import Access, read_tokens
from tests.dashboard.conftest import Tabs, log_in
from tests.dashboard.serving import Site, serving

OPERATE = "correct-horse-battery-staple"
READ = "only-looking-thank-you-very-much"


@pytest.fixture(scope="module")
def guarded(sample_log: str) -> Generator[Site, None, None]:
    """A dashboard that asks for a token."""
    tokens = read_tokens(f"ada:operate:{OPERATE},guest:read:{READ}")
    with serving(sample_log, access=Access(tokens)) as found:
        yield found


@pytest.fixture(scope="module")
def read_only(sample_log: str) -> Generator[Site, None, None]:
    """A dashboard where nothing may be changed."""
    with serving(sample_log, access=Access(read_only=True)) as found:
        yield found


def test_without_a_token_there_is_nothing_but_the_login(tabs: Tabs, guarded: Site) -> None:
    from playwright.sync_api import expect

    page = tabs.open(guarded, "/sagas?status=stuck", java_script_enabled=False)
    assert page.url == f"{guarded.url}/login?next=%2Fsagas%3Fstatus%3Dstuck"
    assert page.locator("nav[aria-label=Pages]").count() == 0
    page.get_by_label("Token").fill("a-wrong-one-that-is-long-enough")
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("main")).to_contain_text("not known here")
    log_in(page, OPERATE)
    assert page.url == f"{guarded.url}/sagas?status=stuck"
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Token")).to_be_visible()
    page.goto("/sagas")
    assert "/login" in page.url
    tabs.complaints.clear()  # 401 for the wrong token


def test_the_session_is_out_of_reach_of_scripts_and_other_sites(tabs: Tabs, guarded: Site) -> None:
    page = tabs.open(guarded, "/login")
    log_in(page, OPERATE)
    cookies = page.context.cookies()
    (session,) = [cookie for cookie in cookies if cookie.get("name") == "es_saga_session"]
    assert session.get("httpOnly")
    assert session.get("sameSite") == "Strict"
    assert OPERATE not in str(cookies), "the token itself is in no cookie"
    assert "es_saga_session" not in page.evaluate("document.cookie")


def test_the_stream_and_the_forms_ask_for_a_token_too(guarded: Site) -> None:
    with httpx.Client(base_url=guarded.url, timeout=20) as anybody:
        assert anybody.get("/live/sagas").status_code == 401
        answer = anybody.post("/batch", data={"which": "all"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=%2Fbatch")


def test_a_token_for_reading_shows_everything_and_offers_nothing(tabs: Tabs, guarded: Site) -> None:
    page = tabs.open(guarded, "/login?next=/pending")
    log_in(page, READ)
    assert page.get_by_text("read-only").is_visible()
    for path in ("/pending", "/sagas", "/batch"):
        page.goto(path)
        words = page.locator("main").inner_text()
        assert not re.search(r"\b(Retry|Resolve|Skip|Operate on)\b", words), path
    saga = page.request.get("/api/v1/sagas?status=stuck").json()["items"][0]["saga_id"]
    answer = page.goto(f"/sagas/{saga}/operate?verb=retry")
    assert answer is not None
    assert answer.status == 403
    assert "may only read" in page.locator("main").inner_text()
    tabs.complaints.clear()  # 403


def test_where_nothing_may_be_changed_a_form_is_refused(tabs: Tabs, read_only: Site) -> None:
    page = tabs.open(read_only, "/")
    assert page.get_by_text("read-only").is_visible()
    answer = httpx.post(f"{read_only.url}/batch", data={"which": "all", "act": "do"}, timeout=20)
    assert answer.status_code == 403
    assert "read-only" in answer.text


@pytest.mark.parametrize("onward", ["//evil.example/", "https://evil.example/", "/\\evil.example"])
def test_the_login_leads_nowhere_else(tabs: Tabs, guarded: Site, onward: str) -> None:
    page = tabs.open(guarded, "/login")
    page.goto(f"/login?next={onward}")
    log_in(page, READ)
    assert page.url == f"{guarded.url}/"


def test_every_page_has_a_strict_policy(site: Site) -> None:
    with httpx.Client(base_url=site.url, timeout=20) as client:
        for path in ("/", "/sagas", "/login", "/pending", "/sagas/nobody"):
            headers = client.get(path).headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy, path
            assert "unsafe" not in policy, path
            assert headers["x-content-type-options"] == "nosniff"
            page = client.get(path).text
            assert not re.search(r"<script(?![^>]*\bsrc=)|\sstyle=|\son\w+=", page), path


def test_static_files_are_those_of_the_folder_and_no_others(site: Site) -> None:
    with httpx.Client(base_url=site.url, timeout=20) as client:
        found = re.search(r'href="(/static/[^"]+/app\.css)"', client.get("/").text)
        assert found is not None
        answer = client.get(found[1])
        assert answer.headers["content-type"] == "text/css; charset=utf-8"
        assert "immutable" in answer.headers["cache-control"]
        digest = found[1].split("/")[2]
        for name in ("../page.py", "..%2Fpage.py", "templates/base.html", "nothing.css"):
            assert client.get(f"/static/{digest}/{name}").status_code == 404, name
        assert client.get("/static/000000000000/app.css").status_code == 404
