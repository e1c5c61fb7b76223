"""The order board says of every order what the log says of its saga."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import sqlalchemy as sa

from domain.activities import app as activities
from domain.activities import course
from domain.activities.contracts import RunCourse
from domain.orders import app, collect, counter, order
from domain.orders.contracts import PlaceOrder
from es_saga import App
from es_saga.core.aggregate import SagaState
from es_saga.core.messages import part_of
from es_saga.database import make_engine
from es_saga.engine.ports import Recorded
from es_saga.projections.view import Batch, View
from projections.order_board import StateTotal, board, order_board, totals
from tests.domain.driver import Mishap, Run, Trouble, World

pytestmark = pytest.mark.anyio

AN_ORDER = PlaceOrder(
    order_id="7", customer="ada", sku="teapot", quantity=2, pence=1_800, card="visa", town="York"
)


def recorded(run: Run) -> list[Recorded]:
    """A saga's events as they would stand in the log."""
    return [
        Recorded(part_of(run.saga_id), n, run.saga_id, n, event, event.model_dump_json().encode())
        for n, event in enumerate(run.events, start=1)
    ]


def show(engine: sa.Engine, run: Run, *, of: int | None = None, batch: int = 1_000) -> None:
    """Tell the board of the first `of` events, `batch` in a transaction."""
    events = recorded(run)[:of]
    before: Mapping[str, SagaState] = {}
    for first in range(0, len(events), batch):
        told = Batch.following(events[first : first + batch], before)
        with engine.begin() as connection:
            board.apply(connection, told)
        before = told.states


def rows(engine: sa.Engine) -> list[sa.Row[tuple[object, ...]]]:
    with engine.connect() as connection:
        return list(connection.execute(sa.select(order_board).order_by("saga_id")).all())


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    if request.param == "sqlite":
        engine = make_engine(f"sqlite:///{tmp_path / 'views.db'}")
    else:
        engine = make_engine(request.getfixturevalue("postgres_url"))
    board.metadata.create_all(engine)
    yield engine
    engine.dispose()


def test_the_board_is_a_view() -> None:
    view: View = board
    assert view.name == "order_board"


def test_every_column_says_what_it_means() -> None:
    assert all(column.comment for column in order_board.columns)


async def test_an_order_that_is_done_stands_on_the_board(engine: sa.Engine, tmp_path: Path) -> None:
    async with World(app, tmp_path) as world:
        run = await world.run(order, AN_ORDER)
    show(engine, run)
    [row] = rows(engine)
    assert run.state is not None
    assert dict(zip(order_board.columns.keys(), row, strict=True)) == {
        "saga_id": run.saga_id,
        "order_id": "7",
        "flow": "order",
        "customer": "ada",
        "sku": "teapot",
        "quantity": 2,
        "pence": 1_800,
        "state": "done",
        "last_step": "ship",
        "refused_at": None,
        "refused_why": None,
        "placed_at": run.state.origin.started,
        "updated_at": run.state.updated,
        "closed_at": run.state.closed,
        "version": len(run.events),
    }


@pytest.mark.requirement("R061")
async def test_a_refused_order_says_where_and_why(engine: sa.Engine, tmp_path: Path) -> None:
    async with World(app, tmp_path) as world:
        run = await world.run(order, AN_ORDER.model_copy(update={"town": "Atlantis"}))
    show(engine, run)
    [row] = rows(engine)
    assert (row.state, row.refused_at, row.refused_why) == ("called off", "ship", "AddressUnknown")
    assert row.last_step == "create"  # whose undo came last


async def test_a_saga_that_is_stuck_needs_attention(engine: sa.Engine, tmp_path: Path) -> None:
    async with World(app, tmp_path) as world:
        run = await world.run(counter, AN_ORDER, {"charge/do": Trouble(Mishap.LOST_REPLY)})
    show(engine, run)
    [row] = rows(engine)
    assert (row.state, row.closed_at) == ("needs attention", None)


async def test_an_order_is_seen_under_way(engine: sa.Engine, tmp_path: Path) -> None:
    async with World(app, tmp_path) as world:
        run = await world.run(order, AN_ORDER.model_copy(update={"town": "Atlantis"}))
    seen: list[tuple[object, object]] = []
    for count in range(1, len(run.events) + 1):
        show(engine, run, of=count)
        [row] = rows(engine)
        if not seen or seen[-1] != (row.state, row.last_step):
            seen.append((row.state, row.last_step))
    assert seen == [
        ("in progress", None),
        ("in progress", "create"),
        ("in progress", "charge"),
        ("in progress", "reserve"),
        ("in progress", "ship"),
        ("being undone", "ship"),
        ("being undone", "reserve"),
        ("being undone", "charge"),
        ("being undone", "create"),
        ("called off", "create"),
    ]


@pytest.mark.parametrize("batch", [1, 3])
async def test_the_size_of_the_batches_makes_no_difference(
    engine: sa.Engine, tmp_path: Path, batch: int
) -> None:
    async with World(app, tmp_path) as world:
        run = await world.run(order, AN_ORDER.model_copy(update={"sku": "unicorn"}))
    show(engine, run)
    at_once = rows(engine)
    with engine.begin() as connection:
        connection.execute(sa.delete(order_board))
    show(engine, run, batch=batch)
    assert rows(engine) == at_once


async def test_a_history_that_comes_again_changes_nothing(
    engine: sa.Engine, tmp_path: Path
) -> None:
    async with World(app, tmp_path) as world:
        run = await world.run(order, AN_ORDER)
    show(engine, run)
    before = rows(engine)
    show(engine, run)
    assert rows(engine) == before


async def test_the_totals_are_those_of_the_orders_in_each_state(
    engine: sa.Engine, tmp_path: Path
) -> None:
    with engine.connect() as connection:
        assert totals(connection) == {}
    changes = [{}, {}, {"sku": "unicorn"}]
    async with World(app, tmp_path) as world:
        for number, change in enumerate(changes):
            numbered = AN_ORDER.model_copy(update={"order_id": str(number), **change})
            show(engine, await world.run(collect, numbered))
    with engine.connect() as connection:
        assert totals(connection) == {
            "done": StateTotal(orders=2, pence=3_600),
            "called off": StateTotal(orders=1, pence=1_800),
        }


async def test_sagas_that_are_no_orders_are_passed_over(engine: sa.Engine, tmp_path: Path) -> None:
    async with World(activities, tmp_path) as world:
        run = await world.run(course, RunCourse(course_id="7"))
    show(engine, run)
    assert rows(engine) == []


async def test_a_saga_of_another_name_with_the_same_input_is_passed_over(
    engine: sa.Engine, tmp_path: Path
) -> None:
    async with World(app, tmp_path) as world:
        run = world.start(order, AN_ORDER)
    run.events[0] = run.events[0].model_copy(update={"saga_type": "elsewhere"})
    show(engine, run)
    assert rows(engine) == []


async def test_a_saga_of_the_same_name_with_another_input_is_passed_over(
    engine: sa.Engine, tmp_path: Path
) -> None:
    async with World(App("other", sagas=[course]), tmp_path) as world:
        run = world.start(course, RunCourse(course_id="7"))
    run.events[0] = run.events[0].model_copy(update={"saga_type": "order"})
    show(engine, run)
    assert rows(engine) == []
