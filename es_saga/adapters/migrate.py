"""Brings a database to the schema that this release needs, and says how far it is."""

from __future__ import annotations

import io
from dataclasses import dataclass

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import DBAPIError

from es_saga.adapters.tables import REVISION_TABLE, SCHEMA_REVISION
from es_saga.core.errors import Unavailable
from es_saga.database import READ_ONLY, normalise, take_turn


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """How far a database is."""

    applied: str | None
    """The last migration applied; None in a database that has none of our tables."""
    needed: str
    pending: tuple[str, ...]
    """Migrations still to be applied, in their order; empty also when `unknown`."""
    unknown: bool = False
    """The applied migration is none of ours: a later release was here."""

    @property
    def current(self) -> bool:
        return self.applied == self.needed


def upgrade(engine: sa.Engine) -> SchemaStatus:
    """Apply what is missing, in one transaction; nothing when nothing is missing.

    Processes that do it at the same time wait for one another.

    Raises:
        Unavailable: the database is out of reach, or does not allow it.
    """
    config = _config()
    try:
        with engine.begin() as connection:
            take_turn(connection, "schema")
            before = _status(connection, config)
            if before.unknown or before.current:
                return before
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            return _status(connection, config)
    except DBAPIError as error:
        raise Unavailable(f"The database cannot be migrated: {error.orig}") from error


def status(engine: sa.Engine) -> SchemaStatus:
    """How far the database is. Changes nothing.

    Raises:
        Unavailable: the database is out of reach.
    """
    try:
        reader = engine.execution_options(**{READ_ONLY: True})
        with reader.connect() as connection:
            return _status(connection, _config())
    except DBAPIError as error:
        raise Unavailable(f"The database cannot be reached: {error.orig}") from error


def sql(url: str | sa.URL) -> str:
    """Every migration as an SQL script for this kind of database, for those who apply it by hand.

    Raises:
        InvalidInput: the URL names a database of another kind.
    """
    config = _config()
    config.attributes["dialect"] = normalise(url).get_backend_name()
    config.output_buffer = io.StringIO()
    command.upgrade(config, "head", sql=True)
    return config.output_buffer.getvalue()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "es_saga.adapters:migrations")
    config.set_main_option("path_separator", "os")
    return config


def _status(connection: sa.Connection, config: Config) -> SchemaStatus:
    context = MigrationContext.configure(connection, opts={"version_table": REVISION_TABLE})
    applied = context.get_current_revision()
    script = ScriptDirectory.from_config(config)
    ordered = [revision.revision for revision in script.walk_revisions()][::-1]
    unknown = applied is not None and applied not in ordered
    done = 0 if applied is None or unknown else ordered.index(applied) + 1
    pending = () if unknown else tuple(ordered[done:])
    return SchemaStatus(applied, SCHEMA_REVISION, pending, unknown)
