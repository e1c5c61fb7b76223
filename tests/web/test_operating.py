"""The operator's verbs over HTTP: with actor and reason, refused in words where illegal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from es_saga.web.access import Access, read_tokens
from tests.engine.errand import Silence, World, willing
from tests.web.office import Office, fault, open_office

pytestmark = pytest.mark.anyio

SECRET = "operates-operates-operates"
WHY = {"reason": "she changed her mind"}


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Office]:
    access = Access(read_tokens(f"ada:operate:{SECRET}"))
    async with open_office(tmp_path, access=access) as found:
        found.http.headers["Authorization"] = f"Bearer {SECRET}"
        yield found


async def version(office: Office, saga_id: str) -> int:
    return len(await office.world.history(saga_id))


async def verb(
    office: Office, saga_id: str, name: str, body: dict[str, Any], **headers: str
) -> httpx.Response:
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return await office.http.post(f"/api/v1/sagas/{saga_id}/{name}", json=body, headers=named)


async def waiting(office: Office, key: str = "7") -> str:
    """A saga that waits for an answer which does not come."""
    office.behave(lambda envelope: Silence() if envelope.type == "Pay" else willing(envelope))
    saga_id = await office.start(key=key, of="vigil")
    await sent(office.world, saga_id, "pay")
    return saga_id


async def sent(world: World, saga_id: str, step: str) -> None:
    await world.until(saga_id, lambda state: step in state.steps)


async def test_the_actor_of_a_verb_is_the_name_of_the_token(guarded: Office) -> None:
    saga_id = await waiting(guarded)
    answer = await verb(guarded, saga_id, "cancel", WHY)
    assert answer.status_code == 200
    assert answer.json()["saga"]["status"] == "compensating"
    (event,) = [
        event
        for event in (await guarded.world.store.load([saga_id]))[saga_id]
        if type(event).__name__ == "OperatorCancelled"
    ]
    assert (event.__dict__["actor"], event.__dict__["reason"]) == ("ada", WHY["reason"])


async def test_nobody_says_who_else_it_was(guarded: Office) -> None:
    saga_id = await waiting(guarded)
    answer = await verb(guarded, saga_id, "cancel", {**WHY, "actor": "somebody else"})
    assert fault(answer) == (422, "invalid-input")
    assert "OperatorCancelled" not in await guarded.world.history(saga_id)


async def test_without_tokens_the_actor_is_the_user_of_this_machine(tmp_path: Path) -> None:
    async with open_office(tmp_path, access=Access(local="grace")) as office:
        saga_id = await waiting(office)
        await verb(office, saga_id, "cancel", WHY)
        events = (await office.world.store.load([saga_id]))[saga_id]
        actors = [actor for event in events if (actor := getattr(event, "actor", None))]
        assert actors == ["grace"]


async def test_a_dry_run_shows_what_would_happen_and_nothing_does(office: Office) -> None:
    saga_id = await waiting(office)
    before = await office.world.history(saga_id)
    answer = await verb(office, saga_id, "resend", {**WHY, "dry_run": True})
    found = answer.json()
    assert answer.status_code == 200
    assert found["dry_run"] is True
    assert found["events"][0]["topic"] == "OperatorResent"
    assert [command["type"] for command in found["commands"]] == ["Pay"]
    assert await office.world.history(saga_id) == before


async def test_a_verb_on_a_version_that_is_past_is_a_conflict(office: Office) -> None:
    saga_id = await waiting(office)
    now = await version(office, saga_id)
    shown = await office.http.get(f"/api/v1/sagas/{saga_id}")
    assert shown.headers["etag"] == f'"{now}"'
    stale = {**WHY, "expected_version": now - 1}
    assert fault(await verb(office, saga_id, "cancel", stale)) == (409, "conflict")
    answer = await verb(office, saga_id, "cancel", WHY, If_Match=f'"{now - 1}"')
    assert fault(answer) == (409, "conflict")
    assert await version(office, saga_id) == now
    answer = await verb(office, saga_id, "cancel", WHY, If_Match=shown.headers["etag"])
    assert answer.status_code == 200


async def test_of_two_who_decide_on_the_same_version_one_is_too_late(office: Office) -> None:
    saga_id = await waiting(office)
    body = {**WHY, "expected_version": await version(office, saga_id)}
    answers = await asyncio.gather(*(verb(office, saga_id, "resend", body) for _ in range(2)))
    assert sorted(answer.status_code for answer in answers) == [200, 409]


async def test_a_verb_asked_for_again_under_its_name_is_carried_out_once(office: Office) -> None:
    saga_id = await waiting(office)
    for _ in range(3):
        answer = await verb(office, saga_id, "resend", WHY, Idempotency_Key="once")
        assert answer.status_code == 200
    history = await office.world.history(saga_id)
    assert history.count("OperatorResent pay") == 1


ILLEGAL: dict[str, tuple[str, dict[str, Any], int, str]] = {
    "retry of what goes on": ("retry", WHY, 409, "illegal-state"),
    "skip of what goes on": ("skip", {**WHY, "step": "pay"}, 409, "illegal-state"),
    "no such verb": ("explode", WHY, 404, "not-found"),
    "no reason": ("cancel", {}, 422, "invalid-input"),
    "empty reason": ("cancel", {"reason": "  "}, 422, "invalid-input"),
    "unprintable reason": ("cancel", {"reason": "a\0b"}, 422, "invalid-input"),
    "long reason": ("cancel", {"reason": "r" * 1_001}, 422, "invalid-input"),
    "no step": ("skip", WHY, 422, "invalid-input"),
    "no such step": ("resend", {**WHY, "step": "fly"}, 404, "not-found"),
    "a step where none is taken": ("cancel", {**WHY, "step": "pay"}, 422, "invalid-input"),
    "a reply where none is taken": ("resend", {**WHY, "reply": {}}, 422, "invalid-input"),
    "no version": ("cancel", {**WHY, "expected_version": 0}, 422, "invalid-input"),
    "no outcome": (
        "resolve",
        {**WHY, "step": "pay", "outcome": "perhaps"},
        422,
        "invalid-input",
    ),
}


@pytest.mark.parametrize("case", ILLEGAL)
async def test_an_illegal_verb_is_refused_in_words_and_changes_nothing(
    case: str, still: Office
) -> None:
    name, body, status, code = ILLEGAL[case]
    saga_id = await waiting(still, key=uuid4().hex)
    before = await still.world.history(saga_id)
    assert fault(await verb(still, saga_id, name, body)) == (status, code)
    assert await still.world.history(saga_id) == before


@pytest.mark.parametrize("tag", ["x", '"a"', "7, 8", "9" * 10])
async def test_a_tag_that_is_no_version_is_refused(tag: str, still: Office) -> None:
    saga_id = await waiting(still, key=uuid4().hex)
    answer = await verb(still, saga_id, "cancel", WHY, If_Match=tag)
    assert fault(answer) == (422, "invalid-input")


async def test_verbs_on_sagas_that_are_not_there_or_closed_are_refused(office: Office) -> None:
    assert fault(await verb(office, "nobody", "cancel", WHY)) == (404, "not-found")
    closed = await office.ended()
    assert fault(await verb(office, closed, "cancel", WHY)) == (409, "illegal-state")


@pytest.mark.requirement("R080")
async def test_a_saga_that_is_stuck_is_repaired_over_http(office: Office) -> None:
    saga_id = await office.start("poison", key="stuck")
    await office.world.until(saga_id, lambda state: state.status.value == "stuck")
    answer = await verb(office, saga_id, "retry", {"reason": "again"})
    assert answer.status_code == 200
    answer = await verb(office, saga_id, "cancel", {"reason": "it is poison"})
    assert answer.status_code == 200
    ended = await office.http.get(f"/api/v1/sagas/{saga_id}/outcome")
    assert fault(ended) == (409, "refused")


# ── many at once ─────────────────────────────────────────────────────────────────────────────────


async def test_a_verb_on_many_tells_of_each_and_stops_at_none(office: Office) -> None:
    closed = await office.ended(key="closed")
    open_ones = [await waiting(office, f"open-{number}") for number in range(3)]
    ids = [open_ones[0], closed, "nobody", *open_ones[1:]]
    body = {"verb": "cancel", "sagas": ids, **WHY}
    dry = (await office.http.post("/api/v1/operations", json={**body, "dry_run": True})).json()
    assert [item["status"] for item in dry["items"]] == [200, 409, 404, 200, 200]
    assert dry["items"][0]["events"][0]["topic"] == "OperatorCancelled"
    for one in open_ones:
        assert "OperatorCancelled" not in await office.world.history(one)
    answer = await office.http.post("/api/v1/operations", json=body)
    found = answer.json()
    assert answer.status_code == 200
    assert (found["done"], found["failed"]) == (3, 2)
    assert [item["saga_id"] for item in found["items"]] == ids
    assert [item["status"] for item in found["items"]] == [200, 409, 404, 200, 200]
    assert found["items"][1]["error"]["code"] == "illegal-state"
    for one in open_ones:
        assert "OperatorCancelled" in await office.world.history(one)


async def test_of_many_those_that_moved_on_are_left_alone(office: Office) -> None:
    ids = [await waiting(office, str(number)) for number in range(2)]
    versions = {ids[0]: await version(office, ids[0]), ids[1]: 1}
    body = {"verb": "cancel", "sagas": ids, "versions": versions, **WHY}
    found = (await office.http.post("/api/v1/operations", json=body)).json()
    assert [item["status"] for item in found["items"]] == [200, 409]


async def test_a_verb_on_all_that_match_concerns_these_and_no_others(office: Office) -> None:
    ids = [await waiting(office, str(number)) for number in range(3)]
    body = {"verb": "cancel", "matching": {"type": "vigil", "search": "vigil-"}, **WHY}
    dry = (await office.http.post("/api/v1/operations", json={**body, "dry_run": True})).json()
    assert {item["saga_id"] for item in dry["items"]} == set(ids)
    body["matching"] = {"business_id": "1"}
    found = (await office.http.post("/api/v1/operations", json=body)).json()
    assert [(item["saga_id"], item["status"]) for item in found["items"]] == [("vigil-1", 200)]
    body["matching"] = {"type": "glance"}
    assert (await office.http.post("/api/v1/operations", json=body)).json()["items"] == []


async def test_more_than_a_thousand_that_match_are_refused_as_a_whole(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("es_saga.web.api.operating.MAX_BULK", 2)
    ids = [await waiting(office, str(number)) for number in range(3)]
    body = {"verb": "cancel", "matching": {"type": "vigil"}, **WHY}
    answer = await office.http.post("/api/v1/operations", json=body)
    assert fault(answer) == (422, "invalid-input")
    for saga_id in ids:
        assert "OperatorCancelled" not in await office.world.history(saga_id)


@pytest.mark.parametrize(
    "change",
    [
        {"sagas": []},
        {"matching": {"type": "errand"}},
        {"sagas": [], "matching": {}},
        {"sagas": [], "matching": {"status": ["lost"]}},
        {"sagas": [f"s{number}" for number in range(1_001)]},
        {"sagas": ["a b"]},
        {"verb": "explode"},
        {"reason": ""},
        {"versions": {"x": 0}},
    ],
    ids=[
        "none",
        "both",
        "all there are",
        "no status",
        "too many",
        "no id",
        "no verb",
        "no reason",
        "no version",
    ],
)
async def test_a_bad_request_on_many_is_refused_as_a_whole(
    change: dict[str, Any], still: Office
) -> None:
    saga_id = await waiting(still, key=uuid4().hex)
    before = await still.world.history(saga_id)
    body = {"verb": "cancel", "sagas": [saga_id], **WHY, **change}
    answer = await still.http.post("/api/v1/operations", json=body)
    assert fault(answer) == (422, "invalid-input")
    assert await still.world.history(saga_id) == before
