"""Databases of participants that are played: in memory, one a service, as new in every world.

A database is made by the participant kit's `create_tables`, hooks of its tables included, and from
then on copied. It belongs to no process: a process that dies takes its connection with it, and
what was not committed.
"""

from __future__ import annotations

import itertools
import sqlite3
import weakref
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import sqlalchemy as sa

from es_saga.database import READ_ONLY, make_engine
from es_saga.participant.kit import Participant
from es_saga.participant.serve import create_tables
from es_saga.participant.work import Statements
from es_saga.testing.simulation.chance import seeded

Row = tuple[Any, ...]

_numbers = itertools.count(1)


class Database:
    """One participant's database, in the memory of this process."""

    def __init__(self, participant: Participant) -> None:
        name = f"file:played-{next(_numbers)}?mode=memory&cache=shared"
        self.engine = make_engine(sa.URL.create("sqlite", database=name, query={"uri": "true"}))
        self.statements = Statements(self.engine.dialect)
        self.tables = {table.name: table for table in _tables(participant)}
        self.connection = self.engine.connect().execution_options(**{READ_ONLY: True})
        """For those who look at it. It also keeps the database: that goes with its last one."""
        with seeded(0):  # once for many worlds, so not by the seed of any
            create_tables(participant, self.engine)
        self._as_new = sqlite3.connect(":memory:", check_same_thread=False)
        self._driver.backup(self._as_new)
        weakref.finalize(self, _forget, self.engine, self.connection, self._as_new)

    @property
    def _driver(self) -> sqlite3.Connection:
        driver = self.connection.connection.dbapi_connection
        assert isinstance(driver, sqlite3.Connection), "make_engine knows no other driver"
        return driver

    def renew(self) -> None:
        """Make it as it was when it was made."""
        self.connection.rollback()
        self._as_new.backup(self._driver)

    def rows(self) -> dict[str, list[Row]]:
        """What its tables hold, by table; the fence's apart."""
        return self._read(self._driver)

    @cached_property
    def first_rows(self) -> dict[str, list[Row]]:
        """What they held when it was made."""
        return self._read(self._as_new)

    def _read(self, driver: sqlite3.Connection) -> dict[str, list[Row]]:
        return {name: driver.execute(query).fetchall() for name, query in self._queries.items()}

    @cached_property
    def _queries(self) -> dict[str, str]:
        dialect = self.engine.dialect
        return {
            name: str(sa.select(*table.columns).compile(dialect=dialect))
            for name, table in self.tables.items()
        }


def _tables(participant: Participant) -> Iterable[sa.Table]:
    return () if participant.tables is None else participant.tables.sorted_tables


def _forget(engine: sa.Engine, connection: sa.Connection, as_new: sqlite3.Connection) -> None:
    connection.close()
    engine.dispose()
    as_new.close()


_spare: weakref.WeakKeyDictionary[Participant, list[Database]] = weakref.WeakKeyDictionary()
"""Databases that are not in use: making one takes as long as many a world."""


@contextmanager
def opened(participants: Iterable[Participant]) -> Generator[Mapping[str, Database]]:
    """A database as new for each participant, by name."""
    lent: list[tuple[list[Database], Database]] = []
    databases: dict[str, Database] = {}
    for participant in participants:
        spare = _spare.setdefault(participant, [])
        database = spare.pop() if spare else Database(participant)
        database.renew()
        lent.append((spare, database))
        databases[participant.name] = database
    yield databases
    for spare, database in lent:  # after an error they may be in use for ever
        spare.append(database)
