"""Outbox and inbox under `kill -9`: nothing is lost, nothing is acted on twice, order is kept."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa

from es_saga.adapters import launch
from es_saga.adapters.nats_server import EmbeddedNats
from es_saga.adapters.postgres import EmbeddedPostgres
from es_saga.database import make_engine
from tests.chaos.courier import Plan, counters, prepare
from tests.participant.depot import heard_by, left

ROOT = Path(__file__).parents[2]
KILLS = 12
PAUSE_SECONDS = 1.5
"""Longest time between two kills."""
SETTLE_SECONDS = 90.0
"""How long it may take until everything is heard, once nobody is killed any more."""


class Troupe:
    """The processes, two relays among them."""

    def __init__(self, plan: Plan, rng: random.Random, log: Path) -> None:
        self._plan = plan
        self._rng = rng
        self._log = log
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.deaths = KILLS

    def __enter__(self) -> Troupe:
        for name in ("tell", "relay", "relay again", "hear"):
            self.start(name)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()

    def start(self, name: str) -> None:
        plan = self._plan.model_copy(update={"seed": str(self._rng.random())})
        tied = [sys.executable, launch.__file__, str(os.getpid()), "-1"]
        role = [sys.executable, "-m", "tests.chaos.courier", name.split()[0]]
        with self._log.open("ab") as errors:
            self._running[name] = subprocess.Popen(
                [*tied, *role, plan.model_dump_json()], cwd=ROOT, stderr=errors, stdout=errors
            )

    def kill(self, name: str) -> None:
        process = self._running.pop(name)
        ended = process.poll()
        assert ended in (None, -signal.SIGKILL), f"{name}: {self._log.read_text()[-4000:]}"
        process.kill()
        process.wait()

    def kill_somebody(self) -> None:
        name = self._rng.choice(sorted(self._running))
        self.look()
        self.kill(name)
        self.start(name)

    def look(self) -> None:
        """Start those again that have died as they should."""
        for name, process in list(self._running.items()):
            if process.poll() == -signal.SIGKILL:
                self.deaths += 1
                self.start(name)

    def calm(self) -> None:
        """From now on nobody changes anything, and nobody dies."""
        self._plan = self._plan.model_copy(update={"mortality": 0.0})
        for name in list(self._running):
            self.look()
            self.kill(name)
        for name in ("relay", "hear"):
            self.start(name)


@pytest.fixture(params=["polling, sqlite", "polling, postgresql", "tailing, postgresql"])
def plan(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Plan]:
    relay, database = request.param.split(", ")
    url = f"sqlite:///{tmp_path / 'orders.db'}"
    with ExitStack() as stack:
        if database == "postgresql":
            settings = {"fsync": "off", "wal_level": "logical"}
            url = stack.enter_context(EmbeddedPostgres(tmp_path / "pg", settings=settings))
        nats = stack.enter_context(EmbeddedNats(tmp_path / "nats"))
        found = Plan(
            database=url, nats=nats.url, tailing=relay == "tailing", seed="", mortality=0.3
        )
        prepare(found)
        yield found


@pytest.mark.requirement("R062", "R071", "R072", "R073")
@pytest.mark.timeout(240)
@pytest.mark.parametrize("seed", os.environ.get("SEEDS", "1").split())
def test_whoever_is_killed_everything_is_heard_once_and_in_order(
    plan: Plan, seed: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    rng = random.Random(seed)
    engine = make_engine(plan.database)
    with Troupe(plan, rng, tmp_path / "processes.log") as troupe:
        wait(lambda: told(engine) != {})
        for _ in range(KILLS):
            until = time.monotonic() + rng.random() * PAUSE_SECONDS
            while time.monotonic() < until:
                time.sleep(0.02)
                troupe.look()
            troupe.kill_somebody()
        troupe.calm()
        expected = told(engine)
        wait(lambda: not left(engine) and heard(engine) >= sum(expected.values()))
    found = heard_by(engine)
    engine.dispose()
    assert found == {key: list(range(1, number + 1)) for key, number in expected.items()}
    record_property("told", f"{sum(expected.values())} events, {troupe.deaths} deaths, seed {seed}")


def wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SETTLE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def told(engine: sa.Engine) -> dict[str, int]:
    """How many changes of each order have been committed."""
    with engine.begin() as connection:
        query = sa.select(counters.c.order_id, counters.c.number).where(counters.c.number > 0)
        return {row.order_id: row.number for row in connection.execute(query)}


def heard(engine: sa.Engine) -> int:
    return sum(map(len, heard_by(engine).values()))
