"""Logs to read: recorded sagas side by side, written as the engine writes them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import count
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa
from hypothesis import strategies as st

from es_saga.adapters.store import connect
from es_saga.core.aggregate import evolve, start
from es_saga.core.events import SagaEvent, SagaStarted
from es_saga.core.messages import part_of
from es_saga.core.state import SagaState
from es_saga.engine.ports import Append
from es_saga.projections.view import View
from es_saga.testing.history import read_history

HISTORIES = Path(__file__).parents[1] / "histories"


class Told(NamedTuple):
    """Sagas by number, in the order in which they go on, so many events at a time."""

    sagas: Sequence[str]
    """Names of their recorded histories."""
    steps: Sequence[tuple[int, int]]
    """Which saga, and how many events of it."""

    telling: int
    """A number that no other one has, so that one log can hold many."""

    def id_of(self, number: int) -> str:
        return f"saga-{self.telling}-{number}"


_tellings = count(1)
NAMES = sorted(
    str(file.relative_to(HISTORIES).with_suffix("")) for file in HISTORIES.glob("*/*.jsonl")
)


@cache
def events_of(name: str) -> tuple[SagaEvent, ...]:
    """A recorded history."""
    return tuple(read_history(HISTORIES / f"{name}.jsonl").events)


@st.composite
def tellings(draw: st.DrawFn, *, most: int = 5) -> Told:
    """Some sagas, some of them not to their end, interleaved."""
    sagas = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=most))
    left = [len(events_of(name)) for name in sagas]
    steps: list[tuple[int, int]] = []
    for number, size in draw(
        st.lists(st.tuples(st.integers(0, len(sagas) - 1), st.integers(1, 6)), max_size=12)
    ):
        taken = min(size, left[number])
        left[number] -= taken
        if taken:
            steps.append((number, taken))
    return Told(sagas, steps, next(_tellings))


def appends(told: Told, *, with_before: bool = True) -> Iterator[Append]:
    """What the engine would append, in order."""
    states: dict[int, SagaState] = {}
    for number, size in told.steps:
        saga_id = told.id_of(number)
        before = states.get(number)
        version = before.version if before else 0
        events = events_of(told.sagas[number])[version : version + size]
        state = before
        for event in events:
            if state is None:
                assert isinstance(event, SagaStarted)
                state = start(saga_id, event)
            else:
                state = evolve(state, event)
        assert state is not None
        states[number] = state
        yield Append(saga_id, version, events, state, before if with_before else None)


def write(
    url: str, views: Sequence[View], *batches: Sequence[Append], migrate: bool = False
) -> None:
    """Append batches, each at once; the views are kept in step."""

    async def work() -> None:
        store = connect(url, views=views, migrate=migrate)
        try:
            for batch in batches:
                parts: dict[int, list[Append]] = {}
                for item in batch:
                    parts.setdefault(part_of(item.saga_id), []).append(item)
                found = await asyncio.gather(
                    *(store.append(part, items) for part, items in parts.items())
                )
                assert all(position is not None for one in found for position in one)
        finally:
            await store.close()

    asyncio.run(work())


def rows(engine: sa.Engine, table: str, key: Sequence[str]) -> list[tuple[object, ...]]:
    """A table, in the order of its key."""
    with engine.connect() as connection:
        found = connection.exec_driver_sql(f"SELECT * FROM {table} ORDER BY {', '.join(key)}")
        return [tuple(row) for row in found]
