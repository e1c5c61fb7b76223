"""A hundred thousand sagas: the pages ask no more, and the database reads no more for them."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from sqlalchemy import event

from es_saga.database import make_engine
from es_saga.projections.status import STATUS
from tests.dashboard.sample import HOUR, fill
from tests.dashboard.serving import serving

MANY = 100_000
TICK = 100
"""Steps of the database's virtual machine between two looks at it."""

MAX_STEPS = 400_000
"""Of one page. To go through the whole table once takes more than a million."""

MAX_STATEMENTS = 80
COUNTING = "GROUP BY es_status.type, es_status.status"
"""What counts every saga; it is asked seldom, see `es_saga.web.dashboard.costly`."""

PAGES = (
    "/",
    "/sagas",
    "/sagas?status=stuck",
    "/sagas?type=order&status=completed",
    "/sagas?q=many-0",
    "/sagas?since=1h",
    "/sagas?step=ship",
    "/pending",
    "/incidents",
)


@dataclass
class Work:
    """What the database was asked, and how many steps each of it took."""

    statements: list[str] = field(default_factory=list[str])
    steps: list[int] = field(default_factory=list[int])

    def taken(self) -> tuple[int, int]:
        """Statements, and steps of those that do not count every saga; it begins anew."""
        own = [n for s, n in zip(self.statements, self.steps, strict=True) if COUNTING not in s]
        statements = len(self.statements)
        self.statements.clear()
        self.steps.clear()
        return statements, sum(own)


@contextmanager
def watched() -> Generator[Work, None, None]:
    """Watch every database that is opened from here on."""
    work = Work()

    def tick() -> int:
        if work.steps:
            work.steps[-1] += TICK
        return 0

    def connected(connection: Any, _record: object) -> None:
        connection.set_progress_handler(tick, TICK)

    def asked(_conn: object, _cursor: object, statement: str, *_rest: object) -> None:
        work.statements.append(statement)
        work.steps.append(0)

    event.listen(sa.Engine, "connect", connected)
    event.listen(sa.Engine, "before_cursor_execute", asked)
    try:
        yield work
    finally:
        event.remove(sa.Engine, "connect", connected)
        event.remove(sa.Engine, "before_cursor_execute", asked)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A log with the trouble of the sample, and a hundred thousand sagas that came before."""
    folder: Path = tmp_path_factory.mktemp("crowded")
    url = fill(folder, sagas=100)
    engine = make_engine(url)
    with engine.begin() as connection:
        done = sa.select(STATUS).where(STATUS.c.status == "completed").limit(1)
        sample = connection.execute(done).mappings().one()
        rows = [
            dict(
                sample,
                saga_id=f"many-{number:06}",
                type=("order", "trip", "transfer")[number % 3],
                updated=sample["updated"] - HOUR - number * 0.01,
            )
            for number in range(MANY)
        ]
        connection.execute(sa.insert(STATUS), rows)
    engine.dispose()
    return url


def test_a_page_reads_no_more_because_there_are_many(
    log: str, record_property: Callable[[str, object], None]
) -> None:
    with (
        watched() as work,
        serving(log) as site,
        httpx.Client(base_url=site.url, timeout=20) as client,
    ):
        client.get("/sagas")  # it gets to know the definitions, once
        for path in PAGES:
            work.taken()
            began = time.perf_counter()
            answer = client.get(path, timeout=20)
            took = time.perf_counter() - began
            statements, steps = work.taken()
            told = f"{path}: {statements} statements, {steps:,} steps, {took * 1000:.0f} ms"
            record_property("told", told)
            assert answer.status_code == 200, path
            assert statements <= MAX_STATEMENTS, told
            assert steps <= MAX_STEPS, told


def test_one_can_leaf_through_all_of_them(log: str) -> None:
    with serving(log) as site, httpx.Client(base_url=site.url, timeout=20) as client:
        listed = "/api/v1/sagas?limit=1000&search=many-0000"
        wanted = {item["saga_id"] for item in client.get(listed).json()["items"]}
        assert len(wanted) == 100
        found: list[str] = []
        path = "/sagas?q=many-0000"
        while path:
            page = client.get(path).text
            found += [part.split('"')[0] for part in page.split('id="row-')[1:]]
            _, _, rest = page.partition('rel="next" href="')
            path = rest.split('"')[0].replace("&amp;", "&")
        assert len(found) == len(set(found)), "none stands on two pages"
        assert set(found) == wanted


def test_what_goes_through_every_saga_is_asked_seldom(log: str) -> None:
    """Where nobody keeps the projection that counts them."""
    engine = make_engine(log)
    with engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM es_health_totals"))
    engine.dispose()
    with (
        watched() as work,
        serving(log) as site,
        httpx.Client(base_url=site.url, timeout=20) as client,
    ):
        began = time.monotonic()
        for _ in range(20):
            assert client.get("/", timeout=20).status_code == 200
        took = time.monotonic() - began
        counted = sum(COUNTING in statement for statement in work.statements)
        assert 1 <= counted < 5 + 5 * took
