"""Our logs do what every log has to do: see `es_saga.testing.contracts.store`."""

from __future__ import annotations

from pathlib import Path

import pytest

from es_saga.adapters.memory import MemoryStore
from es_saga.adapters.store import SqlStore
from es_saga.adapters.store import connect as connect_sql
from es_saga.projections.status import StatusView
from es_saga.testing.contracts import Connect, StoreContract

shows = pytest.mark.requirement
shows("R052", "R053", "R054")(StoreContract.test_a_log_reopened_goes_on_where_it_ended)
shows("R059")(StoreContract.test_a_stale_item_is_refused_alone)


def _opening(url: str) -> Connect:
    async def connect() -> SqlStore:
        return connect_sql(url, views=[StatusView()], migrate=True)

    return connect


class TestSqlite(StoreContract):
    @pytest.fixture
    def connect(self, tmp_path: Path) -> Connect:
        return _opening(f"sqlite:///{tmp_path / 'log.db'}")


class TestPostgres(StoreContract):
    @pytest.fixture
    def connect(self, postgres_url: str) -> Connect:
        return _opening(postgres_url)


class TestMemory(StoreContract):
    limits_events = False

    @pytest.fixture
    def connect(self) -> Connect:
        first = MemoryStore()

        async def connect() -> MemoryStore:
            return MemoryStore(beside=first)

        return connect
