"""A projection: a table, and a function from what happened to changes of it.

    @projection(orders, of=[order])
    def board(recorded: Recorded, saga: SagaState) -> Iterator[Change]:
        yield Put(saga_id=recorded.saga_id, state=saga.status, updated=saga.updated)

It is run in batches, its changes commit together with its checkpoint, and it can be built anew
beside the table that is in use.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

import sqlalchemy as sa

from es_saga.core.aggregate import SagaState
from es_saga.core.definition import Saga
from es_saga.core.errors import InvalidInput
from es_saga.engine.ports import Recorded
from es_saga.projections.changes import Change, Shape, fold
from es_saga.projections.upsert import Upserts
from es_saga.projections.view import Batch

Projecting: TypeAlias = Callable[[Recorded, SagaState], Iterable[Change]]
"""What a projection's function is: the event, the saga right after it, and what that changes."""


class Projection:
    """A `View` made of a function; made by `projection`. Calling it calls the function."""

    def __init__(
        self,
        function: Projecting,
        tables: Mapping[sa.Table, sa.Table],
        *,
        name: str,
        of: frozenset[str] | None,
        inline: bool,
    ) -> None:
        self.name: Final = name
        self.inline: Final = inline
        self.__doc__ = function.__doc__
        self.metadata: Final = sa.MetaData()
        self._tables = {
            table: own.to_metadata(self.metadata, name=own.name) for table, own in tables.items()
        }
        self._function = function
        self._of = of
        self._shapes = {table: Shape(table) for table in tables}
        self._upserts = Upserts(self._tables)

    def __call__(self, recorded: Recorded, state: SagaState) -> Iterable[Change]:
        """What one event changes; no database is needed to ask."""
        return self._function(recorded, state)

    def apply(self, connection: sa.Connection, batch: Batch) -> None:
        """See `View.apply`."""
        self._upserts.write(connection, fold(self._changes(batch), self._shapes))

    def _changes(self, batch: Batch) -> Iterator[Change]:
        of, function = self._of, self._function
        for recorded, state in batch.each():
            if of is None or state.origin.saga_type in of:
                yield from function(recorded, state)

    def beside(self, suffix: str) -> Projection:
        """See `Rebuildable.beside`."""
        return Projection(
            self._function,
            {
                table: own.to_metadata(sa.MetaData(), name=f"{own.name}{suffix}")
                for table, own in self._tables.items()
            },
            name=f"{self.name}{suffix}",
            of=self._of,
            inline=self.inline,
        )


def projection(
    *tables: sa.Table,
    name: str | None = None,
    of: Collection[Saga[Any] | str] | None = None,
    inline: bool = False,
) -> Callable[[Projecting], Projection]:
    """Make a function a projection of the log.

    The function must be total and pure: what it yields may follow from the event and the saga
    alone. Sagas are handled side by side, so a row that several of them change may only be added
    to; otherwise what stands there would depend on who came last.

    Args:
        tables: what it writes; with more than one, each change names its own.
        name: under which its checkpoint stands, for ever; the first table's name if left out.
        of: the sagas it is told of, or the names of their types; all if left out.
        inline: its changes commit together with the events, by whoever writes them. It is then
            never behind, but each of its rows costs the sagas time, and if it fails they do.

    Raises:
        InvalidInput: a table has no primary key, or depends on something else.
    """
    if not tables:
        raise InvalidInput("A projection needs a table.", hint="@projection(orders)")
    types = None if of is None else frozenset(_name(saga) for saga in of)

    def make(function: Projecting) -> Projection:
        return Projection(
            function,
            {table: table for table in tables},
            name=name or tables[0].name,
            of=types,
            inline=inline,
        )

    return make


def _name(saga: Saga[Any] | str) -> str:
    return saga if isinstance(saga, str) else saga.name
