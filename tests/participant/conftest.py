"""Each test on SQLite and on PostgreSQL, with a database of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from es_saga.database import make_engine
from es_saga.participant import Server, create_tables
from tests.participant.warehouse import fill, warehouse


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    """A database with the warehouse's tables, filled, and its fence."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'stock.db'}"
    else:
        url = request.getfixturevalue("postgres_url")
    engine = make_engine(url, pool_size=10)
    create_tables(warehouse(), engine)
    fill(engine)
    yield engine
    engine.dispose()


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[MutableMapping[str, Any]]]:
    """What is logged meanwhile."""
    with capture_logs() as events:
        yield events


@pytest.fixture
async def server(engine: sa.Engine) -> AsyncIterator[Server]:
    """The warehouse, serving calls."""
    async with Server(warehouse(), engine) as server:
        yield server
