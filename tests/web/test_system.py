"""How the system is, over HTTP; and what is answered when its database is away."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from es_saga.web.access import Access, read_tokens
from tests.engine.errand import Silence, refusing
from tests.web.office import Office, fault, open_office

pytestmark = pytest.mark.anyio


async def test_every_read_model_tells_how_far_it_is(office: Office) -> None:
    saga_id = await office.ended()
    events = len(await office.world.history(saga_id))
    answer = await office.http.get("/api/v1/projections")
    found = {one["name"]: one for one in answer.json()["items"]}
    assert set(found) == {"status", "audit", "elsewhere"}
    assert found["status"]["in_step"] is True
    behind = found["elsewhere"]
    assert (behind["in_step"], behind["position"], behind["behind"]) == (False, 0, events)
    assert behind["seconds_behind"] >= 0
    assert sum(part["head"] for part in behind["parts"]) == events


@pytest.mark.requirement("R080", "R081")
async def test_how_the_sagas_are_doing_is_told_by_type_step_and_service(office: Office) -> None:
    await office.ended(key="1")
    office.behave(refusing("Bring"))
    await office.ended(key="2")
    await office.follow()
    found = (await office.http.get("/api/v1/health")).json()
    (errands,) = found["types"]
    assert errands["sagas"] == {"completed": 1, "compensated": 1}
    assert errands["counts"]["started"] == 2
    assert errands["completed"]["number"] == 1
    steps = {(one["step"], one["direction"]): one for one in found["steps"]}
    assert (steps["bring", "do"]["sent"], steps["bring", "do"]["refused"]) == (2, 1)
    assert steps["pay", "undo"]["succeeded"] == 1
    services = (await office.http.get("/api/v1/participants")).json()["items"]
    assert {one["service"] for one in services} == {"shop", "till", "porter"}
    (incident,) = (await office.http.get("/api/v1/incidents")).json()["items"]
    assert (incident["step"], incident["count"], incident["examples"]) == (
        "bring",
        1,
        ["errand-2"],
    )


@pytest.mark.requirement("R082")
async def test_what_is_stuck_is_an_alert_until_somebody_helps(office: Office) -> None:
    saga_id = await office.ended("poison", key="7")
    await office.follow()
    (alert,) = (await office.http.get("/api/v1/alerts")).json()["items"]
    assert (alert["saga_id"], alert["kind"], alert["closed"]) == (saga_id, "stuck", None)
    assert (await office.http.get("/api/v1/health?stuck_for=0")).json()["stuck"]["number"] == 1
    await office.http.post(f"/api/v1/sagas/{saga_id}/cancel", json={"reason": "poison"})
    await office.world.closed(saga_id)
    await office.follow()
    assert (await office.http.get("/api/v1/alerts")).json()["items"] == []
    query = f"open=false&kind=stuck&saga={saga_id}"
    (over,) = (await office.http.get(f"/api/v1/alerts?{query}")).json()["items"]
    assert over["closed"] is not None
    for bad in ("kind=boredom", "cursor=x", "saga=a%20b", "limit=0"):
        assert fault(await office.http.get(f"/api/v1/alerts?{bad}")) == (422, "invalid-input")


async def test_pages_of_alerts_and_pending_work_have_each_once(office: Office) -> None:
    for number in range(5):
        await office.ended("poison", key=f"bad-{number}")
    office.behave(lambda envelope: Silence())
    for number in range(5):
        await office.start(key=f"slow-{number}", of="vigil")
    await office.follow()
    for path, count in (("/alerts", 5), ("/pending", 5)):
        found: list[str] = []
        cursor: str | None = None
        while True:
            query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
            page = (await office.http.get(f"/api/v1{path}", params=query)).json()
            found += [one["saga_id"] for one in page["items"]]
            cursor = page["next"]
            if cursor is None:
                break
        assert len(found) == len(set(found)) == count, path


async def test_whether_it_is_ready_is_told_to_anybody(tmp_path: Path) -> None:
    access = Access(read_tokens("ada:reads-reads-reads-reads"))
    async with open_office(tmp_path, access=access) as office:
        answer = await office.http.get("/api/v1/ready")
        assert (answer.status_code, answer.json()) == (200, {"status": "ready"})
        assert fault(await office.http.get("/api/v1/projections")) == (401, "unauthorized")


QUESTIONS = (
    "/sagas",
    "/sagas/errand-7",
    "/sagas/errand-7/outcome",
    "/sagas/errand-7/history",
    "/sagas/errand-7/versions/1",
    "/sagas/errand-7/check",
    "/definitions",
    "/projections",
    "/health",
    "/alerts",
    "/incidents",
    "/pending",
    "/participants",
    "/events",
    "/ready",
)


async def test_while_the_database_is_away_everything_says_when_to_come_back(
    tmp_path: Path, postgres_url: str
) -> None:
    async with open_office(tmp_path, url=postgres_url) as office:
        await office.ended(key="7")
        for path in QUESTIONS:
            if path != "/events":
                assert (await office.http.get(f"/api/v1{path}")).status_code == 200, path
        refuse(postgres_url, refused=True)
        for path in QUESTIONS:
            answer = await office.http.get(f"/api/v1{path}")
            assert fault(answer) == (503, "unavailable"), path
            assert int(answer.headers["retry-after"]) >= 1
        refuse(postgres_url, refused=False)
        for path in QUESTIONS:
            if path != "/events":
                answer = await office.http.get(f"/api/v1{path}")
                assert answer.status_code == 200, (path, answer.text)


NEVER_COMPARED = [
    "/definitions/a%00b/1",
    "/definitions/a%00b/1/diagram",
    "/events?type=a%00b",
    "/sagas?type=a%00b",
    "/sagas?business_id=a%00b",
    "/sagas?search=%00",
    "/sagas?since=1e400",
    "/sagas/a%00b",
    "/sagas/a%00b/history",
    "/sagas/a/history?after=99999999999999999999",
    "/sagas/a/versions/99999999999999999999",
    "/definitions/a/99999999999999999999",
]


async def test_what_no_database_can_compare_is_refused(tmp_path: Path, postgres_url: str) -> None:
    async with open_office(tmp_path, url=postgres_url) as office:
        for path in NEVER_COMPARED:
            answer = await office.http.get(f"/api/v1{path}")
            assert fault(answer) == (422, "invalid-input"), path


def refuse(url: str, *, refused: bool) -> None:
    """Cut every connection to a database and let no new one in, or do."""
    database = sa.make_url(url)
    server = database.set(drivername="postgresql", database="postgres")
    allowed = b"false" if refused else b"true"
    name = (database.database or "").encode()
    with psycopg.connect(server.render_as_string(hide_password=False), autocommit=True) as found:
        found.execute(b"ALTER DATABASE " + name + b" ALLOW_CONNECTIONS " + allowed)
        if refused:
            found.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                [database.database],
            )
