"""`run` starts, is found, is alone on its log, and stops."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import sqlalchemy as sa

from es_saga.adapters.memory import MemoryTransport
from es_saga.adapters.migrate import upgrade
from es_saga.cli.alarming import hooks
from es_saga.cli.running import announced, running_apps
from es_saga.config import Settings, load
from es_saga.database import make_engine
from es_saga.engine.alerting import LogHook
from es_saga.projections.status import STATUS
from tests.cli.conftest import Cli, Running, child, order


def test_a_second_run_on_the_same_log_is_refused(shop: Running) -> None:
    second = child("run", "domain.orders:app", ES_SAGA_DATA=str(shop.data))

    assert second.code == 4
    assert f"pid {shop.process.pid}" in second.err
    assert "--data" in second.err
    assert "Traceback" not in second.err


def test_ctrl_c_finishes_what_is_in_the_works_and_exits_0(cli: Cli, tmp_path: Path) -> None:
    data = tmp_path / "data"
    running = Running(data, "domain.orders:app", "--participants")
    started = cli("start", "order", "--key", "1", "-i", order("1"), data=data)

    assert started.code == 0
    assert running.stop(signal.SIGINT) == 0
    assert "stopping" in running.said()
    assert cli("start", "order", "-i", order("2"), data=data).code == 5
    assert cli("status", "order-1", data=data).code == 0, "the log can be read without it"


def test_after_a_kill_it_runs_again_and_nothing_stands_in_its_way(cli: Cli, tmp_path: Path) -> None:
    data = tmp_path / "data"
    first = Running(data, "domain.orders:app", "--participants")
    first.stop(signal.SIGKILL)
    assert list(data.glob("run-*")), "it could not take its announcement with it"
    assert running_apps(Settings(data=data)) == []
    port = (data / "nats" / "port").read_text()

    again = Running(data, "domain.orders:app", "--participants")
    done = cli("start", "order", "--key", "1", "--wait", "-i", order("1"), data=data)

    assert done.code == 0
    assert f"nats://127.0.0.1:{port}" in {app.nats for app in running_apps(Settings(data=data))}
    assert again.stop() == 0


def test_a_broker_of_its_own_that_is_killed_is_started_again(cli: Cli, tmp_path: Path) -> None:
    data = tmp_path / "data"
    running = Running(data, "domain.orders:app", "--participants")
    [known] = (data / "nats" / "run").glob("*.ports")
    os.kill(int(known.stem.rpartition("_")[2]), signal.SIGKILL)

    placing = "start", "order", "--key", "1", "--wait", "-i", order("1")
    while (placed := cli(*placing, data=data)).code == 5:  # as long as it is away
        pass
    assert placed.code == 0, placed.err
    assert running.stop() == 0


def test_an_announcement_is_its_owners_alone_and_goes_with_it(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, tenant="t1")

    with announced(settings, "shop", "nats://me:secret@host:4222"):
        (path,) = tmp_path.glob("run-*.json")
        mode = path.stat().st_mode & 0o777
        seen = json.loads(path.read_text())
    assert mode == 0o600
    assert (seen["app"], seen["tenant"], seen["pid"]) == ("shop", "t1", os.getpid())
    assert not list(tmp_path.iterdir())


UNREACHABLE = {
    "database": ("--database", "postgresql://me:secret@127.0.0.1:1/log"),
    "nats": ("--nats", "nats://me:secret@127.0.0.1:1"),
}


@pytest.mark.parametrize("what", UNREACHABLE)
def test_out_of_reach_is_exit_5_with_what_to_check_and_no_secret(tmp_path: Path, what: str) -> None:
    words = ("run", "domain.orders:app", "-q", *UNREACHABLE[what])

    refused = child(*words, ES_SAGA_DATA=str(tmp_path / "data"))

    assert (refused.code, refused.out) == (5, "")
    assert "hint" in refused.err
    assert "secret" not in refused.err
    assert "Traceback" not in refused.err


def test_a_data_folder_that_is_a_file_is_refused(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()

    refused = cli("run", "domain.orders:app", data=file)

    assert refused.code == 2
    assert "--data" in refused.err


def test_a_participant_that_nobody_has_is_not_found(cli: Cli, shop: Running) -> None:
    refused = cli("participant", "domain.orders:app", "nobody", data=shop.data)

    assert refused.code == 3
    assert "stock" in refused.err


def test_an_unexpected_error_is_one_line_unless_debugging(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    log = make_engine(f"sqlite:///{data / 'log.db'}")
    upgrade(log)
    with log.begin() as connection:  # a row that no release of ours has written
        row = {column.name: column.type.python_type() for column in STATUS.c}
        connection.execute(sa.insert(STATUS), row | {"status": "running", "steps": "no JSON"})
    log.dispose()

    plain = cli("list", data=data)
    monkeypatch.setenv("ES_SAGA_LOG_LEVEL", "debug")
    debug = cli("list", data=data)

    assert plain.code == debug.code == 1
    assert "Traceback" not in plain.err
    assert len(plain.err.strip().splitlines()) == 2
    assert "Traceback" in debug.err


def test_alerts_are_in_the_log_unless_somebody_else_tells_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert [type(hook) for hook in hooks(load(), "shop", MemoryTransport())] == [LogHook]
    monkeypatch.setenv("ES_SAGA_ALERT_LOGGED", "false")
    assert hooks(load(), "shop", MemoryTransport()) == []
