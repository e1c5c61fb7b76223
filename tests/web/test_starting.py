"""Starting sagas over HTTP, and learning how they ended."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from es_saga.core.messages import MAX_PAYLOAD_BYTES
from tests.engine.errand import Silence, refusing
from tests.web.office import Office, fault

pytestmark = pytest.mark.anyio

ERRAND = {"type": "errand", "data": {"thing": "lamp", "pence": 3}}


@pytest.mark.requirement("R076", "R080")
async def test_a_saga_is_started_and_its_completion_told_with_its_business_id(
    office: Office,
) -> None:
    started = await office.http.post("/api/v1/sagas", json={**ERRAND, "key": "7"})
    assert started.status_code == 201
    assert started.headers["location"] == "/api/v1/sagas/errand-7"
    body = started.json()
    assert (body["saga_id"], body["key"], body["created"]) == ("errand-7", "7", True)
    ended = await office.http.get("/api/v1/sagas/errand-7/outcome")
    assert ended.status_code == 200
    found = ended.json()
    assert (found["ending"], found["business_id"]) == ("completed", "7")
    assert found["replies"] == {"fetch": {"shelf": "s1"}, "pay": {"receipt": "r1"}, "bring": None}


@pytest.mark.requirement("R078")
async def test_a_refusal_is_a_conflict_with_its_reason(office: Office) -> None:
    office.behave(refusing("Pay"))
    saga_id = await office.start()
    ended = await office.http.get(f"/api/v1/sagas/{saga_id}/outcome")
    assert fault(ended) == (409, "refused")
    error = ended.json()["error"]
    assert "No at pay" in error["message"]
    assert (error["outcome"]["reason"], error["outcome"]["reason_step"]) == ("No", "pay")
    assert error["outcome"]["status"] == "compensated"


@pytest.mark.requirement("R078")
async def test_an_error_is_an_internal_error_and_so_is_a_saga_that_is_stuck(office: Office) -> None:
    office.behave(lambda envelope: RuntimeError("broken") if envelope.type == "Pay" else None)
    failed = await office.start(key="failed")
    ended = await office.http.get(f"/api/v1/sagas/{failed}/outcome")
    assert fault(ended) == (500, "failed")
    stuck = await office.start("poison", key="stuck")
    ended = await office.http.get(f"/api/v1/sagas/{stuck}/outcome")
    assert fault(ended) == (500, "stuck")
    assert ended.json()["error"]["outcome"]["ending"] == "failed"


async def test_what_is_not_over_in_time_is_accepted_and_can_be_asked_for_again(
    office: Office,
) -> None:
    office.behave(lambda envelope: Silence())
    saga_id = await office.start()
    begun = time.monotonic()
    pending = await office.http.get(f"/api/v1/sagas/{saga_id}/outcome", params={"timeout": 0.2})
    assert 0.2 <= time.monotonic() - begun < 5
    assert pending.status_code == 202
    assert pending.json()["ending"] == "pending"
    assert pending.headers["retry-after"]


@pytest.mark.requirement("R076")
async def test_whoever_waits_is_told_when_it_ends_not_when_the_time_is_over(
    office: Office,
) -> None:
    office.behave(lambda envelope: Silence())
    saga_id = await office.start()
    waiting = asyncio.create_task(
        office.http.get(f"/api/v1/sagas/{saga_id}/outcome", params={"timeout": 60})
    )
    office.behave(refusing("Fetch"))  # answers the second attempt
    async with asyncio.timeout(20):
        ended = await waiting
    assert fault(ended) == (409, "refused")


async def test_a_start_asked_for_again_is_the_same_saga(office: Office) -> None:
    first = await office.http.post("/api/v1/sagas", json={**ERRAND, "key": "7"})
    again = await office.http.post("/api/v1/sagas", json=ERRAND, headers={"Idempotency-Key": "7"})
    quoted = await office.http.post(
        "/api/v1/sagas", json=ERRAND, headers={"Idempotency-Key": '"7"'}
    )
    assert (first.status_code, again.status_code, quoted.status_code) == (201, 200, 200)
    assert {one.json()["saga_id"] for one in (first, again, quoted)} == {"errand-7"}
    assert [one.json()["created"] for one in (first, again, quoted)] == [True, False, False]


async def test_a_key_used_with_another_input_is_a_conflict_that_changes_nothing(
    office: Office,
) -> None:
    await office.ended(key="7")
    before = (await office.http.get("/api/v1/sagas/errand-7")).json()
    other = {"type": "errand", "data": {"thing": "chair"}, "key": "7"}
    assert fault(await office.http.post("/api/v1/sagas", json=other)) == (409, "conflict")
    assert (await office.http.get("/api/v1/sagas/errand-7")).json() == before


BAD: dict[str, tuple[Any, int, str]] = {
    "no type": ({"data": {}}, 422, "invalid-input"),
    "unknown type": ({"type": "nothing", "data": {}}, 404, "not-found"),
    "data does not fit": ({"type": "errand", "data": {"thing": 7}}, 422, "invalid-input"),
    "data with more": ({"type": "errand", "data": {"thing": "a", "x": 1}}, 422, "invalid-input"),
    "data is a list": ({"type": "errand", "data": []}, 422, "invalid-input"),
    "unknown field": ({**ERRAND, "wait": True}, 422, "invalid-input"),
    "key is no key": ({**ERRAND, "key": "a b"}, 422, "invalid-input"),
    "key is too long": ({**ERRAND, "key": "k" * 60}, 422, "invalid-input"),
    "key is empty": ({**ERRAND, "key": ""}, 422, "invalid-input"),
    "too large": (
        {"type": "errand", "data": {"thing": "x" * MAX_PAYLOAD_BYTES}},
        422,
        "invalid-input",
    ),
    "no object": ([1], 422, "invalid-input"),
}


@pytest.mark.parametrize("case", BAD)
async def test_a_bad_start_is_refused_in_words_and_nothing_begins(case: str, still: Office) -> None:
    body, status, code = BAD[case]
    answer = await still.http.post("/api/v1/sagas", json=body)
    assert fault(answer) == (status, code)
    assert still.desk.queries.counts() == {}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"null",
        b'{"type": "errand", "data": {"thing": NaN}}',
        b'{"type": "errand", "data": {"thing": "\\ud800"}}',
        b"\xff\xfe",
        b'{"type": "errand", "data": ' + b'{"a":' * 2_000 + b"1" + b"}" * 2_000 + b"}",
    ],
    ids=["empty", "cut", "null", "NaN", "half a character", "no text", "deep"],
)
async def test_a_body_that_is_no_json_is_refused(raw: bytes, still: Office) -> None:
    answer = await still.http.post(
        "/api/v1/sagas", content=raw, headers={"Content-Type": "application/json"}
    )
    assert fault(answer) == (422, "invalid-input")
    assert still.desk.queries.counts() == {}


async def test_keys_that_contradict_each_other_are_refused(office: Office) -> None:
    answer = await office.http.post(
        "/api/v1/sagas", json={**ERRAND, "key": "7"}, headers={"Idempotency-Key": "8"}
    )
    assert fault(answer) == (422, "invalid-input")
    assert office.desk.queries.counts() == {}


async def test_without_a_process_manager_nothing_is_started_and_what_is_there_is_told(
    office: Office,
) -> None:
    saga_id = await office.ended()
    office.line.cut = True
    answer = await office.http.post("/api/v1/sagas", json=ERRAND)
    assert fault(answer) == (503, "unavailable")
    assert answer.headers["retry-after"] == "3"
    assert (await office.http.get(f"/api/v1/sagas/{saga_id}")).status_code == 200


@pytest.mark.requirement("R077")
async def test_the_status_says_where_a_saga_stands_step_by_step(office: Office) -> None:
    office.behave(refusing("Bring"))
    saga_id = await office.ended()
    answer = await office.http.get(f"/api/v1/sagas/{saga_id}")
    found = answer.json()
    assert (found["status"], found["ending"]) == ("compensated", "refused")
    assert (found["reason"], found["reason_step"]) == ("No", "bring")
    assert found["steps"]["pay"]["reply"] == {"receipt": "r1"}
    assert found["steps"]["pay"]["undo"]["status"] == "succeeded"
    assert found["steps"]["bring"]["status"] == "refused"
    assert answer.headers["etag"] == f'"{found["version"]}"'


async def test_who_asks_for_a_saga_that_is_not_there_is_told_so(office: Office) -> None:
    for path in ("/sagas/nobody", "/sagas/nobody/outcome"):
        assert fault(await office.http.get(f"/api/v1{path}")) == (404, "not-found")
    assert fault(await office.http.get("/api/v1/sagas/a%20b")) == (422, "invalid-input")
    assert fault(await office.http.get(f"/api/v1/sagas/{'x' * 65}")) == (422, "invalid-input")
