"""Tables beside those in use: made empty, filled from the log, put in their place or dropped.

A table takes the other one's place by its name, in one transaction: whoever reads sees the old rows
or the new ones. Indexes and constraints have their own names afterwards, triggers are where they
were, and whoever might read the old table may read the new one.
"""

from __future__ import annotations

from typing import Final, cast

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateIndex
from sqlalchemy.sql import quoted_name

from es_saga.adapters.statements import Statements
from es_saga.adapters.tables import PROJECTIONS, TRACKING
from es_saga.core.errors import IllegalOperation, InvalidInput
from es_saga.projections.view import Rebuildable, View

_DEPENDED_ON: Final = "2BP01"

_GRANTS: Final = sa.text("""
    SELECT CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE grantee::regrole::text END AS grantee,
           privilege_type, is_grantable
    FROM pg_class, LATERAL aclexplode(relacl) WHERE oid = to_regclass(:name)
""")
_OWNER: Final = sa.text(
    "SELECT relowner::regrole::text FROM pg_class WHERE oid = to_regclass(:name)"
)
_CONSTRAINTS: Final = sa.text("""
    SELECT conname FROM pg_constraint WHERE conrelid = to_regclass(:name) ORDER BY conname
""")
_INDEXES: Final = sa.text("""
    SELECT relname FROM pg_class JOIN pg_index ON indexrelid = pg_class.oid
    WHERE indrelid = to_regclass(:name) ORDER BY relname
""")
_TRIGGERS: Final = sa.text("""
    SELECT pg_get_triggerdef(oid) FROM pg_trigger
    WHERE tgrelid = to_regclass(:name) AND NOT tgisinternal ORDER BY tgname
""")
_TRIGGERS_IN_SQLITE: Final = sa.text(
    "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = :name ORDER BY name"
)


