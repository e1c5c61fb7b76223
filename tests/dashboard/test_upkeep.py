"""Read models are verified and rebuilt by buttons, and the page tells what came of it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Generator
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from es_saga.database import make_engine
from es_saga.web.access import Access, read_tokens
from tests.dashboard.axe import violations
from tests.dashboard.conftest import Tabs, log_in
from tests.dashboard.sample import histories, write
from tests.dashboard.serving import Site, serving

PATIENCE_SECONDS = 10.0


@pytest.fixture
def log(tmp_path: Path) -> str:
    """URL of a small log of its own, to be tampered with."""
    url = f"sqlite:///{tmp_path / 'log.db'}"
    told = threading.Thread(target=lambda: asyncio.run(write(url, histories(sagas=20))))
    told.start()
    told.join()
    return url


@pytest.fixture
def site(log: str, tabs: Tabs) -> Generator[Site, None, None]:
    with serving(log) as found:
        yield found
        tabs.close()


def tamper(log: str) -> tuple[str, int]:
    """One row of the status view is not what the log says any more: whose, and of how many."""
    engine = make_engine(log)
    with engine.begin() as connection:
        found = connection.execute(sa.text("SELECT min(saga_id), count(*) FROM es_status"))
        saga_id, rows = found.one()
        connection.execute(
            sa.text("UPDATE es_status SET reason = 'nonsense' WHERE saga_id = :it"), {"it": saga_id}
        )
    engine.dispose()
    return str(saga_id), int(rows)


@pytest.mark.requirement("R079", "R081")
def test_a_view_that_is_not_true_is_found_out_and_made_anew(tabs: Tabs, site: Site) -> None:
    from playwright.sync_api import expect

    page = tabs.open(site, "/projections", bypass_csp=True)
    shown = page.locator("#live_projections")
    page.get_by_role("button", name="Verify status").click()
    expect(shown).to_contain_text("is as the log says all")

    saga_id, rows = tamper(site.log)
    page.get_by_role("button", name="Verify status").click()
    expect(shown).to_contain_text(f"1 of {rows} rows differ.")
    expect(shown).to_contain_text(f"saga_id={saga_id}: reason is 'nonsense', should be ")
    assert not violations(page)

    page.get_by_role("button", name="Rebuild status").click()
    expect(shown).to_contain_text("was rebuilt from")
    page.get_by_role("button", name="Verify status").click()
    expect(shown).to_contain_text("is as the log says")


def test_it_can_be_done_without_javascript(tabs: Tabs, site: Site) -> None:
    page = tabs.open(site, "/projections", java_script_enabled=False)
    page.get_by_role("button", name="Verify audit").click()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while "is as the log says" not in page.locator("main").inner_text():
        assert time.monotonic() < deadline
        page.reload()


@pytest.mark.parametrize("work", ["verify", "rebuild"])
def test_a_form_of_somebody_elses_or_a_view_that_is_none_begins_nothing(
    tabs: Tabs, site: Site, work: str
) -> None:
    foreign = httpx.post(
        f"{site.url}/projections/status/{work}", data={"proof": "0" * 64}, timeout=20
    )
    assert foreign.status_code == 422
    assert "was not made here" in foreign.text
    page = tabs.open(site, "/projections")
    proof = page.locator("input[name=proof]").first.input_value()
    for name in ("nobody", "orders", "x" * 2_000, "<script>alert(1)", "%00"):
        path = f"/projections/{httpx.URL('/' + name).raw_path[1:].decode()}/{work}"
        answer = page.request.post(path, form={"proof": proof})
        assert answer.status == 404, name
        assert "<script>alert" not in answer.text()
    assert site.desk is not None
    assert site.desk.upkeep.last("status") is None


def test_who_may_only_read_is_offered_nothing_and_begins_nothing(tabs: Tabs, log: str) -> None:
    access = Access(read_tokens("eve:read:correct-horse-battery-staple"))
    with serving(log, access=access) as site:
        page = tabs.open(site, "/login?next=/projections")
        log_in(page, "correct-horse-battery-staple")
        assert page.get_by_role("button", name="Verify").count() == 0
        proof = page.locator("input[name=proof]").first.input_value()
        answer = page.request.post("/projections/status/verify", form={"proof": proof})
        assert answer.status == 403
        assert site.desk is not None
        assert site.desk.upkeep.last("status") is None
        tabs.close()
    tabs.complaints.clear()
