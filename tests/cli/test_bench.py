"""`es-saga bench`: every figure is there. How large they are is for people to judge."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

SECONDS = "0.5"
PATIENCE_SECONDS = 110.0


def measured(*options: str) -> Any:
    """What a short run prints."""
    command = [sys.executable, "-m", "es_saga", "bench", "--seconds", SECONDS, *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # the bar is for a terminal
    return json.loads(done.stdout)


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_the_engine_is_measured_beside_the_raw_driver(store: str) -> None:
    figures = measured("engine", "--store", store)
    assert set(figures) == {"machine", "engine"}
    assert set(figures["engine"]) == {store}
    engine = figures["engine"][store]
    assert engine["cpu_us_per_transition"] > engine["floor_cpu_us_per_transition"] > 0
    assert engine["floor_ratio"] == pytest.approx(
        engine["cpu_us_per_transition"] / engine["floor_cpu_us_per_transition"], rel=0.01
    )
    assert engine["transitions_per_s"] > 0


def test_the_read_models_are_measured() -> None:
    figures = measured("projections", "--store", "sqlite")["projections"]
    assert set(figures) == {"sqlite", "replay"}
    assert figures["replay"]["events"] >= 1_000
    views = figures["sqlite"]
    assert views["catch_up"]["events_per_s"] > 0
    assert all(views["rebuild"][view]["events_per_s"] > 0 for view in ("status", "audit"))
    assert views["rebuild"]["status"]["reader"]["questions"] > 1
    kinds = set(views["queries"]) - {"sagas"}
    assert kinds >= {"status", "list", "list_page_20", "list_by_key"}
    for figure in (*(views["queries"][kind] for kind in kinds), views["lag"]):
        assert 0 < figure["p50_ms"] <= figure["p99_ms"]


@pytest.mark.requirement("R072", "R073")
def test_the_outbox_is_measured_polled_and_tailed() -> None:
    figures = measured("outbox")["outbox"]
    assert set(figures) == {"sqlite", "postgres"}
    assert set(figures["postgres"]) == {"polling", "tailing"}
    for figure in (*figures["sqlite"].values(), *figures["postgres"].values()):
        assert 0 < figure["p50_ms"] <= figure["p99_ms"]
        assert figure["events_per_s"] > 0


def test_the_whole_system_is_measured_beside_the_bare_pipe() -> None:
    figures = measured("system")
    assert set(figures) == {"machine", "system"}
    system = figures["system"]
    for name in (
        "sagas_per_s",
        "compensated_per_s",
        "p50_ms",
        "p99_ms",
        "cpu_ms_per_saga",
        "disk_bytes_per_saga",
        "floor_ratio",
        "start_up_s",
    ):
        assert system[name] > 0, name
    assert system["p50_ms"] <= system["p99_ms"]
    shares = system["in_flight_200"]["cpu_ms_per_saga_by_process"]
    assert set(shares) == {"manager", "participants", "broker"}
    assert system["syncing_broker"]["sagas_per_s"] > 0
    assert system["in_flight_1000"]["sagas_per_s"] > 0
    assert system["open_sagas"]["count"] == 10_000
    assert system["open_sagas"]["restart_s"] > 0


def test_a_table_has_one_line_a_figure() -> None:
    command = [sys.executable, "-m", "es_saga", "bench", "--seconds", SECONDS, "-o", "table"]
    done = subprocess.run(
        [*command, "engine", "--store", "sqlite"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert "engine.sqlite.cpu_us_per_transition" in done.stdout
