"""`health` and `alerts`: on a system that really runs, and on a log at rest."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from es_saga.adapters.catch_up import CatchUp
from es_saga.adapters.clock import SystemClock
from es_saga.cli.views import FOLLOWING
from es_saga.database import make_engine
from es_saga.engine.projector import Projector
from es_saga.projections.audit import AuditView
from es_saga.projections.status import StatusView
from es_saga.projections.view import View
from tests.cli.conftest import Cli, Running
from tests.projections.logs import Told, appends, write

SOON_SECONDS = 20.0


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with a log of a completed saga, an undone one, and one that is stuck."""
    url = f"sqlite:///{tmp_path / 'log.db'}"
    told = Told(
        ["order/completed", "order/refused", "order/stuck_and_retried"],
        [(0, 99), (1, 99), (2, 17)],
        8_000,
    )
    views: list[View] = [StatusView(), AuditView()]
    write(url, views, *([item] for item in appends(told)), migrate=True)
    engine = make_engine(url)

    async def follow() -> None:
        catching = CatchUp(engine)
        for view in FOLLOWING:
            await Projector([view], catching, SystemClock()).catch_up(view)
        catching.close()

    asyncio.run(follow())
    engine.dispose()
    return tmp_path


ALWAYS = ("--within", "99999d")


@pytest.mark.requirement("R080")
def test_health_tells_types_and_steps(cli: Cli, data: Path) -> None:
    table = cli("health", *ALWAYS, data=data)
    found = cli("health", *ALWAYS, "-o", "json", data=data).json()

    assert table.code == 0
    for word in ("order", "order: reserve", "order: undo of reserve", "p95"):
        assert word in table.out
    assert "stuck for longer than 15m: 1" in table.err
    [order] = found["types"]
    assert order["sagas"] == {"completed": 1, "compensated": 1, "stuck": 1}
    assert order["counts"]["started"] == 3
    assert order["completed"]["number"] == 1
    assert {step["direction"] for step in found["steps"]} == {"do", "undo"}
    assert found["stuck"] == {"number": 1, "more": False}


def test_health_of_a_log_without_sagas(cli: Cli, tmp_path: Path) -> None:
    assert cli("migrate", "up", data=tmp_path).code == 0
    nothing = cli("health", data=tmp_path)
    assert (nothing.code, nothing.out, nothing.err.strip()) == (0, "", "no sagas yet")
    assert cli("health", "--within", "soon", data=tmp_path).code == 2


def test_alerts_lists_what_is_open_and_on_request_what_is_over(cli: Cli, data: Path) -> None:
    def listed(*words: str) -> list[Any]:
        return list(cli("alerts", *words, "-o", "json", data=data).json())

    open_ = listed()
    assert {row["kind"] for row in open_} == {"stuck", "undo"}
    assert all(row["closed"] is None for row in open_)
    assert [row["kind"] for row in listed("--kind", "undo")] == ["undo"]
    assert listed(open_[0]["saga_id"]) == open_
    assert cli("alerts", "nobody", data=data).code == 3
    assert listed("--closed") == open_
    table = cli("alerts", data=data)
    for word in (open_[0]["saga_id"], "stuck", "undo"):
        assert word in table.out
    assert cli("alerts", "--kind", "deadline", data=data).err.strip() == "no alerts"
    assert cli("alerts", "a b", data=data).code == 2


@pytest.mark.requirement("R082")
def test_a_stuck_saga_is_an_alert_until_it_is_mended_and_the_log_says_both(
    cli: Cli, bakery: Running
) -> None:
    oven = bakery.data / "open"
    oven.unlink(missing_ok=True)
    words = ("start", "cake", "--key", "alarm", "--wait", "-i", json.dumps({"name": "alarm"}))
    assert cli(*words, data=bakery.data).code == 1

    def kinds() -> list[str]:
        found = cli("alerts", "cake-alarm", "-o", "json", data=bakery.data)
        return [row["kind"] for row in found.json()]

    def soon(wanted: list[str]) -> None:
        end = time.monotonic() + SOON_SECONDS
        while kinds() != wanted:
            assert time.monotonic() < end, kinds()
            time.sleep(0.05)

    soon(["stuck"])
    oven.touch()
    assert cli("retry", "cake-alarm", "--reason", "it is open", data=bakery.data).code == 0
    soon([])
    [over] = cli("alerts", "cake-alarm", "--closed", "-o", "json", data=bakery.data).json()
    assert over["closed"] > over["opened"]
    end = time.monotonic() + SOON_SECONDS
    while not all(word in bakery.said() for word in ("alert_opened", "alert_closed")):
        assert time.monotonic() < end, bakery.said()
        time.sleep(0.05)
