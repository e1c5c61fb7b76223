"""A participant's database in the memory of this process: SQLite."""

from __future__ import annotations

import itertools
import sqlite3
import weakref
from collections.abc import Mapping
from functools import cached_property

import sqlalchemy as sa

from es_saga.database import READ_ONLY, make_engine
from es_saga.participant.kit import Participant
from es_saga.participant.own_database import create_tables
from es_saga.participant.work import Desk, Statements
from es_saga.testing.simulation.chance import seeded
from es_saga.testing.simulation.databases import Row, tables_of

_numbers = itertools.count(1)


class InMemory:
    """A `Database` that is as quick as memory, and cannot prepare a transaction."""

    doubts = None

    def __init__(self, participant: Participant) -> None:
        name = f"file:played-{next(_numbers)}?mode=memory&cache=shared"
        self.engine = make_engine(sa.URL.create("sqlite", database=name, query={"uri": "true"}))
        self.statements = Statements(self.engine.dialect)
        self.tables = tables_of(participant)
        self.connection = self.engine.connect().execution_options(**{READ_ONLY: True})
        """It also keeps the database: that goes with its last one."""
        with seeded(0):  # once for many worlds, so not by the seed of any
            create_tables(participant, self.engine)
        self._as_new = sqlite3.connect(":memory:", check_same_thread=False)
        self._driver.backup(self._as_new)
        self.first_rows = self._read(self._as_new)
        weakref.finalize(self, _forget, self.engine, self.connection, self._as_new)

    @property
    def _driver(self) -> sqlite3.Connection:
        driver = self.connection.connection.dbapi_connection
        assert isinstance(driver, sqlite3.Connection), "make_engine knows no other driver"
        return driver

    def renew(self) -> None:
        self.connection.rollback()
        self._as_new.backup(self._driver)

    def give_up(self) -> None:
        """What was not committed went with its connection."""

    def rows(self) -> Mapping[str, list[Row]]:
        return self._read(self._driver)

    def changes(self, desk: Desk) -> int:
        return desk.changes()

    def in_transaction(self, desk: Desk) -> bool:
        found: bool = desk.driver.in_transaction
        return found

    def _read(self, driver: sqlite3.Connection) -> Mapping[str, list[Row]]:
        return {name: driver.execute(query).fetchall() for name, query in self._queries.items()}

    @cached_property
    def _queries(self) -> dict[str, str]:
        dialect = self.engine.dialect
        return {
            name: str(sa.select(*table.columns).compile(dialect=dialect))
            for name, table in self.tables.items()
        }


def _forget(engine: sa.Engine, connection: sa.Connection, as_new: sqlite3.Connection) -> None:
    connection.close()
    engine.dispose()
    as_new.close()
