"""`audit verify`: a good log exits 0, a damaged one 6, and the first bad event is named."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from es_saga.projections.audit import AuditView
from es_saga.projections.status import StatusView
from es_saga.projections.view import View
from tests.cli.conftest import Cli
from tests.projections.logs import Told, appends, write

TOLD = Told(["order/timed_out", "trip/refused"], [(0, 9), (1, 9)], 7_000)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with a log of two sagas."""
    views: list[View] = [StatusView(), AuditView()]
    write(f"sqlite:///{tmp_path / 'log.db'}", views, *([i] for i in appends(TOLD)), migrate=True)
    return tmp_path


def tamper(data: Path, statement: str) -> None:
    connection = sqlite3.connect(data / "log.db")
    with connection:
        connection.execute(statement)
    connection.close()


def test_a_good_log_exits_0(cli: Cli, data: Path) -> None:
    good = cli("audit", "verify", data=data)
    assert (good.code, good.out) == (0, "")
    assert "18 events of 2 sagas checked: all as they were written" in good.err


@pytest.mark.law("L52")
def test_a_damaged_log_exits_6_and_names_the_first_bad_event(cli: Cli, data: Path) -> None:
    bad, good = TOLD.id_of(0), TOLD.id_of(1)
    tamper(
        data,
        "UPDATE es_events SET state = replace(CAST(state AS text), 'at', 'ta')"
        f" WHERE originator_id = '{bad}' AND originator_version >= 4",
    )

    whole = cli("audit", "verify", "-o", "json", data=data)
    one, other = (cli("audit", "verify", saga_id, data=data) for saga_id in (bad, good))
    read = cli("history", bad, data=data)

    assert whole.code == 6
    [damage] = whole.json()["damages"]
    assert (damage["saga_id"], damage["version"], damage["wrong"]) == (bad, 4, "edited")
    assert (one.code, other.code) == (6, 0)
    for word in (bad, "4", "edited"):
        assert word in one.out
    assert "1 damaged" in one.err
    assert (read.code, read.out) == (6, "")
    assert f"saga '{bad}', event 4: edited" in read.err


def test_since_leaves_out_what_has_not_changed(cli: Cli, data: Path) -> None:
    tamper(data, "UPDATE es_events SET topic = 'SagaCompleted' WHERE originator_version = 2")
    recent = cli("audit", "verify", "--since", "1s", "-o", "json", data=data)
    assert (recent.code, recent.json()["sagas"]) == (0, 0)
    every = cli("audit", "verify", "--since", "99999d", "-o", "json", data=data)
    assert (every.code, len(every.json()["damages"])) == (6, 2)


def test_bad_questions_are_refused(cli: Cli, data: Path) -> None:
    assert cli("audit", "verify", "nobody", data=data).code == 3
    assert cli("audit", "verify", TOLD.id_of(0), "--since", "1h", data=data).code == 2
    assert cli("audit", "verify", "--since", "soon", data=data).code == 2
    assert cli("audit", "verify", data=data / "elsewhere").code == 5
