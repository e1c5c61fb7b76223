"""`es-saga projections`: how far read models are, made anew, compared."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from es_saga import Add, Change, Recorded, SagaState, projection
from es_saga.database import make_engine
from es_saga.projections.audit import AuditView
from es_saga.projections.status import StatusView
from tests.cli.conftest import Cli
from tests.projections.logs import NAMES, Told, appends, events_of, write

MINE = "tests.cli.test_projections:kinds"
counted = sa.Table(
    "counted",
    sa.MetaData(),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("events", sa.Integer, nullable=False),
)
poison: set[str] = set()


@projection(counted, name="kinds")
def kinds(recorded: Recorded, _saga: SagaState) -> Iterator[Change]:
    if type(recorded.event).__name__ in poison:
        raise ValueError("it tastes of soap")
    yield Add(kind=type(recorded.event).__name__, events=1)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A log of every recorded saga, whose status and audit are up to date."""
    poison.clear()
    told = Told(NAMES, [(at, 100) for at in range(len(NAMES))], 0)
    url = f"sqlite:///{tmp_path / 'log.db'}"
    write(url, [StatusView(), AuditView()], list(appends(told)), migrate=True)
    return tmp_path


EVENTS = sum(len(events_of(name)) for name in NAMES)


@pytest.fixture
def engine(data: Path) -> Iterator[sa.Engine]:
    found = make_engine(f"sqlite:///{data / 'log.db'}")
    yield found
    found.dispose()


def test_the_list_says_how_far_each_view_is(cli: Cli, data: Path) -> None:
    rows = cli("projections", "list", "--projection", MINE, "-o", "json", data=data).json()
    found = {row["name"]: row for row in rows}
    assert list(found)[:2] == ["status", "audit"]
    assert list(found)[-1] == "kinds"
    assert (found["status"]["kept"], found["kinds"]["kept"]) == ("in step", "following")
    assert (found["audit"]["position"], found["audit"]["behind"]) == (EVENTS, 0)
    assert found["kinds"]["behind"] == found["kinds"]["head"] == EVENTS
    assert found["kinds"]["seconds_behind"] > 0
    assert sum(part["head"] for part in found["kinds"]["parts"]) == EVENTS
    table = cli("projections", "list", "--projection", MINE, data=data).out
    assert "up to date" in table
    assert "behind" in table


@pytest.mark.requirement("R055")
def test_a_view_is_made_anew_and_verified(cli: Cli, data: Path, engine: sa.Engine) -> None:
    done = cli("projections", "rebuild", "kinds", "--projection", MINE, "-o", "json", data=data)
    assert done.code == 0, done.err
    assert "writers stood still" in done.err
    [rebuilt] = done.json()
    assert (rebuilt["view"], rebuilt["events"]) == ("kinds", EVENTS)
    verified = cli("projections", "verify", "--all", "--projection", MINE, data=data)
    assert (verified.code, verified.out) == (0, "")
    with engine.begin() as connection:
        connection.execute(
            sa.update(counted).where(counted.c.kind == "SagaStarted").values(events=-1)
        )
    drifted = cli("projections", "verify", "status", "kinds", "--projection", MINE, data=data)
    assert drifted.code == 6
    assert "kind=SagaStarted" in drifted.out
    assert f"events is -1, should be {len(NAMES)}" in drifted.out
    assert "1 of" in drifted.err
    told = cli("projections", "verify", "kinds", "--projection", MINE, "-o", "jsonl", data=data)
    assert told.code == 6
    assert told.json()["drifts"][0]["columns"] == {"events": [-1, len(NAMES)]}
    assert cli("projections", "rebuild", "--all", "--projection", MINE, data=data).code == 0
    assert cli("projections", "verify", "--all", "--projection", MINE, data=data).code == 0


def test_what_a_view_cannot_take_in_is_said(cli: Cli, data: Path) -> None:
    poison.add("StepRefused")
    for verb in ("rebuild", "verify"):
        if verb == "verify":
            poison.clear()
            cli("projections", "rebuild", "kinds", "--projection", MINE, data=data)
            poison.add("StepRefused")
        failed = cli("projections", verb, "kinds", "--projection", MINE, data=data)
        assert failed.code == 1
        assert "View 'kinds' cannot take in event" in failed.err
        assert "ValueError: it tastes of soap" in failed.err


@pytest.mark.parametrize("verb", ["rebuild", "verify"])
def test_what_is_not_there_cannot_be_chosen(cli: Cli, data: Path, verb: str) -> None:
    unknown = cli("projections", verb, "nonsense", data=data)
    assert unknown.code == 3
    assert "status, audit" in unknown.err
    assert cli("projections", verb, data=data).code == 2
    assert cli("projections", verb, "status", "--all", data=data).code == 2
    assert cli("projections", verb, "status", data=data / "elsewhere").code == 5
    no_view = cli(
        "projections", verb, "x", "--projection", "tests.cli.test_projections:EVENTS", data=data
    )
    assert no_view.code == 2
    assert "not a view" in no_view.err
    twice = ("--projection", MINE, "--projection", MINE)
    assert "name of another view" in cli("projections", verb, "kinds", *twice, data=data).err
