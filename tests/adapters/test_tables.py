"""Tables that several processes create at the same moment."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
import sqlalchemy as sa

from es_saga.database import create_missing, make_engine

PROCESSES = 4
ROUNDS = 10


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'tables.db'}"
    else:
        yield request.getfixturevalue("postgres_url")


def test_nobody_fails_who_creates_what_others_are_creating(url: str) -> None:
    engine = make_engine(url, pool_size=PROCESSES)
    together = Barrier(PROCESSES)

    def create(metadata: sa.MetaData) -> None:
        with engine.connect() as connection:  # connected first: what is raced for is the table
            together.wait()
            with connection.begin():
                create_missing(connection, metadata)

    with ThreadPoolExecutor(PROCESSES) as threads:
        for number in range(ROUNDS):
            metadata = sa.MetaData()
            sa.Table(f"made_{number}", metadata, sa.Column("id", sa.Integer, primary_key=True))
            list(threads.map(create, [metadata] * PROCESSES))
    assert len(sa.inspect(engine).get_table_names()) == ROUNDS
    engine.dispose()
