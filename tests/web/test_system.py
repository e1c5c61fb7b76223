"""How the system is, over HTTP; and what is answered when its database is away."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from es_saga.web.access import Access, read_tokens
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


@pytest.mark.parametrize(
    "path",
    [
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
    ],
)
async def test_what_no_database_can_compare_is_refused(
    path: str, tmp_path: Path, postgres_url: str
) -> None:
    async with open_office(tmp_path, url=postgres_url) as office:
        assert fault(await office.http.get(f"/api/v1{path}")) == (422, "invalid-input")


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
