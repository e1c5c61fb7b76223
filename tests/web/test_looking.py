"""Looking at sagas over HTTP: lists, histories, any version of a saga, what if."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from es_saga import Command, Message, Saga, Sensitive
from tests.engine.errand import Silence, errand, refusing, willing
from tests.web.office import Office, fault, open_office

pytestmark = pytest.mark.anyio


async def get(office: Office, path: str, **query: Any) -> Any:
    answer = await office.http.get(f"/api/v1{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def several(office: Office, count: int = 6) -> list[str]:
    """Sagas that complete and, every other one, are refused."""
    ids: list[str] = []
    for number in range(count):
        office.behave(refusing("Bring") if number % 2 else willing)
        ids.append(await office.ended(key=str(number)))
    return ids


# ── lists ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.requirement("R080")
async def test_pages_of_a_list_have_every_saga_once(office: Office) -> None:
    ids = await several(office)
    for limit in (1, 2, 5, 6, 100):
        found: list[str] = []
        cursor: str | None = None
        while True:
            query = {"limit": limit} | ({"cursor": cursor} if cursor else {})
            page = await get(office, "/sagas", **query)
            assert len(page["items"]) <= limit
            found += [line["saga_id"] for line in page["items"]]
            cursor = page["next"]
            if cursor is None:
                break
        assert found == list(reversed(ids))


async def test_a_list_has_what_fits_and_nothing_else(office: Office) -> None:
    ids = await several(office)
    refused = [ids[number] for number in (5, 3, 1)]

    async def listed(**query: Any) -> list[str]:
        return [line["saga_id"] for line in (await get(office, "/sagas", **query))["items"]]

    assert await listed(status="compensated") == refused
    assert await listed(status=["compensated", "completed"]) == list(reversed(ids))
    assert await listed(business_id="3") == ["errand-3"]
    assert await listed(type="glance") == []
    assert await listed(type="errand", reason="no") == refused
    assert await listed(search="errand-5") == ["errand-5"]
    middle = (await get(office, "/sagas/errand-3"))["updated"]
    assert await listed(since=middle) == ["errand-5", "errand-4", "errand-3"]
    assert await listed(until=middle) == ["errand-2", "errand-1", "errand-0"]


BAD: dict[str, dict[str, Any]] = {
    "no status": {"status": "lost"},
    "misspelt": {"statsu": "stuck"},
    "no time": {"since": "yesterday"},
    "infinity": {"since": "inf"},
    "page too long": {"limit": 1_001},
    "empty page": {"limit": 0},
    "no cursor": {"cursor": "x"},
    "cursor of nothing": {"cursor": "nan~errand-1"},
    "cursor with more": {"cursor": "1.0~errand-1'; DROP TABLE es_status"},
    "nothing searched": {"search": ""},
    "unprintable": {"search": "a\0b"},
    "too long": {"reason": "r" * 201},
}


@pytest.mark.parametrize("case", BAD)
async def test_a_bad_filter_is_refused_in_words(case: str, still: Office) -> None:
    answer = await still.http.get("/api/v1/sagas", params=BAD[case])
    assert fault(answer) == (422, "invalid-input")


# ── one saga ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.requirement("R080", "R083")
async def test_a_history_is_told_event_by_event_and_page_by_page(office: Office) -> None:
    (saga_id,) = await several(office, 1)
    whole = await get(office, f"/sagas/{saga_id}/history")
    told = [f"{one['kind']} {one['step'] or ''}".strip() for one in whole["items"]]
    assert told == await office.world.history(saga_id)
    assert whole["next"] is None
    found: list[Any] = []
    after: int | None = 0
    while after is not None:
        page = await get(office, f"/sagas/{saga_id}/history", after=after, limit=3)
        found += page["items"]
        after = page["next"]
    assert found == whole["items"]


async def test_a_page_says_which_service_nobody_serves(office: Office) -> None:
    office.behave(lambda envelope: Silence() if envelope.type == "Pay" else willing(envelope))
    saga_id = await office.start(of="vigil")
    await office.world.until(saga_id, lambda state: "pay" in state.steps)
    assert (await get(office, f"/sagas/{saga_id}"))["asked"] == {"pay": "till"}

    async def page() -> str:
        html = (await office.http.get(f"/sagas/{saga_id}")).text
        return " ".join(re.sub("<[^>]*>", " ", html).split())

    office.line.away = frozenset({"shop"})
    assert "nobody serves it" not in await page()
    office.line.away = frozenset({"till"})
    assert "Waits for till (pay): nobody serves it" in await page()
    office.line.cut = True
    assert "Waits for till (pay)" in await page()


async def test_the_audit_trail_names_who_intervened_and_why(office: Office) -> None:
    saga_id = await office.ended("poison", key="7")
    answer = await office.http.post(f"/api/v1/sagas/{saga_id}/cancel", json={"reason": "poison"})
    assert answer.status_code == 200
    trail = await get(office, f"/sagas/{saga_id}/audit")
    (entry,) = [one for one in trail["items"] if one["actor"]]
    assert (entry["kind"], entry["actor"]) == ("OperatorCancelled", "local")
    assert entry["payload"]["reason"] == "poison"
    assert {"hash", "trace", "cause", "at"} <= set(entry)


async def test_the_ledger_says_what_is_done_undone_and_owed(office: Office) -> None:
    def no_undo(envelope: Any) -> Any:
        return Silence() if envelope.type == "GiveBack" else refusing("Bring")(envelope)

    office.behave(no_undo)
    saga_id = await office.start(key="7")
    await office.world.until(saga_id, lambda state: state.backward)
    found = await get(office, f"/sagas/{saga_id}")
    ledger = {entry["step"]: (entry["done"], entry["undo"]) for entry in found["ledger"]}
    assert ledger["pay"] == ("done", "issued")
    assert ledger["fetch"] == ("done", "owed")
    assert found["remaining"] == ["pay", "fetch"]


async def test_script_in_data_is_told_as_text(office: Office) -> None:
    script = "<script>alert(1)</script>"
    saga_id = await office.ended(script)
    for path in (f"/sagas/{saga_id}", f"/sagas/{saga_id}/history", "/sagas"):
        answer = await office.http.get(f"/api/v1{path}")
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert (await get(office, f"/sagas/{saga_id}"))["payload"]["thing"] == script


# ── time travel ──────────────────────────────────────────────────────────────────────────────────


async def test_a_saga_is_told_as_it_was_after_each_of_its_events(office: Office) -> None:
    saga_id = await office.ended(key="7")
    count = len(await office.world.history(saga_id))
    first = await get(office, f"/sagas/{saga_id}/versions/1")
    assert (first["of"], first["event"]["kind"]) == (count, "SagaStarted")
    assert [command["type"] for command in first["commands"]] == []
    second = await get(office, f"/sagas/{saga_id}/versions/2")
    assert second["together"] == [1, 2]
    assert [command["type"] for command in second["commands"]] == ["Fetch"]
    third = await get(office, f"/sagas/{saga_id}/versions/3")
    assert third["input"].startswith("fetch is done")
    changed = {change["path"]: change["after"] for change in third["changes"]}
    assert changed["steps.fetch.do.status"] == "succeeded"
    assert third["state"]["steps"]["fetch"]["do"]["reply"] == {"shelf": "s1"}
    last = await get(office, f"/sagas/{saga_id}/versions/{count}")
    assert last["state"]["status"] == "completed"
    for beyond in (count + 1, 2**31 - 1):
        answer = await office.http.get(f"/api/v1/sagas/{saga_id}/versions/{beyond}")
        assert fault(answer) == (404, "not-found")
    answer = await office.http.get(f"/api/v1/sagas/{saga_id}/versions/0")
    assert fault(answer) == (422, "invalid-input")


async def test_a_history_is_decided_again_with_todays_code(office: Office) -> None:
    office.behave(refusing("Bring"))
    saga_id = await office.ended(key="7")
    found = await get(office, f"/sagas/{saga_id}/check")
    assert (found["same"], found["decided"]) == (True, found["of"])


async def test_a_fork_shows_the_other_ending_and_changes_nothing(office: Office) -> None:
    saga_id = await office.ended(key="7")
    before = await office.world.history(saga_id)
    answer = await office.http.post(
        f"/api/v1/sagas/{saga_id}/what-if", json={"answers": {"bring": 'No {"why": "rain"}'}}
    )
    found = answer.json()
    assert answer.status_code == 200, answer.text
    assert (found["status"], found["reason_step"]) == ("compensated", "bring")
    assert found["events"][-1]["kind"] == "SagaCompensated"
    assert await office.world.history(saga_id) == before
    for bad in ({}, {"fly": "No"}, {"bring": {"no": "reply"}}, {"bring": "fail*999999"}):
        answer = await office.http.post(f"/api/v1/sagas/{saga_id}/what-if", json={"answers": bad})
        assert fault(answer) == (422, "invalid-input")


async def test_a_history_becomes_a_test(office: Office) -> None:
    saga_id = await office.ended(key="7")
    answer = await office.http.get(f"/api/v1/sagas/{saga_id}/scene")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/x-python")
    compile(answer.text, "scene", "exec")
    assert "from tests.engine.errand import" in answer.text


async def test_two_runs_are_compared(office: Office) -> None:
    completed, refused = await several(office, 2)
    found = await get(office, "/compare", a=completed, b=refused)
    assert (found["a"]["status"], found["b"]["status"]) == ("completed", "compensated")
    assert found["first"]["step"] == "bring"


@pytest.mark.parametrize(
    "path",
    [
        "/sagas/nobody/history",
        "/sagas/nobody/audit",
        "/sagas/nobody/versions/1",
        "/sagas/nobody/check",
        "/sagas/nobody/scene",
        "/sagas/nobody/diagram",
        "/definitions/nothing/1/diagram",
        "/compare?a=nobody&b=nobody",
        "/definitions/nothing/1",
    ],
)
async def test_what_is_not_there_is_not_found(path: str, still: Office) -> None:
    assert fault(await still.http.get(f"/api/v1{path}")) == (404, "not-found")


async def test_without_the_code_nothing_is_decided_again(tmp_path: Path) -> None:
    async with open_office(tmp_path, definitions=()) as office:
        saga_id = await office.ended(key="7")
        answer = await office.http.get(f"/api/v1/sagas/{saga_id}/check")
        assert fault(answer) == (404, "not-found")
        assert "es-saga ui APP" in answer.json()["error"]["hint"]
        assert (await get(office, f"/sagas/{saga_id}/versions/1"))["version"] == 1


# ── definitions ──────────────────────────────────────────────────────────────────────────────────


async def test_definitions_are_told_with_and_without_their_code(tmp_path: Path) -> None:
    async with open_office(tmp_path, definitions=[errand.definition]) as office:
        await office.ended(key="7")
        found = {one["type"]: one for one in (await get(office, "/definitions"))["items"]}
        assert set(found) == {"errand", "glance", "patient", "vigil"}
        assert [step["name"] for step in found["errand"]["steps"]] == ["fetch", "pay", "bring"]
        assert found["errand"]["code"] is True
        assert found["errand"]["input"]["required"] == ["thing"]
        assert (found["glance"]["code"], found["glance"]["input"]) == (False, None)
        assert await get(office, "/definitions/glance/1") == found["glance"]
        answer = await office.http.get("/api/v1/definitions/glance/2")
        assert fault(answer) == (404, "not-found")


async def test_types_and_runs_are_drawn(office: Office) -> None:
    saga_id = await office.ended("<script>alert(1)</script>", key="7")
    for path, media, begin in (
        ("/definitions/errand/1/diagram", "image/svg+xml", "<svg"),
        ("/definitions/errand/1/diagram?format=mermaid", "text/vnd.mermaid", "flowchart"),
        ("/definitions/errand/1/diagram?format=dot", "text/vnd.graphviz", 'digraph "errand"'),
        (f"/sagas/{saga_id}/diagram", "image/svg+xml", "<svg"),
        (f"/sagas/{saga_id}/diagram?format=mermaid", "text/vnd.mermaid", "sequenceDiagram"),
        (f"/sagas/{saga_id}/diagram?format=timeline", "image/svg+xml", "<svg"),
    ):
        answer = await office.http.get(f"/api/v1{path}")
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith(media)
        assert answer.text.startswith(begin)
        assert "<script" not in answer.text
    answer = await office.http.get(f"/api/v1/sagas/{saga_id}/diagram?format=crayon")
    assert fault(answer) == (422, "invalid-input")


# ── what not everybody may read ──────────────────────────────────────────────────────────────────


class Secret(Message):
    """Somebody's secret."""

    word: Sensitive[str]
    loud: bool = False


