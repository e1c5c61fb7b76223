"""The operator's verbs, each on a saga that really is stuck."""

from __future__ import annotations

import itertools
import json

import pytest

from tests.cli.conftest import Cli, Running

_numbers = itertools.count(1)


@pytest.fixture
def stuck(cli: Cli, bakery: Running) -> str:
    """The id of a saga whose cake is paid for and was refused by the oven."""
    (bakery.data / "open").unlink(missing_ok=True)
    key = f"c{next(_numbers)}"
    words = ("start", "cake", "--key", key, "--wait", "-i", json.dumps({"name": key}))
    started = cli(*words, data=bakery.data)
    assert started.code == 1, started.err
    assert started.err.startswith("stuck")
    return started.out.strip()


def ends(cli: Cli, bakery: Running, saga_id: str) -> str:
    waited = cli("wait", saga_id, "--timeout", "20", "-o", "json", data=bakery.data)
    return str(waited.json()["status"])


def test_what_is_stuck_is_listed_and_status_says_what_to_do(
    cli: Cli, bakery: Running, stuck: str
) -> None:
    words = ("list", "--status", "stuck", "--since", "1h", "-o", "json")
    listed = cli(*words, data=bakery.data)
    shown = cli("status", stuck, data=bakery.data)

    assert stuck in {row["saga_id"] for row in listed.json()}
    assert "needs a human" in shown.err


def test_retry_goes_on_once_the_cause_is_gone(cli: Cli, bakery: Running, stuck: str) -> None:
    (bakery.data / "open").touch()

    asked = cli("retry", stuck, "--reason", "open again", "--actor", "eve", data=bakery.data)

    assert asked.code == 0
    assert ends(cli, bakery, stuck) == "completed"
    events = cli("history", stuck, "-o", "json", data=bakery.data).json()
    (retried,) = [event for event in events if event["kind"] == "OperatorRetried"]
    assert (retried["actor"], retried["payload"]["reason"]) == ("eve", "open again")


def test_skip_waives_a_step_after_the_pivot(cli: Cli, bakery: Running, stuck: str) -> None:
    asked = cli("skip", stuck, "--step", "bake", "--reason", "bought one", data=bakery.data)

    assert asked.code == 0
    assert ends(cli, bakery, stuck) == "completed"


def test_resolve_says_what_became_of_it(cli: Cli, bakery: Running, stuck: str) -> None:
    words = ("resolve", stuck, "--step", "bake", "--reason", "asked")
    unfit = cli(*words, "--reply", '{"weight": "heavy"}', data=bakery.data)
    asked = cli(*words, "--reply", '{"weight": 700}', data=bakery.data)

    assert unfit.code == 2
    assert asked.code == 0
    assert ends(cli, bakery, stuck) == "completed"
    status = cli("status", stuck, "-o", "json", data=bakery.data).json()
    assert status["steps"]["bake"]["reply"] == {"weight": 700}


def test_a_verb_that_does_not_fit_changes_nothing(cli: Cli, bakery: Running, stuck: str) -> None:
    def version() -> int:
        return int(cli("status", stuck, "-o", "json", data=bakery.data).json()["version"])

    before = version()
    no_step = cli("skip", stuck, "--step", "nope", "--reason", "r", data=bakery.data)
    not_skippable = cli("skip", stuck, "--step", "pay", "--reason", "r", data=bakery.data)
    words = ("resolve", stuck, "--step", "bake", "--outcome", "refused", "--reason", "r")
    not_refusable = cli(*words, data=bakery.data)

    assert no_step.code == 3
    assert (not_skippable.code, not_refusable.code) == (4, 4)
    assert version() == before
