"""The schema comes by migrations that are shipped with the package."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from es_saga.adapters import migrate
from es_saga.adapters.store import check_schema, connect
from es_saga.adapters.tables import METADATA, REVISION_TABLE, SCHEMA_REVISION
from es_saga.core.errors import InvalidInput, Unavailable
from es_saga.database import make_engine
from es_saga.projections import audit, status


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'log.db'}"
    else:
        url = request.getfixturevalue("postgres_url")
    engine = make_engine(url)
    yield engine
    engine.dispose()


def test_an_empty_database_is_brought_up_to_date(engine: sa.Engine) -> None:
    assert migrate.status(engine) == migrate.SchemaStatus(None, SCHEMA_REVISION, ("0001", "0002"))
    after = migrate.upgrade(engine)
    assert after.current
    assert after == migrate.status(engine) == migrate.upgrade(engine)
    assert after.pending == ()
    check_schema(engine)


def test_the_migrations_make_the_tables_that_the_code_uses(engine: sa.Engine) -> None:
    migrate.upgrade(engine)
    described = sa.MetaData()
    for part in (METADATA, status.StatusView.metadata, audit.AuditView.metadata):
        for table in part.tables.values():
            table.to_metadata(described).comment = None
    options = {"version_table": REVISION_TABLE, "compare_type": True}
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=options)
        found = sa.MetaData()
        found.reflect(connection)
        differences: list[Any] = compare_metadata(context, described)
    assert set(found.tables) == {*described.tables, REVISION_TABLE}
    # The views' tables do not describe their indexes, and describe columns where we do not.
    aside = {"remove_index", "modify_comment"}
    flat: list[Any] = [each[0] if isinstance(each, list) else each for each in differences]
    assert [each for each in flat if each[0] not in aside] == []


def test_the_log_has_no_index_beyond_its_keys(engine: sa.Engine) -> None:
    migrate.upgrade(engine)
    inspector = sa.inspect(engine)
    names = {each["name"] for each in inspector.get_indexes("es_events")}
    assert names <= {"uq_es_events_version"}
    assert inspector.get_pk_constraint("es_events")["constrained_columns"] == ["part", "position"]


def test_two_processes_may_migrate_at_once(engine: sa.Engine) -> None:
    results: list[object] = []

    def run() -> None:
        try:
            results.append(migrate.upgrade(engine).current)
        except Exception as error:
            results.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 4


def test_a_migration_that_fails_leaves_nothing_behind(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE es_audit (in_the_way int)"))
    with pytest.raises(Unavailable, match="es_audit"):
        migrate.upgrade(engine)
    assert sa.inspect(engine).get_table_names() == ["es_audit"]


def test_a_database_without_the_schema_is_not_opened(engine: sa.Engine) -> None:
    url = engine.url.render_as_string(hide_password=False)
    with pytest.raises(Unavailable, match="es-saga migrate up"):
        connect(url)


def test_a_database_of_a_later_release_is_not_opened(engine: sa.Engine) -> None:
    migrate.upgrade(engine)
    with engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE {REVISION_TABLE} SET version_num = '9999'"))
    assert migrate.status(engine).unknown
    assert migrate.upgrade(engine).unknown
    with pytest.raises(Unavailable, match="9999"):
        check_schema(engine)


def test_the_script_does_what_the_migration_does(tmp_path: Path, engine: sa.Engine) -> None:
    script = migrate.sql(engine.url)
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        if engine.dialect.name == "sqlite":
            driver.executescript(script)
        else:
            driver.execute(script.encode())
            driver.commit()
    check_schema(engine)
    with pytest.raises(InvalidInput):
        migrate.sql("mysql://host/name")


def test_an_unreachable_database_is_said_to_be_so(tmp_path: Path) -> None:
    nowhere = make_engine(f"sqlite:///{tmp_path / 'missing' / 'log.db'}")
    for question in (migrate.status, migrate.upgrade, check_schema):
        with pytest.raises(Unavailable, match="unable to open"):
            question(nowhere)
