"""`es-saga check` plays the handlers of an app, and asks the invariant beside it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def check(app: str, tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "es_saga", "check", app, "--examples", "40", "-o", "json"]
    return subprocess.run(
        [*command, *options],
        cwd=REPOSITORY,
        env={"ES_SAGA_DATA": str(tmp_path), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def test_a_bug_of_a_handler_is_found_by_the_invariant_beside_the_app(tmp_path: Path) -> None:
    found = check("tests.testing.wrong_stall:app", tmp_path)
    assert found.returncode == 6, found.stderr
    assert "invariant (): nothing_is_lost: of 10 pieces there are 11" in found.stderr
    assert "DID saga-" in found.stderr
    assert [row["ok"] for row in json.loads(found.stdout)] == [False]


def test_it_says_whose_handlers_were_played(tmp_path: Path) -> None:
    found = check("domain.credit:app", tmp_path)
    assert found.returncode == 0, found.stderr
    (row,) = json.loads(found.stdout)
    assert row["played"] == ["credit", "merchant"]
    assert row["fates"]["completed"] > 10


def test_the_versions_of_an_app_are_upgrades(tmp_path: Path) -> None:
    found = check("tests.testing.swapped:upgraded", tmp_path, "--examples", "5")
    assert found.returncode == 0, found.stderr
    rows = json.loads(found.stdout)
    assert [(row["version"], row["earlier"]) for row in rows] == [(1, []), (2, [1])]


def test_it_plays_who_prepares_transactions_too(tmp_path: Path) -> None:
    found = check("domain.checkout.two_phase:app", tmp_path, "--examples", "10")
    assert found.returncode == 0, found.stderr
    (row,) = json.loads(found.stdout)
    assert row["played"] == ["box_office", "bank"]
    assert row["fates"].keys() >= {"completed", "compensated"}
    assert ["side by side" in warning for warning in row["warnings"]] == [True]


def test_it_says_where_no_saga_completed_since_handlers_do_not_know_the_inputs(
    tmp_path: Path,
) -> None:
    found = check("tests.testing.wrong_stall:shut", tmp_path)
    assert found.returncode == 0, found.stderr
    assert "No saga completed." in found.stderr
    assert 'Field(examples=["teapot"])' in " ".join(found.stderr.split())


def test_an_input_that_no_handler_expects_may_be_excluded_by_its_model(tmp_path: Path) -> None:
    found = check("tests.testing.wrong_stall:choosy", tmp_path)
    assert found.returncode == 6, found.stderr
    assert "stock, asked to Reserve: ValueError" in found.stderr
    assert "let its model say so: Field(min_length=1, le=…)." in " ".join(found.stderr.split())


def test_models_answer_instead_where_that_is_asked_for(tmp_path: Path) -> None:
    found = check("tests.testing.wrong_stall:app", tmp_path, "--models")
    assert found.returncode == 0, found.stderr
    (row,) = json.loads(found.stdout)
    assert row["played"] == []


def test_it_warns_of_a_step_before_the_pivot_that_others_must_not_see(tmp_path: Path) -> None:
    found = check("tests.participant.countermeasures:app", tmp_path)
    assert found.returncode == 0, found.stderr
    (row,) = json.loads(found.stdout)
    assert ["it can be spent" in warning for warning in row["warnings"]] == [True]
    assert "'enlarge'" in found.stderr
