"""A log in a file: written by one process, read by another one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from es_saga.adapters.store import SqlStore, connect
from es_saga.core.aggregate import fold
from es_saga.core.events import SagaEvent
from es_saga.core.messages import part_of
from es_saga.core.state import SagaState
from es_saga.database import make_engine
from es_saga.engine.ports import Append
from es_saga.projections.queries import Queries, SagaRow
from es_saga.projections.status import StatusView
from es_saga.testing import Story
from tests.foreign.path import SAGA_ID


class Log:
    """Everybody who looks opens it anew: nothing is kept in memory."""

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder / 'log.db'}"

    def write(self, story: Story) -> None:
        """A saga's history, and its views with it."""
        state = fold(SAGA_ID, story.history)
        assert state is not None, "it has begun"
        item = Append(SAGA_ID, 0, story.history, state)

        async def write(store: SqlStore) -> None:
            assert None not in await store.append(part_of(SAGA_ID), [item]), "a file of its own"
            await store.close()

        asyncio.run(write(connect(self.url, views=[StatusView()], migrate=True)))

    def read(self) -> Sequence[SagaEvent]:
        """The saga's history.

        Raises:
            CorruptHistory: it cannot be read.
        """

        async def read(store: SqlStore) -> Sequence[SagaEvent]:
            try:
                return (await store.load([SAGA_ID]))[SAGA_ID]
            finally:
                await store.close()

        return asyncio.run(read(connect(self.url)))

    def state(self) -> SagaState:
        """The saga, folded; raises as `read`, and where the history contradicts itself."""
        state = fold(SAGA_ID, self.read())
        assert state is not None, "it was written"
        return state

    def look(self) -> SagaRow:
        """What an operator sees."""
        engine = make_engine(self.url)
        try:
            return Queries(engine).status(SAGA_ID)
        finally:
            engine.dispose()

    def sabotage(self, statement: str) -> None:
        """Change the log behind everybody's back."""
        engine = make_engine(self.url)
        with engine.begin() as connection:
            assert connection.exec_driver_sql(statement).rowcount == 1
        engine.dispose()
