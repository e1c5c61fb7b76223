"""Every row of the tables: played once, or with a reason why not."""

from __future__ import annotations

import pytest

from tests.foreign import (
    test_cloudflare,
    test_dtm,
    test_durable_replay,
    test_durable_workflow,
    test_eventuate,
)
from tests.foreign.path import simulate, tell
from tests.foreign.scenarios import Scenario, came_to

TABLES = {
    source.__name__: source.TABLE
    for source in (
        test_durable_workflow,
        test_durable_replay,
        test_dtm,
        test_cloudflare,
        test_eventuate,
    )
}
PATHS = [
    pytest.param(row, id=row.id)
    for table in TABLES.values()
    for row in table.rows.values()
    if row.path
]


@pytest.mark.parametrize("row", PATHS)
def test_the_core_goes_this_way(row: Scenario) -> None:
    assert row.saga is not None
    came_to(row.end, tell(row.saga, row.path))


@pytest.mark.parametrize("row", PATHS)
def test_the_engine_goes_this_way(row: Scenario) -> None:
    assert row.saga is not None
    came_to(row.end, simulate(row.saga, row.path))


@pytest.mark.parametrize("source", TABLES)
def test_each_scenario_is_played_once_or_says_why_not(source: str) -> None:
    table = TABLES[source]
    played = {
        row.id: bool(row.path) + table.players[row.id] + bool(row.missing)
        for row in table.rows.values()
    }
    assert {name: times for name, times in played.items() if times != 1} == {}
