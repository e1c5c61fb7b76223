"""How alembic runs our migrations: on the connection it is given, or as a script for a dialect."""

from __future__ import annotations

from alembic import context

from es_saga.adapters.tables import REVISION_TABLE

if context.is_offline_mode():
    context.configure(
        dialect_name=context.config.attributes["dialect"],
        version_table=REVISION_TABLE,
        literal_binds=True,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()
else:
    # The caller's transaction: everything or nothing, on SQLite too.
    context.configure(
        connection=context.config.attributes["connection"],
        version_table=REVISION_TABLE,
        transactional_ddl=True,
    )
    context.run_migrations()
