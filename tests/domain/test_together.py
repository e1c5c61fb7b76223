"""Two who travel together: sagas that a saga runs, with the agency's own participants."""

from __future__ import annotations

from pathlib import Path

import pytest

from domain.together import app, together
from domain.together.contracts import TravelTogether
from domain.travel.participants import flights, hotel_rooms, rooms, seats, wallet
from es_saga import InProcess
from es_saga.core.messages import CommandKey, Direction
from es_saga.core.nested import child_id
from es_saga.database import make_engine
from es_saga.projections.ending import Ending
from es_saga.testing import check_saga

pytestmark = pytest.mark.anyio

BOTH = TravelTogether(
    trip_id="7",
    traveller="ada",
    first_flight="BA117",
    second_flight="BA117",
    hotel="Savoy",
    pence=90_000,
)


async def test_both_go_or_neither(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ES_SAGA_DATA", str(tmp_path / "data"))
    database = f"sqlite:///{tmp_path / 'agency.db'}"
    engine = make_engine(database)
    async with InProcess(app, database=database) as sagas:
        full = BOTH.model_copy(update={"second_flight": "full"})
        poor = BOTH.model_copy(update={"traveller": "tramp"})
        for refused in (full, poor):
            before = seats.totals(engine), hotel_rooms.totals(engine)
            ended = await sagas.wait((await sagas.start(together, refused)).saga_id)
            assert ended.ending is Ending.REFUSED
            assert (seats.totals(engine), hotel_rooms.totals(engine)) == before
        gone = await sagas.wait((await sagas.start(together, BOTH, key="7")).saga_id)
        assert gone.ending is Ending.COMPLETED
        stands = sagas.queries.standing(gone.saga_id)
        assert stands.children == {
            step: child_id(CommandKey(gone.saga_id, step, Direction.DO, 1))
            for step in ("first", "second")
        }
        child = sagas.queries.standing(stands.children["first"])
        assert (child.saga.status, child.parent) == ("completed", gone.saga_id)
    engine.dispose()


def test_whatever_goes_wrong_neither_goes_alone() -> None:
    seen = check_saga(together, participants=[flights, rooms, wallet], residue=(), examples=60)
    assert {"L59"} <= seen.laws
    assert [one.saga for one in seen.children] == ["journey"]
