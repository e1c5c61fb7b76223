"""What people and dashboards ask: where a saga stands, what waits, what goes wrong, on what."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from es_saga import NotFound
from es_saga.adapters import definitions as known_definitions
from es_saga.adapters import migrate
from es_saga.adapters.memory import MemoryTransport
from es_saga.adapters.store import connect
from es_saga.core.messages import Direction
from es_saga.core.state import SagaStatus
from es_saga.database import make_engine
from es_saga.engine.requests import VerbRequest
from es_saga.projections import incidents
from es_saga.projections.audit import AuditView
from es_saga.projections.ledger import Done, Undo
from es_saga.projections.listing import Cursor
from es_saga.projections.queries import Queries
from es_saga.projections.status import STATUS, StatusView
from es_saga.projections.view import View
from tests.engine.errand import Errand, errand, world
from tests.engine.test_monitor import frail, stubborn
from tests.projections.test_lists import a_row

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'log.db'}"
    found: str = request.getfixturevalue("postgres_url")
    return found


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    found = make_engine(url)
    migrate.upgrade(found)
    yield found
    found.dispose()


def views() -> list[View]:
    return [StatusView(), AuditView()]


def fill(engine: sa.Engine, *rows: dict[str, object]) -> None:
    with engine.begin() as connection:
        connection.execute(sa.insert(STATUS), list(rows))


@pytest.mark.requirement("R055", "R077", "R083")
async def test_the_standing_of_a_saga_tells_what_is_done_undone_owed_and_by_whom(
    url: str, engine: sa.Engine
) -> None:
    """From the failing undo, over the human who waives it, to the end."""
    known_definitions.register(engine, [frail.definition])
    store, transport = connect(url, views=views()), MemoryTransport()
    queries = Queries(engine)
    async with world(store, transport, script=stubborn, definitions=[frail.definition]) as w:
        await w.manager.begin(frail, Errand(thing="lamp"), saga_id="f1")
        await w.until("f1", lambda state: state.status is SagaStatus.STUCK)
        stuck = queries.standing("f1", now=queries.status("f1").created + 7)
        waive = VerbRequest(verb="skip", step="fetch", actor="ada", reason="they keep it")
        await w.manager.operate("f1", waive)
        await w.closed("f1")
    await transport.close()
    await store.close()

    assert stuck.age == pytest.approx(7)
    assert stuck.saga.backward
    assert stuck.remaining == ("fetch",)
    assert stuck.ledger is not None
    [entry] = stuck.ledger
    assert (entry.step, entry.command, entry.done) == ("fetch", "PutBack", Done.DONE)
    assert (entry.undo, entry.attempt, entry.why, entry.by) == (Undo.FAILED, 1, "No", None)

    ended = queries.standing("f1", now=9e9)
    assert ended.saga.status == "compensated-with-exceptions"
    assert ended.age == ended.saga.updated - ended.saga.created
    assert ended.remaining == ()
    assert ended.ledger is not None
    assert [(entry.undo, entry.by) for entry in ended.ledger] == [(Undo.WAIVED, "ada")]


async def test_without_its_definition_a_saga_is_shown_without_ledger(
    url: str, engine: sa.Engine
) -> None:
    fill(engine, a_row(1))
    standing = Queries(engine).standing("order-1")
    assert (standing.remaining, standing.ledger) == (None, None)


async def test_definitions_are_known_without_their_code_and_how_many_sagas_run_on_them(
    url: str, engine: sa.Engine
) -> None:
    known_definitions.register(engine, [errand.definition, frail.definition])
    fill(
        engine,
        a_row(1, type="errand", closed=None, status="running"),
        a_row(2, type="errand", closed=None, status="stuck"),
        a_row(3, type="errand"),
    )
    queries = Queries(engine)
    assert queries.types() == ["errand", "frail"]
    assert [(one.type, one.version, one.open) for one in queries.definitions()] == [
        ("errand", 1, 2),
        ("frail", 1, 0),
    ]
    one = queries.definition("frail", 1)
    assert one.fingerprint == frail.definition.fingerprint
    assert one.shape == frail.definition.shape
    assert one.first_seen > 0
    for which in (("frail", 2), ("nothing", 1)):
        with pytest.raises(NotFound, match="knows no version"):
            queries.definition(*which)


def waiting(number: int, **changes: object) -> dict[str, object]:
    """A saga whose step `ship` is in flight."""
    steps = '{"ship": {"status": "started", "attempt": 2, "started": 3.0, "due": 8.0}}'
    plain = {"status": "running", "current": "ship", "steps": steps, "closed": None}
    return a_row(number, **{**plain, **changes})


async def test_pending_work_is_told_saga_by_saga_those_first_that_wait_longest(
    engine: sa.Engine,
) -> None:
    undoing = (
        '{"pay": {"status": "succeeded", "attempt": 1, "started": 1.0, "undo":'
        ' {"status": "backoff", "attempt": 4, "started": 2.0, "due": 9.0, "error": "Busy"}},'
        ' "ship": {"status": "started", "attempt": 1, "started": 2.5, "due": 7.0}}'
    )
    fill(
        engine,
        waiting(3),
        waiting(1),
        waiting(2, status="compensating", current="pay,ship", steps=undoing, backward=True),
        waiting(4, status="stuck", current=""),
        waiting(5, type="trip"),
        a_row(6),
    )
    queries = Queries(engine)
    page = queries.pending(limit=2)
    assert [(one.saga_id, one.step, one.direction, one.in_flight) for one in page.rows] == [
        ("order-1", "ship", Direction.DO, True),
        ("order-2", "pay", Direction.UNDO, False),
        ("order-2", "ship", Direction.DO, True),
    ]
    second = page.rows[1]
    assert (second.attempt, second.since, second.due, second.error) == (4, 2.0, 9.0, "Busy")
    assert page.next == Cursor(2.0, "order-2")
    rest = queries.pending(after=page.next)
    assert [one.saga_id for one in rest.rows] == ["order-3", "order-5"]
    assert rest.next is None
    assert [one.saga_id for one in queries.pending(saga_type="trip").rows] == ["order-5"]
    assert [one.saga_id for one in queries.pending(step="pay").rows] == ["order-2"]

    loads, whole = queries.load()
    assert whole
    assert [(one.type, one.step, one.backward, one.sagas) for one in loads] == [
        ("order", "ship", False, 2),
        ("order", "pay", True, 1),
        ("order", "ship", True, 1),
        ("trip", "ship", False, 1),
    ]
    assert loads[0].progressed == 1.0


async def test_failures_that_are_alike_are_one_incident(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failed(number: int, reason: str, **changes: object) -> dict[str, object]:
        plain = {"status": "compensated", "reason": reason, "reason_step": "ship"}
        return a_row(number, **{**plain, **changes})

    fill(
        engine,
        *(failed(number, f"no parcel 'p-{number}' after {number} tries") for number in range(1, 9)),
        failed(9, "no parcel 'x' after 1 tries", status="stuck", closed=None, reason_step="ship-7"),
        failed(10, "no parcel 'x' after 1 tries", reason_step="pay"),
        failed(11, "CardDeclined", type="trip"),
        a_row(12),
    )
    queries = Queries(engine)
    found = queries.incidents(since=0.0)
    assert found.looked_back_to is None
    assert [(one.type, one.step, one.cause, one.count) for one in found.rows] == [
        ("trip", "ship", "CardDeclined", 1),
        ("order", "pay", "no parcel … after … tries", 1),
        ("order", "ship", "no parcel … after … tries", 9),
    ]
    many = found.rows[2]
    assert (many.first, many.last, many.open, many.stuck) == (1.0, 9.0, 1, 1)
    assert many.reason == "no parcel 'x' after 1 tries"
    assert many.examples == ("order-9", "order-8", "order-7", "order-6", "order-5")
    assert [one.type for one in queries.incidents(since=0.0, saga_type="trip").rows] == ["trip"]
    assert queries.incidents(since=12.0).rows == ()

    monkeypatch.setattr(incidents, "MAX_FAILURES", 3)
    some = queries.incidents(since=0.0)
    assert (sum(one.count for one in some.rows), some.looked_back_to) == (3, 9.0)
