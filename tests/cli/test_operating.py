"""The operator's verbs, each on sagas that really are stuck, wait, or are in flight."""

from __future__ import annotations

import itertools
import json
import os
import pty
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.cli.conftest import CHILD_SECONDS, REPOSITORY, Cli, Result, Running, environment

_numbers = itertools.count(1)

SOON_SECONDS = 20.0


def begun(cli: Cli, bakery: Running, saga_type: str, step: str, status: str) -> str:
    """The id of a new saga, once a step of it stands so."""
    key = f"k{next(_numbers)}"
    words = ("start", saga_type, "--key", key, "-i", json.dumps({"name": key}))
    saga_id = cli(*words, data=bakery.data).out.strip()
    end = time.monotonic() + SOON_SECONDS
    while shown(cli, bakery, saga_id)["steps"].get(step, {}).get("status") != status:
        assert time.monotonic() < end, shown(cli, bakery, saga_id)
        time.sleep(0.02)
    return saga_id


def shown(cli: Cli, bakery: Running, saga_id: str) -> Any:
    """Where it stands; nothing yet, where the view has not heard of it."""
    found = cli("status", saga_id, "-o", "json", data=bakery.data)
    return found.json() if found.code == 0 else {"steps": {}, "version": 0}


def kinds(cli: Cli, bakery: Running, saga_id: str) -> list[str]:
    events = cli("history", saga_id, "-o", "json", data=bakery.data).json()
    return [event["kind"] for event in events]


Begin = Callable[[], str]


@pytest.fixture
def baking(cli: Cli, bakery: Running) -> Begin:
    """Begins a bread that waits an hour for its flour."""
    (bakery.data / "flour").unlink(missing_ok=True)
    return lambda: begun(cli, bakery, "bread", "flour", "backoff")


@pytest.fixture
def sweetening(cli: Cli, bakery: Running) -> Begin:
    """Begins sweets whose sugar is in flight."""
    return lambda: begun(cli, bakery, "sweets", "sugar", "started")


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


def test_status_says_that_nobody_serves_what_a_saga_waits_for(
    cli: Cli, bakery: Running, sweetening: Begin, baking: Begin
) -> None:
    sweets, bread = sweetening(), baking()

    shown = cli("status", sweets, data=bakery.data)
    served = cli("status", bread, data=bakery.data)

    assert "for sugar (sugar): nobody serves it" in shown.out
    assert "for bakery (flour)\n" in served.out
    assert cli("status", sweets, "-o", "json", data=bakery.data).json()["unserved"] == ["sugar"]


