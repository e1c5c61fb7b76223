"""The one stream of a page: what it tells, how often, and when it is silent."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Generator, Iterator
from itertools import count
from pathlib import Path

import httpx
import pytest

from domain.orders import order
from es_saga.core.events import SagaStarted, StepRefused, StepStarted
from es_saga.projections.news import Positions
from es_saga.web.dashboard.live import LEAST_SECONDS
from tests.dashboard.conftest import Tabs
from tests.dashboard.sample import write
from tests.dashboard.serving import Site, serving

numbers = count(1)
HOSTILE = "</pre><script>document.title = 'gotcha'</script><img src=x onerror=alert(1)>"


def begin(url: str, saga_id: str | None = None, text: str = "tea") -> str:
    """A saga is started, and its first step is refused; its id."""
    found = saga_id or f"order-{next(numbers)}"
    definition, now = order.definition, time.time()
    told = [
        SagaStarted(
            at=now,
            saga_type="order",
            definition=1,
            fingerprint=definition.fingerprint,
            data={"sku": text, text: [text]},
            key=text,
        ),
        StepStarted(
            at=now,
            step="create",
            command_type=text,
            to="orders",
            command={text: text},
            command_id=f"{found}/create/do",
            due=now + 30,
        ),
        StepRefused(at=now, step="create", attempt=1, refusal_type=text, refusal={text: text}),
    ]
    thread = threading.Thread(target=lambda: asyncio.run(write(url, {found: told})))
    thread.start()
    thread.join()
    return found


@pytest.fixture(scope="module")
def living(tmp_path_factory: pytest.TempPathFactory) -> Generator[Site, None, None]:
    """A dashboard over a log that a test may add to."""
    folder: Path = tmp_path_factory.mktemp("living")
    url = f"sqlite:///{folder / 'log.db'}"
    begin(url)
    with serving(url) as found:
        yield found


def messages(site: Site, path: str, **headers: str) -> Iterator[tuple[float, str, str]]:
    """When each message came, its id, and its data."""
    with httpx.stream("GET", f"{site.url}/live{path}", headers=headers, timeout=20) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        place, data = "", list[str]()
        for line in answer.iter_lines():
            if line.startswith("id: "):
                place = line[4:]
            elif line.startswith("data: "):
                data.append(line[6:])
            elif not line and data:
                yield time.monotonic(), place, "\n".join(data)
                data.clear()


def test_a_page_that_is_looked_at_changes_by_itself(tabs: Tabs, living: Site) -> None:
    from playwright.sync_api import expect

    page = tabs.open(living, "/sagas")
    expect(page.locator("#pulse")).to_have_attribute("data-state", "live")
    page.locator("#f-step").fill("half a wo")
    saga_id = begin(living.log)
    expect(page.locator(f"#row-{saga_id}")).to_be_visible()
    assert page.locator("#f-step").input_value() == "half a wo", "what was typed stays"
    page.locator(f"#row-{saga_id} input").check()
    later = begin(living.log)
    expect(page.locator(f"#row-{later}")).to_be_visible()
    expect(page.locator(f"#row-{saga_id} input")).to_be_checked()


def test_ids_are_places_in_the_log_and_one_may_go_on_from_them(living: Site) -> None:
    following = messages(living, "/sagas")
    _, before, _ = next(following)
    saga_id = begin(living.log)
    _, after, told = next(following)
    assert saga_id in told
    assert Positions.read(after).covers(Positions.read(before))
    assert after != before
    following.close()  # type: ignore[attr-defined]  # it is a generator
    _, place, told = next(messages(living, "/sagas", **{"Last-Event-ID": before}))
    assert saga_id in told, "what was missed is there at once"
    assert Positions.read(place).covers(Positions.read(before))


def test_there_are_four_messages_a_second_at_most(living: Site) -> None:
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            begin(living.log)

    writer = threading.Thread(target=busy)
    writer.start()
    try:
        times = [at for _, (at, _, _) in zip(range(8), messages(living, "/sagas"), strict=False)]
    finally:
        stop.set()
        writer.join()
    # All of them together: on its way one may be held up, and the next one then comes the sooner.
    assert times[-1] - times[1] > 0.95 * LEAST_SECONDS * (len(times) - 2)


def test_a_place_that_is_none_begins_anew(living: Site) -> None:
    newest = begin(living.log)
    for wrong in ("x", "9" * 500, ".".join(["zzzzzzzz"] * 16)):
        _, place, told = next(messages(living, "/sagas", **{"Last-Event-ID": wrong}))
        assert Positions.read(place)
        assert newest in told


def test_a_hidden_page_hangs_up_and_one_that_is_seen_again_catches_up(
    tabs: Tabs, living: Site
) -> None:
    from playwright.sync_api import expect

    page = tabs.open(living, "/sagas")
    pulse = page.locator("#pulse")
    expect(pulse).to_have_attribute("data-state", "live")
    hide = """hidden => {
        Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.evaluate(hide, True)
    expect(pulse).to_have_attribute("data-state", "paused")
    assert living.desk is not None
    deadline = time.monotonic() + 10
    while living.desk.feed.listeners:
        assert time.monotonic() < deadline, "nobody has hung up"
        time.sleep(0.02)
    saga_id = begin(living.log)
    assert page.locator(f"#row-{saga_id}").count() == 0
    page.evaluate(hide, False)
    expect(page.locator(f"#row-{saga_id}")).to_be_visible()
    expect(pulse).to_have_attribute("data-state", "live")


@pytest.mark.requirement("R064")
def test_script_in_a_payload_is_shown_as_text(tabs: Tabs, living: Site) -> None:
    from playwright.sync_api import expect

    saga_id = begin(living.log, "order-hostile", text=HOSTILE)
    page = tabs.open(living, f"/sagas/{saga_id}")
    page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
    for tab in ("", "/history", "/travel", "/messages", "/ledger"):
        page.goto(f"/sagas/{saga_id}{tab}")
        if not tab.startswith("/travel"):  # the stream swaps it in once more
            expect(page.locator("#pulse")).to_have_attribute("data-state", "live")
        assert page.locator("main script, main img").count() == 0, tab
        assert "gotcha" not in page.title()
    for path in ("/", "/sagas", "/incidents", "/pending", f"/compare?a={saga_id}&b=order-1"):
        page.goto(path)
        assert page.locator("main script, main img").count() == 0, path
    page.goto(f"/sagas/{saga_id}/history")
    assert HOSTILE in page.locator("#d1 pre").text_content()  # type: ignore[operator]  # it is there
