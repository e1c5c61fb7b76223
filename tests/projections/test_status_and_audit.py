"""Status and audit: as new as the log, and the same when they are built anew."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from es_saga import InvalidInput, NotFound
from es_saga.adapters.catch_up import CatchUp
from es_saga.adapters.clock import SystemClock
from es_saga.adapters.memory import MemoryTransport
from es_saga.adapters.store import connect
from es_saga.adapters.tables import TRACKING
from es_saga.database import make_engine
from es_saga.engine.projector import Projector
from es_saga.projections.audit import AUDIT, AuditView
from es_saga.projections.queries import Queries, SagaFilter
from es_saga.projections.status import STATUS, StatusView
from es_saga.projections.view import Batch, View
from tests.engine.errand import Errand, errand, refusing, willing, world
from tests.projections.tampering import unprotect

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'log.db'}"
    else:
        yield request.getfixturevalue("postgres_url")


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    found = make_engine(url)
    yield found
    found.dispose()


def views() -> list[View]:
    return [StatusView(), AuditView()]


async def play(url: str, things: int = 8) -> list[str]:
    """Errands of every kind, all of them closed but one that is stuck."""
    store, transport = connect(url, views=views(), migrate=True), MemoryTransport()
    ids: list[str] = []
    async with world(store, transport) as w:
        for number in range(things):
            w.town.script = refusing("Bring") if number % 2 else willing
            ids.append((await w.run(f"thing {number}")).saga_id)
        stuck, _ = await w.manager.begin(errand, Errand(thing="poison"), key="bad")
        ids.append(stuck.saga_id)
    await transport.close()
    await store.close()
    return ids


@pytest.mark.requirement("R024", "R055", "R056", "R057", "R058", "R061", "R077")
async def test_the_status_says_where_a_saga_stands_and_why(url: str, engine: sa.Engine) -> None:
    ids = await play(url)
    queries = Queries(engine)
    row = queries.status(ids[1])
    assert (row.type, row.status, row.business_id) == ("errand", "compensated", None)
    assert (row.reason, row.reason_step) == ("No", "bring")
    assert row.payload == {"thing": "thing 1", "pence": 1}
    assert row.current == ()
    assert row.version == 13
    assert row.created <= row.updated == row.closed
    assert row.next_due is None
    assert list(row.steps) == ["fetch", "pay", "bring"]
    assert row.steps["pay"]["status"] == "succeeded"
    assert row.steps["pay"]["reply"] == {"receipt": "r1"}
    assert row.steps["pay"]["undo"]["status"] == "succeeded"
    assert row.steps["bring"]["status"] == "refused"
    assert row.steps["fetch"]["started"] <= row.steps["fetch"]["ended"]
    stuck = queries.status("errand-bad")
    assert (stuck.status, stuck.business_id) == ("stuck", "bad")
    assert stuck.reason is not None
    assert "nobody fetches poison" in stuck.reason


async def test_lists_filter_page_and_count(url: str, engine: sa.Engine) -> None:
    ids = await play(url)
    queries = Queries(engine)
    assert queries.counts() == {"completed": 4, "compensated": 4, "stuck": 1}
    assert queries.counts_by_type() == {"errand": queries.counts()}
    completed = queries.page(SagaFilter(status=("completed",)))
    assert {row.saga_id for row in completed.rows} == set(ids[:8:2])
    assert [row.saga_id for row in queries.sagas(SagaFilter(business_id="bad"))] == ["errand-bad"]
    assert queries.sagas(SagaFilter(type="glance")) == []
    newest = queries.page(limit=5)
    older = queries.page(after=newest.next, limit=5)
    assert [row.saga_id for row in (*newest.rows, *older.rows)] == ids[::-1]
    assert older.next is None
    with pytest.raises(NotFound):
        queries.status("nobody")
    with pytest.raises(NotFound):
        queries.standing("nobody")
    with pytest.raises(NotFound):
        queries.history("nobody")
    with pytest.raises(InvalidInput):
        queries.status("no such id!")


@pytest.mark.law("L54")
async def test_the_audit_has_one_row_an_event_with_its_cause(url: str, engine: sa.Engine) -> None:
    ids = await play(url)
    rows = Queries(engine).history(ids[1])
    assert [row.version for row in rows] == list(range(1, 14))
    assert [row.kind for row in rows][-1] == "SagaCompensated"
    refused = next(row for row in rows if row.kind == "StepRefused")
    assert (refused.step, refused.cause) == ("bring", f"{ids[1]}/bring/do/1/r")
    assert refused.payload["refusal"] == {"why": "no"}
    later = Queries(engine).history(ids[1], after=11)
    assert [row.version for row in later] == [12, 13]


@pytest.mark.law("L54")
async def test_views_built_anew_from_the_log_equal_the_live_ones(
    url: str, engine: sa.Engine
) -> None:
    await play(url)
    live = dump(engine)
    assert len(live["es_status"]) == 9
    unprotect(engine)
    with engine.begin() as connection:
        for table in (STATUS, AUDIT):
            connection.execute(sa.delete(table))
        connection.execute(sa.delete(TRACKING).where(TRACKING.c.name.in_(["status", "audit"])))
    projector = Projector(views(), CatchUp(engine), SystemClock())
    for view in views():
        taken = await projector.catch_up(view)
        assert taken == len(live["es_audit"])
        assert await projector.catch_up(view) == 0
    assert dump(engine) == live


def dump(engine: sa.Engine) -> dict[str, list[tuple[object, ...]]]:
    """Every row of both views, in order of the key."""
    with engine.connect() as connection:
        return {
            table.name: [
                tuple(row)
                for row in connection.execute(sa.select(table).order_by(*table.primary_key))
            ]
            for table in (STATUS, AUDIT)
        }


@pytest.mark.requirement("R076", "R077", "R078")
async def test_waiting_ends_when_the_saga_is_closed_or_needs_a_human(
    url: str, engine: sa.Engine
) -> None:
    ids = await play(url, things=2)
    queries = Queries(engine)
    assert (await queries.wait(ids[0], 5)).status == "completed"
    assert (await queries.wait("errand-bad", 5)).status == "stuck"
    with pytest.raises(NotFound):
        await queries.wait("nobody", 0.1)


class Broken(StatusView):
    """A view that cannot take anything in."""

    name = "broken"

    def apply(self, connection: sa.Connection, batch: Batch) -> None:
        raise RuntimeError("out of ink")


async def test_a_failing_view_stands_still_alone_and_says_why(url: str, engine: sa.Engine) -> None:
    await play(url, things=2)
    follower = AuditView("es_audit_copy")
    follower.name = "copy"
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE es_audit_copy AS SELECT * FROM es_audit WHERE 1=0")
    projector = Projector([Broken(), follower], CatchUp(engine), SystemClock())
    await projector.start()
    async with asyncio.timeout(10):
        while projector.doing["copy"].events < 20 or not projector.doing["broken"].halt:
            await asyncio.sleep(0.02)
    await projector.stop()
    halt = projector.doing["broken"].halt
    assert halt is not None
    assert halt.error == "RuntimeError: out of ink"
    assert projector.doing["copy"].halt is None
    with engine.connect() as connection:
        copied = connection.exec_driver_sql("SELECT count(*) FROM es_audit_copy").scalar()
        there = connection.exec_driver_sql("SELECT count(*) FROM es_audit").scalar()
    assert copied == there