def test_status_needs_no_broker(
    cli: Cli, bakery: Running, sweetening: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweets = sweetening()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for port in (1, silent.getsockname()[1]):
            monkeypatch.setenv("ES_SAGA_NATS", f"nats://127.0.0.1:{port}")
            monkeypatch.setenv("ES_SAGA_APP", "bakery")
            found = cli("status", sweets, "-o", "json", data=bakery.data)

            assert (found.code, found.err) == (0, "")
            assert (found.json()["asked"], found.json()["unserved"]) == ({"sugar": "sugar"}, None)


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


# ── turned back, resumed, resent ─────────────────────────────────────────────────────────────────


def test_compensate_has_a_saga_undone(cli: Cli, bakery: Running, baking: Begin) -> None:
    bread = baking()

    asked = cli("compensate", bread, "--reason", "no flour for weeks", data=bakery.data)

    assert asked.code == 0, asked.err
    assert ends(cli, bakery, bread) == "compensated"
    assert kinds(cli, bakery, bread)[-3:] == [
        "OperatorCompensated",
        "CompensationStarted",
        "SagaCompensated",
    ]


def test_from_the_pivot_on_compensate_is_refused_and_says_why(
    cli: Cli, bakery: Running, stuck: str
) -> None:
    before = kinds(cli, bakery, stuck)

    asked = cli("compensate", stuck, "--reason", "r", data=bakery.data)

    assert asked.code == 4
    assert "the pivot pay has succeeded" in asked.err
    assert kinds(cli, bakery, stuck) == before


@pytest.mark.requirement("R029")
def test_resume_does_not_wait_for_the_next_attempt(
    cli: Cli, bakery: Running, baking: Begin
) -> None:
    bread = baking()
    (bakery.data / "flour").touch()

    asked = cli("resume", bread, "--step", "flour", "--reason", "flour came", data=bakery.data)

    assert asked.code == 0, asked.err
    assert ends(cli, bakery, bread) == "completed"
    again = cli("resume", bread, "--reason", "r", data=bakery.data)
    assert (again.code, "it is closed" in again.err) == (4, True)


@pytest.mark.requirement("R029")
def test_resend_asks_again_as_another_attempt(cli: Cli, bakery: Running, sweetening: Begin) -> None:
    sweets = sweetening()

    asked = cli("resend", sweets, "--reason", "they lost it", data=bakery.data)

    assert asked.code == 0, asked.err
    assert kinds(cli, bakery, sweets)[-2:] == ["OperatorResent", "StepRetried"]
    nothing_waits = cli("resume", sweets, "--reason", "r", data=bakery.data)
    assert nothing_waits.code == 4
    assert "es-saga resend" in nothing_waits.err


# ── tried out, and for one version ───────────────────────────────────────────────────────────────


def test_a_dry_run_shows_what_would_happen_and_does_nothing(
    cli: Cli, bakery: Running, stuck: str
) -> None:
    before = kinds(cli, bakery, stuck)
    words = ("retry", stuck, "--reason", "just a look", "--dry-run")

    table = cli(*words, data=bakery.data)
    shown = cli(*words, "-o", "json", data=bakery.data).json()

    assert table.code == 0
    for told in ("OperatorRetried", "just a look", "StepRetried", "Bake", "/bake/do-2/2"):
        assert told in table.out
    assert "nothing was done" in table.err
    assert [event["topic"] for event in shown["events"]] == ["OperatorRetried", "StepRetried"]
    assert [(one["type"], one["attempt"]) for one in shown["commands"]] == [("Bake", 2)]
    assert shown["version"] == len(before)
    assert kinds(cli, bakery, stuck) == before


@pytest.mark.requirement("R059")
def test_a_saga_that_has_moved_on_is_left_alone(
    cli: Cli, bakery: Running, sweetening: Begin
) -> None:
    sweets = sweetening()
    version = shown(cli, bakery, sweets)["version"]
    words = ("resend", sweets, "--reason", "r", "--expect-version", str(version))

    first, second = cli(*words, data=bakery.data), cli(*words, data=bakery.data)

    assert (first.code, second.code) == (0, 4)
    assert f"at version {version + 2}, not {version}" in second.err
    assert kinds(cli, bakery, sweets).count("OperatorResent") == 1


def test_under_one_name_it_is_done_once(cli: Cli, bakery: Running, sweetening: Begin) -> None:
    sweets = sweetening()
    words = ("resend", sweets, "--reason", "r", "--operation", "shift-7")

    assert [cli(*words, data=bakery.data).code for _ in range(2)] == [0, 0]

    assert kinds(cli, bakery, sweets).count("OperatorResent") == 1


def test_a_cancel_that_comes_too_late_is_recorded_and_says_so(
    cli: Cli, bakery: Running, stuck: str
) -> None:
    told = cli("cancel", stuck, "--reason", "too late", data=bakery.data)

    assert told.code == 4
    assert "It was not cancelled: the pivot pay has succeeded" in told.err
    assert "OperatorCancelled" in kinds(cli, bakery, stuck)


# ── several at once ──────────────────────────────────────────────────────────────────────────────


def test_several_are_named_and_each_is_told_of(
    cli: Cli, bakery: Running, sweetening: Begin
) -> None:
    one, two = sweetening(), sweetening()
    words = ("cancel", one, "nobody", two, "--reason", "closing down")

    told = cli(*words, "-o", "jsonl", data=bakery.data)

    assert told.code == 4, told.err
    lines = [json.loads(line) for line in told.out.splitlines()]
    assert [(line["saga_id"], line["ok"], line.get("code")) for line in lines] == [
        (one, True, None),
        ("nobody", False, "not-found"),
        (two, True, None),
    ]
    assert lines[0]["saga"]["status"] == "compensating"
    assert "2 of 3 done" in told.err
    table = cli("cancel", one, "nobody", "--reason", "r", data=bakery.data)
    assert table.code == 4
    assert "compensated already" in table.out
    assert "There is no saga 'nobody'" in table.out


def test_if_all_are_done_it_exits_with_0(cli: Cli, bakery: Running, sweetening: Begin) -> None:
    one, two = sweetening(), sweetening()

    told = cli("resend", one, two, "--reason", "r", "--dry-run", data=bakery.data)

    assert told.code == 0
    assert told.out.count("OperatorResent, StepRetried") == 2
    assert "2 of 2 would be done" in told.err
    assert "OperatorResent" not in kinds(cli, bakery, one)


def test_all_that_fit_are_found(cli: Cli, bakery: Running, baking: Begin) -> None:
    bread, other = baking(), baking()
    fit = ("--query", "--type", "bread", "--step", "flour", "--since", "1h")
    (bakery.data / "flour").touch()

    nobody_there = cli("resume", *fit, "--reason", "flour came", data=bakery.data)
    told = cli("resume", *fit, "--reason", "flour came", "--yes", "-o", "json", data=bakery.data)

    assert (nobody_there.code, "say --yes" in nobody_there.err) == (2, True)
    assert told.code == 0, told.err
    assert {bread, other} <= {line["saga_id"] for line in told.json()}
    assert {ends(cli, bakery, saga_id) for saga_id in (bread, other)} == {"completed"}
    nothing_left = cli("resume", *fit, "--reason", "r", "--yes", data=bakery.data)
    assert (nothing_left.code, nothing_left.out) == (0, "")
    assert "no sagas" in nothing_left.err


def test_the_stuck_are_found_by_their_reason(cli: Cli, bakery: Running, stuck: str) -> None:
    fit = ("--query", "--status", "stuck", "--type", "cake", "--key", stuck.removeprefix("cake-"))
    words = ("retry", *fit, "--reason", "r", "--dry-run", "-o", "json")

    found = cli(*words, "--reason-like", "closed", data=bakery.data)
    missed = cli(*words, "--reason-like", "on fire", data=bakery.data)

    assert [line["saga_id"] for line in found.json()] == [stuck]
    assert "no sagas" in missed.err


def on_a_terminal(answer: str, *words: str, data: str) -> Result:
    """A command whose questions somebody answers."""
    ours, its = pty.openpty()
    try:
        os.write(ours, answer.encode())
        done = subprocess.run(
            [sys.executable, "-m", "es_saga", *words, "--data", data],
            stdin=its,
            capture_output=True,
            text=True,
            cwd=REPOSITORY,
            env=environment(),
            timeout=CHILD_SECONDS,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(its)
    return Result(done.returncode, done.stdout, done.stderr)


def test_on_a_terminal_it_asks_first(cli: Cli, bakery: Running, sweetening: Begin) -> None:
    sweets = sweetening()
    words = ("cancel", "--query", "--type", "sweets", "--key", sweets.removeprefix("sweets-"))
    said = (*words, "--reason", "r")

    no = on_a_terminal("n\n", *said, data=str(bakery.data))
    before = kinds(cli, bakery, sweets)
    yes = on_a_terminal("y\n", *said, data=str(bakery.data))

    assert no.code == 1
    assert sweets in no.err
    assert "cancel 1 saga?" in no.err
    assert "nothing was done" in no.err
    assert "OperatorCancelled" not in before
    assert yes.code == 0, yes.err
    assert "OperatorCancelled" in kinds(cli, bakery, sweets)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("cancel",), "one of the two"),
        (("cancel", "x", "--query", "--type", "cake"), "one of the two"),
        (("cancel", "x", "--type", "cake"), "with --query only"),
        (("cancel", "x", "--step", "bake"), "concerns the whole saga"),
        (("cancel", "--query"), "every saga there is"),
        (("cancel", "x", "y", "--expect-version", "3"), "several sagas"),
        (("cancel", "--query", "--type", "cake", "--since", "soon"), "no span of time"),
        (("skip", "x", "y"), "--step"),
        (("resolve", "x", "y"), "resolve needs to know the step"),
        (("cancel", "x", "--operation", "a b"), "operation"),
        (("cancel", "no id"), "cannot be a saga id"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(
    cli: Cli, bakery: Running, words: tuple[str, ...], said: str
) -> None:
    refused = cli(*words, "--reason", "r", data=bakery.data)

    assert refused.code == 2, refused.err
    assert refused.out == ""
    assert said in refused.err


def test_every_verb_wants_a_reason_and_takes_the_actor_from_the_settings(
    cli: Cli, bakery: Running, sweetening: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweets = sweetening()
    for verb in ("cancel", "compensate", "retry", "resume", "resend", "skip", "resolve"):
        silent = cli(verb, sweets, data=bakery.data)
        assert (silent.code, "--reason" in silent.err) == (2, True), verb
        step = ("--step", "sugar") if verb in ("skip", "resolve") else ()
        blank = cli(verb, sweets, *step, "--reason", " ", data=bakery.data)
        assert (blank.code, "who intervenes and why" in blank.err) == (2, True), verb
    monkeypatch.setenv("ES_SAGA_ACTOR", "mallory")
    cli("resend", sweets, "--reason", "r", data=bakery.data)
    events = cli("history", sweets, "-o", "json", data=bakery.data).json()
    assert [event["actor"] for event in events if event["actor"]] == ["mallory"]
    assert cli("cancel", "nobody", "--reason", "r", data=bakery.data).code == 3


# ── messages from outside ────────────────────────────────────────────────────────────────────────


@pytest.mark.requirement("R009")
def test_a_saga_that_waits_is_told_by_signal(cli: Cli, bakery: Running) -> None:
    saga_id = begun(cli, bakery, "pastry", "recipe", "started")
    assert shown(cli, bakery, saga_id)["status"] == "waiting"

    unheard = cli("signal", saga_id, "Weather", data=bakery.data)
    assert (unheard.code, "It waits for Recipe" in unheard.err) == (3, True)
    unfit = cli("signal", saga_id, "Recipe", "-i", '{"text": 7}', data=bakery.data)
    assert unfit.code == 2, unfit.err
    told = cli("signal", saga_id, "Recipe", "-i", '{"text": "flour"}', data=bakery.data)
    assert told.code == 0, told.err
    ended = cli("wait", saga_id, "--timeout", "20", data=bakery.data)
    assert ended.code == 0, ended.err
    assert "SignalReceived" in kinds(cli, bakery, saga_id)
    late = cli("signal", saga_id, "Recipe", "-i", '{"text": "flour"}', data=bakery.data)
    assert late.code == 0, "the same message again changes nothing"
