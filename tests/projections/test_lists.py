"""Lists of sagas: every mix of filters, a page at a time, never more work than a page is worth."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from es_saga import InvalidInput
from es_saga.adapters import migrate
from es_saga.core.messages import as_written
from es_saga.database import make_engine
from es_saga.projections import listing
from es_saga.projections.listing import OPEN, STATUSES, Cursor, SagaFilter
from es_saga.projections.queries import Queries, SagaRow
from es_saga.projections.status import STATUS

TYPES = ("order", "trip")
STEPS = ("ship", "ship_again", "pay")
STANDING = (*STEPS, "ship-3", "pay.2", "pay.2-14")
"""Steps in progress: for items of a list and on another way, too."""
REASONS = (None, "CardDeclined", "card_declined 100%", "timed out")

SLOW = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]

Row = dict[str, Any]


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'log.db'}"
    else:
        url = request.getfixturevalue("postgres_url")
    found = make_engine(url)
    migrate.upgrade(found)
    yield found
    found.dispose()


def a_row(number: int, **changes: Any) -> Row:
    plain: Row = {
        "saga_id": f"order-{number}",
        "part": 0,
        "type": "order",
        "definition": 1,
        "fingerprint": "f",
        "business_id": None,
        "status": "completed",
        "current": "",
        "steps": "{}",
        "version": 3,
        "reason": None,
        "reason_step": None,
        "payload": "{}",
        "created": float(number),
        "updated": float(number),
        "closed": float(number),
        "next_due": None,
        "deadline": None,
        "exceptions": None,
        "backward": False,
        "progressed": float(number),
    }
    return plain | changes


@st.composite
def tables(draw: st.DrawFn) -> list[Row]:
    """Sagas of every kind; many have changed at the same time."""
    rows: list[Row] = []
    for number in range(draw(st.integers(0, 40))):
        status = draw(st.sampled_from(STATUSES))
        open_ = status in OPEN
        updated = draw(st.integers(1, 6))
        current = draw(st.lists(st.sampled_from(STANDING), unique=True)) if open_ else []
        rows.append(
            a_row(
                number,
                saga_id=f"{draw(st.sampled_from(['a', 'ab', 'B', 'z_']))}-{number}",
                type=draw(st.sampled_from(TYPES)),
                status=status,
                current=",".join(current),
                business_id=draw(st.sampled_from([None, "a-1", "ab", "é", f"k{number}"])),
                reason=None if status == "completed" else draw(st.sampled_from(REASONS)),
                reason_step=draw(st.sampled_from([None, *STANDING])),
                updated=float(updated),
                created=float(draw(st.integers(1, updated))),
                closed=None if open_ else float(updated),
            )
        )
    return rows


_TIMES = st.none() | st.integers(0, 7).map(float)

FILTERS = st.builds(
    SagaFilter,
    status=st.lists(st.sampled_from(STATUSES), unique=True, max_size=3).map(tuple),
    type=st.none() | st.sampled_from([*TYPES, "none"]),
    business_id=st.none() | st.none() | st.sampled_from(["a-1", "é", "k3"]),
    step=st.none() | st.none() | st.sampled_from(STEPS),
    reason=st.none() | st.none() | st.sampled_from(["declined", "CARD_", "d 1", "%", "_", "/"]),
    since=_TIMES,
    until=_TIMES,
    created_since=_TIMES,
    created_until=_TIMES,
    search=st.none() | st.none() | st.sampled_from(["a", "ab", "a-1", "A", "é", "z_", "z%"]),
)


def fits(row: Row, wanted: SagaFilter) -> bool:
    """What the filter says, in plain words."""
    ids = (row["saga_id"], row["business_id"] or "")
    current = [as_written(step) for step in row["current"].split(",")]
    at_step = wanted.step in current or (
        row["status"] == "stuck" and wanted.step == as_written(row["reason_step"] or "")
    )
    return all(
        (
            not wanted.status or row["status"] in wanted.status,
            wanted.type in (None, row["type"]),
            wanted.business_id in (None, row["business_id"]),
            wanted.step is None or (row["status"] in OPEN and at_step),
            wanted.reason is None or wanted.reason.lower() in (row["reason"] or "").lower(),
            wanted.since is None or row["updated"] >= wanted.since,
            wanted.until is None or row["updated"] < wanted.until,
            wanted.created_since is None or row["created"] >= wanted.created_since,
            wanted.created_until is None or row["created"] < wanted.created_until,
            wanted.search is None or any(one.startswith(wanted.search) for one in ids),
        )
    )


def fill(engine: sa.Engine, rows: list[Row]) -> None:
    with engine.begin() as connection:
        connection.execute(sa.delete(STATUS))
        if rows:
            connection.execute(sa.insert(STATUS), rows)


@pytest.mark.requirement("R079")
@pytest.mark.parametrize("looked", [7, 2_000])
def test_the_pages_of_a_list_are_all_that_fits_in_order_and_nothing_twice(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch, looked: int
) -> None:
    """However few sagas are looked through for one page, and however many sagas a prefix leaves."""
    monkeypatch.setattr(listing, "MAX_LOOKED", looked)
    monkeypatch.setattr(listing, "_FEW", looked)
    queries = Queries(engine)

    @settings(max_examples=120, deadline=None, suppress_health_check=SLOW)
    @given(tables(), FILTERS, st.integers(1, 9))
    def holds(rows: list[Row], wanted: SagaFilter, limit: int) -> None:
        fill(engine, rows)
        right = sorted(
            ((row["updated"], row["saga_id"]) for row in rows if fits(row, wanted)), reverse=True
        )
        found: list[SagaRow] = []
        page = queries.page(wanted, limit=limit)
        for _ in range(200):
            assert len(page.rows) <= limit
            found += page.rows
            if page.next is None:
                break
            assert len(page.rows) == limit or page.looked_back_to is not None
            page = queries.page(wanted, after=Cursor.read(page.next.written()), limit=limit)
        assert [(row.updated, row.saga_id) for row in found] == right
        assert queries.sagas(wanted, limit=1_000) == found
        count = queries.count(wanted)
        assert count.number == len(right) if not count.more else count.number <= len(right)

    holds()


def test_a_count_stops_at_a_thousand_and_says_so(engine: sa.Engine) -> None:
    fill(engine, [a_row(number) for number in range(1_005)])
    queries = Queries(engine)
    assert str(queries.count()) == "1,000+"
    assert str(queries.count(SagaFilter(until=10.0))) == "10"
    assert queries.count(SagaFilter(status=("stuck",))) == (0, False)


BAD_FILTERS: dict[str, Callable[[], SagaFilter]] = {
    "an unknown status": lambda: SagaFilter(status=("sleeping",)),
    "an empty text": lambda: SagaFilter(search=""),
    "a text that is too long": lambda: SagaFilter(reason="x" * 201),
    "a null character": lambda: SagaFilter(type="a\0b"),
    "half a character": lambda: SagaFilter(step="\ud800"),
    "no time": lambda: SagaFilter(since=float("nan")),
}


@pytest.mark.parametrize("what", BAD_FILTERS)
def test_a_bad_filter_is_refused_with_the_field_that_is_wrong(what: str) -> None:
    with pytest.raises(InvalidInput):
        BAD_FILTERS[what]()


@pytest.mark.parametrize("text", ["", "1", "x~y", "nan~a", "1e999~a", "1.0~a b", "--1~a"])
def test_a_cursor_that_nobody_was_given_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="place in the list"):
        Cursor.read(text)


def test_a_page_is_bounded(engine: sa.Engine) -> None:
    for limit in (0, 1_001):
        with pytest.raises(InvalidInput, match="1 to 1000"):
            Queries(engine).page(limit=limit)
        with pytest.raises(InvalidInput, match="1 to 1000"):
            Queries(engine).pending(limit=limit)


# ── plans ────────────────────────────────────────────────────────────────────────────────────────

MANY = 100_000

ASKED = {
    "all": SagaFilter(),
    "one status": SagaFilter(status=("stuck",)),
    "several statuses": SagaFilter(status=("stuck", "completed")),
    "type": SagaFilter(type="trip"),
    "type and status": SagaFilter(type="trip", status=("completed",)),
    "business id": SagaFilter(business_id="77777"),
    "step": SagaFilter(step="ship"),
    "reason": SagaFilter(reason="declined"),
    "since": SagaFilter(since=99_000.0),
    "until": SagaFilter(until=50_000.0),
    "created": SagaFilter(created_since=50_000.0, created_until=50_100.0),
    "few by prefix": SagaFilter(search="order-7777"),
    "many by prefix": SagaFilter(search="order-"),
    "everything": SagaFilter(
        status=("stuck",), type="trip", reason="x", since=1.0, until=9e9, created_until=9e9
    ),
}


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def crowded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[sa.Engine]:
    """A log with very many sagas."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('crowded') / 'log.db'}"
    else:
        url = request.getfixturevalue("postgres_server")
    engine = make_engine(url)
    migrate.upgrade(engine)
    numbers = (
        f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY})"
        if request.param == "sqlite"
        else f"WITH n(i) AS (SELECT generate_series(1, {MANY}))"
    )
    with engine.begin() as connection:
        crowd = (
            "INSERT INTO es_status (saga_id, part, type, definition, fingerprint, business_id,"
            " status, current, steps, version, reason, payload, created, updated, closed)"
            f" {numbers} SELECT 'order-' || i, i % 16,"
            " CASE WHEN i % 10000 = 0 THEN 'trip' ELSE 'order' END, 1, 'f', CAST(i AS text),"
            " CASE WHEN i % 1000 = 0 THEN 'stuck' WHEN i % 100 = 0 THEN 'running'"
            " WHEN i % 10 = 0 THEN 'compensated' ELSE 'completed' END,"
            " CASE WHEN i % 100 = 0 THEN 'ship' ELSE '' END, '{}', 3,"
            " CASE WHEN i % 10 = 0 AND i % 100 <> 0 THEN 'CardDeclined' END, '{}', i, i,"
            " CASE WHEN i % 100 <> 0 THEN i END FROM n"
        )
        connection.execute(sa.text(crowd))
        if request.param == "postgres":
            connection.exec_driver_sql("ANALYZE es_status")
    yield engine
    if request.param == "postgres":
        with engine.begin() as connection:
            for table in sa.inspect(engine).get_table_names():
                connection.exec_driver_sql(f"DROP TABLE {table}")
    engine.dispose()


@pytest.mark.parametrize("what", ASKED)
def test_no_page_and_no_count_reads_the_whole_table(crowded: sa.Engine, what: str) -> None:
    """At a hundred thousand sagas each statement goes by an index, and reads little of it."""
    plans: list[str] = []

    def explain(connection: sa.Connection, _: Any, statement: str, bound: Any, *_more: Any) -> None:
        if not statement.startswith("SELECT") or "es_status" not in statement:
            return
        lite = connection.dialect.name == "sqlite"
        driver: Any = connection.connection.driver_connection
        how = "EXPLAIN QUERY PLAN " if lite else "EXPLAIN (FORMAT JSON) "
        plans.append(json.dumps(driver.execute(how + statement, bound).fetchall()))

    queries = Queries(crowded)
    event.listen(crowded, "before_cursor_execute", explain)
    try:
        page = queries.page(ASKED[what])
        if page.next is not None:
            queries.page(ASKED[what], after=page.next)
        queries.count(ASKED[what])
    finally:
        event.remove(crowded, "before_cursor_execute", explain)
    assert plans
    for plan in plans:
        assert "SCAN es_status" not in plan
        assert "Seq Scan" not in plan