class Shadow:
    """The tables of a view once more, under names of their own, with a checkpoint of their own.

    Args:
        suffix: what these names end in.

    Raises:
        InvalidInput: the view cannot be built beside itself.
    """

    def __init__(self, engine: sa.Engine, statements: Statements, view: View, suffix: str) -> None:
        if not hasattr(view, "beside"):
            raise InvalidInput(
                f"View {view.name!r} cannot be built beside itself.",
                hint="Make it with @projection, or give it a method `beside(suffix)`.",
            )
        # What it has the method for.
        self.view: Final = cast(Rebuildable, view).beside(suffix)
        self.live: Final = view
        self.tables: Final = [
            (table, _beside(table, suffix, engine.dialect.name == "postgresql"))
            for table in view.metadata.sorted_tables
        ]
        self._engine = engine
        self._suffix = suffix
        self._statements = statements
        self._quote = engine.dialect.identifier_preparer

    def create(self) -> None:
        """Empty tables without indexes, at the beginning of the log; leftovers are dropped."""
        with self._engine.begin() as connection:
            self._drop(connection)
            for _, shadow in self.tables:
                indexes, shadow.indexes = shadow.indexes, set()
                shadow.create(connection)
                shadow.indexes = indexes
            self._statements.enrol(connection, (self.view.name,))

    def index(self) -> None:
        """On PostgreSQL, make the indexes now; on SQLite they could not be renamed later."""
        if self._engine.dialect.name != "postgresql":
            return
        with self._engine.begin() as connection:
            for _, shadow in self.tables:
                for index in sorted(shadow.indexes, key=lambda index: str(index.name)):
                    index.create(connection)
                self._check_names(connection, shadow)
                connection.exec_driver_sql(f"ANALYZE {self._quote.format_table(shadow)}")

    def drop(self) -> None:
        """As if it had never been."""
        with self._engine.begin() as connection:
            self._drop(connection)

    def take_over(self, connection: sa.Connection) -> None:
        """Put these tables and their checkpoint in the place of those in use.

        Raises:
            IllegalOperation: something in the database depends on a table in use.
        """
        of_live, of_shadow = (TRACKING.c.name == view.name for view in (self.live, self.view))
        # First what everybody takes first who moves the view: nobody then holds a checkpoint and
        # waits for a table.
        connection.execute(sa.select(TRACKING.c.part).where(of_live).with_for_update()).all()
        for live, shadow in self.tables:
            if connection.dialect.name == "postgresql":
                self._replace(connection, live, shadow)
            else:
                self._replace_in_sqlite(connection, live, shadow)
        connection.execute(sa.delete(TRACKING).where(of_live))
        connection.execute(sa.update(TRACKING).where(of_shadow).values(name=self.live.name))
        connection.execute(sa.delete(PROJECTIONS).where(PROJECTIONS.c.name == self.live.name))

    def _drop(self, connection: sa.Connection) -> None:
        for _, shadow in reversed(self.tables):
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS {self._quote.format_table(shadow)}")
        connection.execute(sa.delete(TRACKING).where(TRACKING.c.name == self.view.name))

    # ── SQLite ───────────────────────────────────────────────────────────────────────────────────

    def _replace_in_sqlite(
        self, connection: sa.Connection, live: sa.Table, shadow: sa.Table
    ) -> None:
        name, new = self._quote.format_table(live), self._quote.format_table(shadow)
        triggers = connection.scalars(_TRIGGERS_IN_SQLITE, {"name": live.name}).all()
        # Else the rename would look at every SQL view, and those of this table would be broken.
        connection.exec_driver_sql("PRAGMA legacy_alter_table=ON")
        try:
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS {name}")
            connection.exec_driver_sql(f"ALTER TABLE {new} RENAME TO {name}")
        finally:
            connection.exec_driver_sql("PRAGMA legacy_alter_table=OFF")
        for index in sorted(live.indexes, key=lambda index: str(index.name)):
            connection.execute(CreateIndex(index))
        for trigger in triggers:
            connection.exec_driver_sql(trigger)

    # ── PostgreSQL ───────────────────────────────────────────────────────────────────────────────

    def _replace(self, connection: sa.Connection, live: sa.Table, shadow: sa.Table) -> None:
        name, new = self._quote.format_table(live), self._quote.format_table(shadow)
        triggers = connection.scalars(_TRIGGERS, {"name": name}).all()
        if connection.scalar(sa.text("SELECT to_regclass(:name)"), {"name": name}) is not None:
            self._give_rights(connection, name, new)
            try:
                connection.exec_driver_sql(f"DROP TABLE {name}")
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) != _DEPENDED_ON:
                    raise
                detail = getattr(getattr(error.orig, "diag", None), "message_detail", None)
                raise IllegalOperation(
                    f"Something depends on table {live.name}: {detail}",
                    hint="Drop it, rebuild, and create it again.",
                ) from error
        connection.exec_driver_sql(f"ALTER TABLE {new} RENAME TO {self._quote.quote(live.name)}")
        for old, own in self._renamed(connection, _CONSTRAINTS, name):
            connection.exec_driver_sql(f"ALTER TABLE {name} RENAME CONSTRAINT {old} TO {own}")
        schema = f"{self._quote.quote_schema(live.schema)}." if live.schema else ""
        for old, own in self._renamed(connection, _INDEXES, name):
            connection.exec_driver_sql(f"ALTER INDEX {schema}{old} RENAME TO {own}")
        for trigger in triggers:
            connection.exec_driver_sql(trigger)

    def _give_rights(self, connection: sa.Connection, live: str, shadow: str) -> None:
        owners = [connection.scalar(_OWNER, {"name": name}) for name in (live, shadow)]
        if owners[0] != owners[1]:
            connection.exec_driver_sql(f"ALTER TABLE {shadow} OWNER TO {owners[0]}")
        for grantee, privilege, grantable in connection.execute(_GRANTS, {"name": live}).all():
            option = " WITH GRANT OPTION" if grantable else ""
            connection.exec_driver_sql(f"GRANT {privilege} ON {shadow} TO {grantee}{option}")

    def _renamed(
        self, connection: sa.Connection, query: sa.TextClause, table: str
    ) -> list[tuple[str, str]]:
        """What has a name with our suffix in it, and its own name; both quoted."""
        names: list[str] = [row[0] for row in connection.execute(query, {"name": table})]
        quote = self._quote.quote
        return [
            (quote(name), quote(name.replace(self._suffix, "", 1)))
            for name in names
            if self._suffix in name
        ]

    def _check_names(self, connection: sa.Connection, shadow: sa.Table) -> None:
        name = self._quote.format_table(shadow)
        found: list[str] = [row[0] for row in connection.execute(_INDEXES, {"name": name})]
        cut = [index for index in found if self._suffix not in index]
        if cut:
            raise InvalidInput(
                f"Index {cut[0]} of table {shadow.name} has too long a name to be built anew.",
                hint="Give it a shorter one.",
            )


def _beside(table: sa.Table, suffix: str, global_names: bool) -> sa.Table:
    """The same table under another name; of indexes too, and of what makes some where they share
    their names with all tables.

    Raises:
        InvalidInput: it refers to other tables.
    """
    if table.foreign_keys:
        raise InvalidInput(f"Table {table.name} has foreign keys: it cannot be built anew.")
    metadata = sa.MetaData(naming_convention=table.metadata.naming_convention)
    shadow = table.to_metadata(metadata, name=f"{table.name}{suffix}")
    own = {index.name for index in table.indexes}
    for index in shadow.indexes:
        if index.name in own:
            index.name = quoted_name(f"{index.name}{suffix}", None)
    if global_names:
        for constraint in shadow.constraints:
            if isinstance(constraint.name, str) and suffix not in constraint.name:
                constraint.name = f"{constraint.name}{suffix}"
    return shadow
