"""Sagas that run others, as people see them: who runs whom, on the command line and the pages."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from domain.together import app, together
from domain.together.contracts import TravelTogether
from es_saga import InProcess
from tests.cli.conftest import Cli
from tests.dashboard.serving import serving

BOTH = TravelTogether(
    trip_id="7",
    traveller="ada",
    first_flight="BA117",
    second_flight="BA117",
    hotel="Savoy",
    pence=90_000,
)
PARENT, CHILD = "together-7", "together-7--first"


def test_parent_and_child_name_each_other(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ES_SAGA_DATA", str(tmp_path / "data"))
    database = f"sqlite:///{tmp_path / 'agency.db'}"

    async def travel() -> None:
        async with InProcess(app, database=database) as sagas:
            started = await sagas.start(together, BOTH, key="7")
            await sagas.wait(started.saga_id)

    asyncio.run(travel())
    above = cli("status", PARENT, "--database", database)
    assert f"runs     {CHILD} (first)" in above.out
    below = cli("status", CHILD, "--database", database)
    assert f"run by   {PARENT}" in below.out
    told = cli("status", PARENT, "--database", database, "-o", "json").json()
    assert told["parent"] is None
    assert told["children"]["first"] == CHILD
    with serving(database) as site:
        assert f"/sagas/{CHILD}" in httpx.get(f"{site.url}/sagas/{PARENT}").text
        assert f"/sagas/{PARENT}" in httpx.get(f"{site.url}/sagas/{CHILD}").text
        answered = httpx.get(f"{site.url}/api/v1/sagas/{CHILD}").json()
        assert answered["parent"] == PARENT
