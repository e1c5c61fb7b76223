"""What the pages say of lists, ways, families, watched flows and waits: in words, and truly."""

from __future__ import annotations

import re
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.cli.conftest import Cli, cli
from tests.dashboard import styles
from tests.dashboard.conftest import Tabs
from tests.dashboard.serving import Site, serving

__all__ = ["cli"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Generator[Site, None, None]:
    """A dashboard over sagas of every style."""
    # In a thread: in this one, Playwright's event loop may be running.
    with ThreadPoolExecutor(1) as thread:
        log = thread.submit(styles.fill, tmp_path_factory.mktemp("styles")).result()
    with serving(log, [one.definition for one in styles.STYLES]) as found:
        yield found


def page(shop: Site, path: str) -> str:
    """The words of a page, one space between any two."""
    answer = httpx.get(shop.url + path, timeout=20)
    assert answer.status_code == 200, answer.text
    main = answer.text.partition("<main")[2].partition("</main>")[0]
    bare = re.sub(r"<title>.*?</title>|<style.*?</style>|<desc.*?</desc>", "", main, flags=re.S)
    return " ".join(re.sub(r"<[^>]*>", " ", bare).split())


def row(shop: Site, path: str, first: str) -> str:
    """The words of the row of a table that begins so."""
    html = httpx.get(shop.url + path, timeout=20).text
    rows = (" ".join(re.sub(r"<[^>]*>", " ", own).split()) for own in html.split("<tr")[1:])
    found = [own.partition(">")[2].strip() for own in rows]
    return next(own for own in found if own.startswith(first))


@pytest.mark.requirement("R083")
def test_a_long_list_is_one_line_and_what_is_wrong_with_it_stands_below(shop: Site) -> None:
    told = page(shop, "/sagas/picking-1")
    assert re.search(r"pick 30 items begun 28 undone , 1 undo failed , 1 refused", told)
    ledger = page(shop, "/sagas/picking-1/ledger")
    assert "pick-7 item 7 done" in ledger
    assert "pick-29 item 29 refused" in ledger
    assert "pick-8" not in ledger
    assert "pick-8 item 8" in page(shop, "/sagas/picking-1/ledger?each=pick")
    assert "Retry Retry pick-7" not in ledger
    assert re.search(r"pick-7 item 7 .* Resolve pick-7 Skip pick-7", ledger)


@pytest.mark.requirement("R083")
def test_of_a_list_under_way_it_is_told_how_much_there_is(shop: Site, cli: Cli) -> None:
    far = f"pick ({styles.DONE} of {styles.ITEMS} done)"
    assert f"List {far}" in page(shop, "/sagas/picking-2")
    assert far in row(shop, "/sagas?type=picking&status=running", "running")
    track = r'aria-label="pick, 30 items: 7 done, 4 in flight, 19 not begun, pack not begun"'
    assert re.search(track, httpx.get(f"{shop.url}/sagas/picking-2", timeout=20).text)
    assert f"to do    {far}, pack\n" in cli("status", "picking-2", "--database", shop.log).out
    listed = cli("list", "--type", "picking", "--database", shop.log).out.splitlines()
    assert far in next(line for line in listed if "picking-2" in line)
    assert " of 30" not in next(line for line in listed if "picking-1" in line), "it goes back"


def test_which_way_a_saga_is_on_and_what_was_undone_for_it_is_told(shop: Site) -> None:
    told = page(shop, "/sagas/getaway-1")
    assert "Way 2 of 2, from landed" in told
    assert "way 2 of 2, since room failed: NoRoom" in told
    assert "room way 1, given up refused NoRoom room.2 way 2 done" in told
    assert "back to landed: NoRoom" in told
    assert "not begun" not in page(shop, "/sagas/getaway-1/ledger")


@pytest.mark.law("L16")
def test_going_back_to_a_save_point_owes_nothing_before_it(shop: Site) -> None:
    path = "/sagas/getaway-2/ledger"
    assert "Way 1 of 2, going back to landed" in page(shop, path)
    assert "owed" not in row(shop, path, "flight")
    assert "owed" not in row(shop, path, "landed")
    assert "undo failed" in row(shop, path, "room")
    assert "room undo failed: Terminal" in page(shop, path)
    # On the overview nobody has turned back who may go on from there.
    assert re.search(r"getaway 2 0 ", page(shop, "/"))


@pytest.mark.requirement("R043")
def test_what_a_saga_waits_for_is_named_with_its_time(shop: Site) -> None:
    until = r", until \S+ \S+ UTC \( in \d \w+ \)"
    assert re.search(f"Waits for StockReserved{until}", page(shop, "/sagas/fulfilment-1"))
    assert re.search(f"Waits for Approval{until}", page(shop, "/sagas/procurement-1"))
    assert "stock_reserved not heard in time" in page(shop, "/sagas/fulfilment-2")
    undone = page(shop, "/sagas/fulfilment-3")
    assert "payment_completed undo failed: PaymentRefunded was not heard in time" in undone
    assert "timed out" not in undone, "nobody was asked"
    assert "Waits for together-1 : it is done" in page(shop, "/sagas/together-1--first")
    assert "held by the saga that runs it" in row(
        shop, "/sagas?type=journey&status=waiting", "waiting"
    )
    pending = row(shop, "/pending", "procurement-1")
    assert "approval waits" in pending
    assert "Send again" not in pending, "nobody was asked"


def test_who_is_only_watched_can_be_neither_started_nor_turned_back(shop: Site) -> None:
    ledger = page(shop, "/sagas/fulfilment-2/ledger")
    assert "Resolve stock_reserved" in ledger
    assert "Compensate" not in ledger
    assert "Cancel" not in ledger
    assert "Start one" not in page(shop, "/definitions/fulfilment/1")
    assert "fulfilment" not in page(shop, "/start")


def test_a_step_that_runs_another_saga_leads_to_it(shop: Site) -> None:
    html = httpx.get(f"{shop.url}/sagas/together-1", timeout=20).text
    steps = html.partition("What the steps answered")[2]
    assert 'href="/sagas/together-1--first"' in steps
    assert "saga journey" in page(shop, "/definitions/together/1")
    assert "save-point, 2 ways" in page(shop, "/definitions/getaway/1")


def test_a_list_and_a_way_are_found_by_the_step_as_it_was_written(shop: Site) -> None:
    assert "picking-1" in page(shop, "/sagas?status=stuck&step=pick")
    assert "together-1--second" in page(shop, "/sagas?step=room")


def test_no_page_of_a_long_list_is_wider_than_a_telephone(tabs: Tabs, shop: Site) -> None:
    view = tabs.open(shop, "/sagas", viewport={"width": 390, "height": 900})
    for path in ("", "/ledger", "/travel", "/history", "/ledger?each=pick"):
        view.goto(f"/sagas/picking-1{path}")
        beyond: int = view.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert beyond <= 0, f"{path}: {beyond} pixels"


def test_no_list_and_no_timeline_is_cut_at_a_desk(tabs: Tabs, shop: Site) -> None:
    view = tabs.open(shop, "/sagas", viewport={"width": 1_280, "height": 900})
    sagas = view.locator("a[data-row]").evaluate_all("all => all.map(one => one.pathname)")
    for path in ("/sagas", *sagas):
        view.goto(path)
        cut = view.locator(".table, .picture").evaluate_all(
            "all => all.filter(one => one.scrollWidth > one.clientWidth).length"
        )
        assert not cut, path
