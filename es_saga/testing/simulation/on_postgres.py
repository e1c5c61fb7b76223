"""A participant's database in a real PostgreSQL: one that can prepare transactions.

What its world leaves prepared is rolled back with the world; then its tables are filled again with
what they held when they were made. That takes a millisecond, and another database thirty.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Mapping
from typing import Final

import sqlalchemy as sa

from es_saga.database import make_engine
from es_saga.participant.kit import Participant
from es_saga.participant.own_database import create_tables
from es_saga.participant.work import Desk, Statements
from es_saga.testing.simulation.chance import seeded
from es_saga.testing.simulation.databases import Row, tables_of
from es_saga.testing.simulation.doubts import Doubts
from es_saga.testing.simulation.postgres_server import server

SWEPT_EVERY: Final = 100
"""So many worlds leave their dead rows behind before they are swept away."""

LOCK_SECONDS: Final = 10.0
"""How long a world may be in the way of the next one: it should not be at all."""

_numbers = itertools.count(1)

_TABLES = """
SELECT c.oid::regclass::text,
    (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute a
     WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname <> 'information_schema' AND NOT starts_with(n.nspname, 'pg_')
ORDER BY 1
"""
_SEQUENCES = """
SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'S' AND NOT starts_with(n.nspname, 'pg_') ORDER BY 1
"""
_LEFT = "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()"
_CHANGES = """
SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint FROM pg_stat_xact_user_tables
"""


class OnPostgres:
    """A `Database` of the server that this process has."""

    def __init__(self, participant: Participant) -> None:
        name = f"played_{next(_numbers)}"
        self.engine = make_engine(server().create(name))
        self.statements = Statements(self.engine.dialect)
        self.tables = tables_of(participant)
        self.doubts = Doubts(participant, self.engine)
        self.connection = self.engine.connect()
        with seeded(0):  # once for many worlds, so not by the seed of any
            create_tables(participant, self.engine)
        self._restore = self._keep_as_new()
        self.first_rows = self.rows()
        self._renewed = 0
        weakref.finalize(self, _forget, self.engine, self.connection, name)

    def _keep_as_new(self) -> str:
        """Copy all there is; how it is put back, as SQL."""
        lines = [f"SET LOCAL lock_timeout = '{LOCK_SECONDS:g}s'"]
        lines.append("SET LOCAL session_replication_role = replica")  # no triggers, no foreign keys
        with self.engine.begin() as connection:
            tables = connection.exec_driver_sql(_TABLES).all()
            connection.exec_driver_sql("CREATE SCHEMA es_as_new")
            for number, (table, columns) in enumerate(tables):
                kept = f"es_as_new.t{number}"
                made = f"CREATE TABLE {kept} AS SELECT {columns} FROM {table}"
                lines.append(f"DELETE FROM ONLY {table}")
                if connection.exec_driver_sql(made).rowcount:
                    put = f"INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE"
                    lines.append(f"{put} SELECT * FROM {kept}")
            for name in connection.exec_driver_sql(_SEQUENCES).scalars():
                asked = f"SELECT last_value, is_called FROM {name}"
                last, called = connection.exec_driver_sql(asked).one()
                lines.append(f"SELECT setval('{name}', {last}, {called})")
        return ";\n".join(lines)

    def renew(self) -> None:
        self.connection.rollback()
        with self.engine.begin() as connection:
            connection.exec_driver_sql(self._restore)
        self._renewed += 1
        if self._renewed % SWEPT_EVERY == 0:
            self._execute("VACUUM")

    def give_up(self) -> None:
        self.connection.rollback()
        left = self.connection.exec_driver_sql(_LEFT).scalars().all()
        self.connection.rollback()
        for gid in left:
            self._execute(f"ROLLBACK PREPARED '{gid}'")

    def _execute(self, statement: str) -> None:
        alone = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        with alone.connect() as connection:
            connection.exec_driver_sql(statement)

    def rows(self) -> Mapping[str, list[Row]]:
        """As text: whatever their types are, they can be compared."""
        found: dict[str, list[Row]] = {}
        for name, table in self.tables.items():
            query = sa.select(*(sa.cast(column, sa.Text) for column in table.columns))
            found[name] = [tuple(row) for row in self.connection.execute(query)]
        self.connection.rollback()
        return found

    def changes(self, desk: Desk) -> int:
        # After an error nothing can be asked, and nothing of it will stay.
        if desk.driver.info.transaction_status.name != "INTRANS":
            return 0
        found: int = desk.connection.exec_driver_sql(_CHANGES).scalar_one()
        return found

    def in_transaction(self, desk: Desk) -> bool:
        return bool(desk.driver.info.transaction_status.name != "IDLE")


def _forget(engine: sa.Engine, connection: sa.Connection, name: str) -> None:
    connection.close()
    engine.dispose()
    server().execute(f"DROP DATABASE {name} WITH (FORCE)")