class Whisper(Command[None]):
    """Tell it to the porter."""

    to = "porter"
    word: Sensitive[str]
    letters: int


secret = Saga("secret", Secret)


@secret.pivot
def whisper(s: Secret) -> Whisper:
    return Whisper(word=s.word, letters=len(s.word))


@pytest.fixture
async def discreet(tmp_path: Path) -> AsyncIterator[Office]:
    known = [errand.definition, secret.definition]
    async with open_office(tmp_path, definitions=known, run=known) as found:
        yield found


@pytest.mark.requirement("R064")
async def test_sensitive_values_are_in_no_answer(discreet: Office) -> None:
    word = "abracadabra"
    body = {"type": "secret", "data": {"word": word}, "key": "7"}
    await discreet.http.post("/api/v1/sagas", json=body)
    await discreet.world.closed("secret-7")
    assert any(word in str(envelope.data) for envelope in discreet.world.town.asked)
    paths = ["", "/outcome", "/history", "/audit", "/versions/2", "/check", "/scene", "/diagram"]
    for path in paths:
        answer = await discreet.http.get(f"/api/v1/sagas/secret-7{path}")
        assert word not in answer.text, path
    answer = await discreet.http.post(
        "/api/v1/sagas/secret-7/what-if", json={"answers": {"whisper": "timeout"}}
    )
    assert answer.status_code == 200, answer.text
    assert word not in answer.text


@pytest.mark.requirement("R064", "R083")
async def test_decisions_are_taken_again_on_what_is_hidden_and_it_stays_hidden(
    discreet: Office,
) -> None:
    word = "abracadabra"
    body = {"type": "secret", "data": {"word": word}, "key": "7"}
    await discreet.http.post("/api/v1/sagas", json=body)
    await discreet.world.closed("secret-7")
    told = (await discreet.http.get("/api/v1/sagas/secret-7/check")).json()
    assert told["same"] is True, told
    page = await discreet.http.get("/sagas/secret-7/travel?check=1")
    assert "takes the same decisions" in page.text
    fork = await discreet.http.get("/sagas/secret-7/travel?if=whisper&says=timeout")
    assert "It would be" in fork.text
    for tab in ("", "/history", "/travel?at=2", "/messages", "/ledger"):
        shown = await discreet.http.get(f"/sagas/secret-7{tab}")
        assert shown.status_code == 200, tab
        assert word not in shown.text, tab
    assert word not in page.text + fork.text
