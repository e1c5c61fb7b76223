"""A projection's table holds what its function says, however its events were batched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import es_saga.core.events
from es_saga import (
    Add,
    Change,
    Delete,
    InvalidInput,
    NotFound,
    Put,
    Recorded,
    SagaState,
    View,
    events,
    projection,
)
from es_saga.core.aggregate import start
from es_saga.core.events import SagaStarted, SignalReceived
from es_saga.database import make_engine
from es_saga.projections.view import Batch

metadata = sa.MetaData()

tiles = sa.Table(
    "tiles",
    metadata,
    sa.Column("row", sa.Integer, primary_key=True),
    sa.Column("column", sa.Text, primary_key=True),
    sa.Column("colour", sa.Text),
    sa.Column("weight", sa.BigInteger),
    sa.Column("chips", sa.BigInteger, nullable=False, server_default="0"),
)
named = sa.Table(
    "named",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("place", sa.Text, nullable=False),
    sa.Column("visits", sa.Integer),
)

STARTED = SagaStarted(at=1.0, saga_type="mosaic", definition=1, fingerprint="f", data={})
SIGNAL = SignalReceived(at=2.0, name="news", data={})


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    if request.param == "sqlite":
        engine = make_engine(f"sqlite:///{tmp_path / 'views.db'}")
    else:
        engine = make_engine(request.getfixturevalue("postgres_url"))
    metadata.create_all(engine)
    yield engine
    engine.dispose()


def story(length: int, saga_id: str = "m") -> list[Recorded]:
    """A saga of so many events that say nothing."""
    return [
        Recorded(0, n, saga_id, n, STARTED if n == 1 else SIGNAL, b"") for n in range(1, length + 1)
    ]


def tell(engine: sa.Engine, view: View, told: Sequence[Recorded], cuts: Sequence[int] = ()) -> None:
    """Have a view take events in, in batches that end at the cuts."""
    before: Mapping[str, SagaState] = {}
    ends = [*sorted(cuts), len(told)]
    for first, end in zip([0, *ends[:-1]], ends, strict=True):
        batch = Batch.following(told[first:end], before)
        with engine.begin() as connection:
            view.apply(connection, batch)
        before = batch.states


def scripted(*each: Sequence[Change]) -> View:
    """A projection that makes these changes, event by event."""

    @projection(tiles, named)
    def view(recorded: Recorded, _saga: SagaState) -> Sequence[Change]:
        return each[recorded.version - 1]

    return view


def rows(engine: sa.Engine, table: sa.Table) -> list[tuple[object, ...]]:
    with engine.connect() as connection:
        found = connection.execute(sa.select(table).order_by(*table.primary_key))
        return [tuple(row) for row in found]


def after(engine: sa.Engine, *each: Sequence[Change]) -> list[tuple[object, ...]]:
    """The tiles after these changes, all in one batch."""
    tell(engine, scripted(*each), story(len(each)))
    return rows(engine, tiles)


def test_put_sets_the_named_columns_and_leaves_the_others(engine: sa.Engine) -> None:
    first = [Put(tiles, row=1, column="a", colour="red", weight=2)]
    assert after(engine, first) == [(1, "a", "red", 2, 0)]
    assert after(engine, [Put(tiles, row=1, column="a", colour="blue")]) == [(1, "a", "blue", 2, 0)]


def test_add_counts_what_is_not_there_as_nought(engine: sa.Engine) -> None:
    assert after(engine, [Add(tiles, row=1, column="a", weight=2)]) == [(1, "a", None, 2, 0)]
    more = [Add(tiles, row=1, column="a", weight=-5, chips=1)]
    assert after(engine, more) == [(1, "a", None, -3, 1)]


def test_what_is_deleted_begins_anew(engine: sa.Engine) -> None:
    put = [Put(tiles, row=1, column="a", colour="red", weight=2)]
    gone = [Delete(tiles, row=1, column="a")]
    assert after(engine, put, gone) == []
    assert after(engine, gone) == []
    assert after(engine, put, gone, [Add(tiles, row=1, column="a", weight=1)]) == [
        (1, "a", None, 1, 0)
    ]


def test_a_row_that_is_there_needs_no_more_than_what_changes(engine: sa.Engine) -> None:
    tell(engine, scripted([Put(named, name="ada", place="York")]), story(1))
    tell(engine, scripted([Add(named, name="ada", visits=2)]), story(1))
    assert rows(engine, named) == [("ada", "York", 2)]


def test_a_row_that_cannot_be_made_is_named_and_nothing_is_written(engine: sa.Engine) -> None:
    with pytest.raises(NotFound, match="no row name='bob', and none can be made without place"):
        tell(
            engine,
            scripted([Put(named, name="ada", place="York")], [Add(named, name="bob", visits=1)]),
            story(2),
        )
    assert rows(engine, named) == []


def test_only_sagas_of_the_named_types_are_told(engine: sa.Engine) -> None:
    @projection(tiles, of=["fresco"])
    def other(_: Recorded, _saga: SagaState) -> Iterator[Change]:
        yield Put(row=1, column="a")

    @projection(tiles, of=["mosaic"])
    def ours(_: Recorded, _saga: SagaState) -> Iterator[Change]:
        yield Put(row=1, column="a")

    tell(engine, other, story(2))
    assert rows(engine, tiles) == []
    tell(engine, ours, story(2))
    assert len(rows(engine, tiles)) == 1


def test_a_projection_can_be_asked_without_a_database() -> None:
    @projection(tiles)
    def view(recorded: Recorded, saga: SagaState) -> Iterator[Change]:
        """What it is for."""
        yield Put(row=saga.version, column=recorded.saga_id)

    assert list(view(story(1)[0], start("m", STARTED))) == [Put(row=1, column="m")]
    assert Put(row=1, column="m") != Add(row=1, column="m")
    assert Put(row=1, column="m") != Put(tiles, row=1, column="m")
    assert view.__doc__ == "What it is for."
    assert view.name == "tiles"
    assert list(view.metadata.tables) == ["tiles"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (Put(tiles, row=1), "does not say which row of tiles"),
        (Put(tiles, row=1, column="a", color="red"), "has no column 'color'"),
        (Put(row=1, column="a"), "is of no table of the projection: tiles, named"),
        (Delete(tiles, row=1, column="a", weight=1), "names more than the row"),
    ],
)
def test_a_change_that_does_not_fit_is_refused(
    engine: sa.Engine, change: Change, complaint: str
) -> None:
    with pytest.raises(InvalidInput, match=complaint):
        after(engine, [change])


def _key() -> sa.Column[int]:
    return sa.Column("a", sa.Integer, primary_key=True)


def _table(*columns: sa.Column[int]) -> sa.Table:
    return sa.Table("t", sa.MetaData(), *columns)


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        (_table(sa.Column("a", sa.Integer)), "has no primary key"),
        (
            _table(_key(), sa.Column("b", sa.Integer, default=1)),
            "default in Python for b",
        ),
        (
            _table(sa.Column("a", sa.Integer, sa.ForeignKey("u.a"), primary_key=True)),
            "depend on something else",
        ),
        (_table(sa.Column("a", sa.Integer, key="b", primary_key=True)), "odd name"),
    ],
)
def test_a_table_that_cannot_be_kept_up_is_refused_at_once(table: sa.Table, complaint: str) -> None:
    with pytest.raises(InvalidInput, match=complaint):
        projection(table)(lambda _recorded, _saga: [])


def test_a_default_other_than_nought_cannot_be_added_to(engine: sa.Engine) -> None:
    table = _table(_key(), sa.Column("b", sa.Integer, server_default="7"))
    view = projection(table)(lambda _recorded, _saga: [Add(a=1, b=1)])
    view.metadata.create_all(engine)
    with pytest.raises(InvalidInput, match="default other than 0"):
        tell(engine, view, story(1))


def test_every_kind_of_event_can_be_matched_on() -> None:
    assert {*es_saga.core.events.EVENTS, "OperatorEvent", "SagaEvent"} == set(events.__all__)
    assert all(getattr(events, name).__name__ == name for name in events.__all__)


def _change(kind: type[Change], row: int, values: dict[str, int]) -> Change:
    return kind(tiles, row=row, column="a", **({} if kind is Delete else values))


CHANGES = st.builds(
    _change,
    st.sampled_from([Put, Add, Add, Delete]),
    st.integers(0, 2),
    st.dictionaries(st.sampled_from(["weight", "chips"]), st.integers(-5, 5)),
)


@given(data=st.data(), each=st.lists(st.lists(CHANGES, max_size=3), min_size=1, max_size=12))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_how_events_are_batched_makes_no_difference(
    engine: sa.Engine, data: st.DataObject, each: list[list[Change]]
) -> None:
    found: list[object] = []
    cuts = data.draw(st.lists(st.integers(0, len(each)), max_size=4), label="cuts")
    for where in (range(len(each)), cuts):
        with engine.begin() as connection:
            connection.execute(sa.delete(tiles))
        tell(engine, scripted(*each), story(len(each)), where)
        found.append(rows(engine, tiles))
    assert found[0] == found[1]


def _only(states: Mapping[str, SagaState], wanted: Mapping[str, int]) -> dict[str, SagaState]:
    assert all(states[saga_id].version == version for saga_id, version in wanted.items())
    return {saga_id: states[saga_id] for saga_id in wanted}


@given(cuts=st.lists(st.integers(0, 8), max_size=4), length=st.integers(1, 8))
@settings(deadline=None)
def test_each_event_comes_with_its_saga_right_after_it(cuts: list[int], length: int) -> None:
    told = [one for pair in zip(story(length), story(length, "n"), strict=True) for one in pair]
    before: Mapping[str, SagaState] = {}
    seen: list[tuple[str, int]] = []
    ends = sorted({*(min(cut, len(told)) for cut in cuts), len(told)})
    for first, end in zip([0, *ends[:-1]], ends, strict=True):
        events_now = told[first:end]
        whole = Batch.following(events_now, before)
        lazy = Batch(events_now, whole.states, partial(_only, before))
        assert [state for _, state in lazy.each()] == [state for _, state in whole.each()]
        for recorded, state in lazy.each():
            seen.append((state.saga_id, state.version))
            assert state.version == recorded.version
        before = whole.states
    assert seen == [(one.saga_id, one.version) for one in told]
