"""A saga beside what participants know, over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from es_saga.engine.ports import Endpoint
from tests.web.office import Office, fault

pytestmark = pytest.mark.anyio


@pytest.mark.requirement("R084")
async def test_a_saga_is_shown_with_what_participants_answer(office: Office) -> None:
    async def level(question: bytes) -> bytes:
        return b'{"asked": %s}' % question

    pipe = await office.line.questions()
    await pipe.serve("shop", [Endpoint("Level", "saga.v1.main.qry.shop.Level", level)])
    saga_id = await office.ended(key="1")
    questions = {
        "level": {"service": "shop", "query": "Level", "data": {"sku": "a"}},
        "away": {"service": "till", "query": "Cash"},
    }
    answer = await office.http.post(
        f"/api/v1/sagas/{saga_id}/composition", json={"questions": questions, "within": 5}
    )
    body = answer.json()
    assert (body["saga"]["saga_id"], body["saga"]["status"]) == (saga_id, "completed")
    assert body["partial"] is True
    assert body["answers"]["level"]["reply"] == {"asked": {"sku": "a"}}
    assert body["answers"]["away"]["answer"] == "missing"


BAD: list[dict[str, Any]] = [
    {"within": 31},
    {"questions": {f"q{n}": {"service": "a", "query": "b"} for n in range(17)}},
    {"questions": {"q": {"service": "a.>", "query": "b"}}},
    {"more": 1},
]


@pytest.mark.parametrize("change", BAD)
async def test_what_is_out_of_bounds_is_refused(still: Office, change: dict[str, Any]) -> None:
    body: dict[str, Any] = {"questions": {}, **change}
    answer = await still.http.post("/api/v1/sagas/errand-1/composition", json=body)
    assert fault(answer)[0] == 422


async def test_of_a_saga_that_is_not_there_nothing_is_asked(office: Office) -> None:
    answer = await office.http.post("/api/v1/sagas/errand-0/composition", json={"questions": {}})
    assert fault(answer) == (404, "not-found")
