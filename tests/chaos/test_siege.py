"""kill -9 of everything, wiped stores and an unreliable pipe: and nothing is lost or doubled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from es_saga.core.aggregate import SagaStatus
from tests.chaos.story import besiege

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]

ORDERS, FAULTS = 1_050, 32
"""Of each of the two sieges: 2,100 orders and 64 faults together."""

Tell = Callable[[str, object], None]


@pytest.mark.requirement("R001", "R007", "R022", "R023", "R028", "R029", "R030", "R031")
@pytest.mark.requirement("R041", "R052", "R053", "R054", "R059", "R074")
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
async def test_whatever_is_killed_every_saga_ends_and_every_effect_happens_once(
    tmp_path: Path, database: str, record_property: Tell
) -> None:
    """On SQLite two managers believe that they own every part; on PostgreSQL they share them."""
    story = await besiege(tmp_path, postgres=database == "postgres", orders=ORDERS, faults=FAULTS)
    record_property("told", f"siege of {database}: {story}")
    assert story.broken == []
    assert sum(story.faults.values()) == FAULTS
    assert min(story.faults.values()) >= 5
    assert story.ends[SagaStatus.COMPLETED] > ORDERS / 8
    assert story.ends[SagaStatus.COMPENSATED] > ORDERS / 8
    assert min(story.mischief[kind] for kind in "ldw") > 20
    assert story.unknown > 0
