"""durable-workflow's conformance of sagas: a trip of flight, hotel, card and confirmation mail.

Its steps A, B, C, D are `flight`, `hotel`, `card` and `mail` here.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from es_saga import Terminal
from es_saga.core.events import CompensationFailed
from es_saga.testing import Scene, Story
from es_saga.testing.faults import Fault, Kind
from es_saga.testing.outcome import Outcome
from tests.core.sagas import TWICE, Undo, chain
from tests.foreign.desk import Trouble, conduct, desk
from tests.foreign.log import Log
from tests.foreign.path import SAGA_ID, No, simulate, tell
from tests.foreign.scenarios import COMPENSATED, COMPLETED, STUCK, Scenario, Table

TRIP = chain("flight", "hotel", "card", "mail", undo_retry=TWICE)
_OTHER_LANGUAGES = "participants here are Python; what others need is the message contract"

TABLE = Table(
    "durable-workflow/durable-workflow.github.io,"
    " static/platform-conformance/saga-runtime-scenarios.json, 144db7623a44",
    Scenario(
        "published_artifact_install_only",
        "Everything under test was installed from where it is published.",
        "the versions are on record",
        missing="it is about a way of testing, not about sagas",
    ),
    Scenario(
        "forward_success_path",
        "All four steps succeed.",
        COMPLETED,
        TRIP,
        "flight hotel card mail",
    ),
    Scenario(
        "failure_at_d_reverse_compensation",
        "The last step fails until its attempts are spent.",
        COMPENSATED,
        TRIP,
        "flight hotel card mail~ mail~ mail~ -card -hotel -flight",
    ),
    Scenario(
        "failure_at_c_reverse_compensation",
        "The third step fails, and the fourth is never asked for.",
        COMPENSATED,
        TRIP,
        "flight hotel card~ card~ card~ -hotel -flight",
    ),
    Scenario(
        "failure_at_a_no_compensation",
        "The first step fails: nothing was done, and nothing is undone.",
        COMPENSATED,
        TRIP,
        "flight~ flight~ flight~",
    ),
    Scenario(
        "compensation_retry_idempotence",
        "The hotel's undo fails after it has written; it is asked again, and acts once.",
        COMPENSATED,
    ),
    Scenario(
        "compensation_failure_visibility",
        "The flight's undo fails until its attempts are spent, and people can see it.",
        STUCK,
        ours="it is not over: a human repairs the undo, and then it can still end compensated",
    ),
    Scenario(
        "mid_compensation_worker_restart",
        "Whoever handles the undo of the hotel is killed while at it.",
        COMPENSATED,
    ),
    Scenario(
        "php_workflow_python_compensation",
        "The saga is written in PHP, its undos in Python.",
        COMPENSATED,
        missing=_OTHER_LANGUAGES,
    ),
    Scenario(
        "python_workflow_php_compensation",
        "The saga is written in Python, its undos in PHP.",
        COMPENSATED,
        missing=_OTHER_LANGUAGES,
    ),
    Scenario(
        "typed_compensation_error_round_trip",
        "An undo raises an exception of its own class.",
        "class, text and step stand in the log and in the view",
    ),
    Scenario(
        "operator_visible_mid_compensation_status",
        "An operator looks while the trip is being undone.",
        "undos that are done, running, failing and still to come can be told apart",
    ),
)


@pytest.mark.requirement("R028", "R034")
@TABLE.plays("compensation_retry_idempotence")
def test_an_undo_that_fails_after_it_wrote_is_asked_again_and_acts_once(tmp_path: Path) -> Story:
    trouble: Trouble = {"card/1": No(), "-hotel/1": ConnectionError("the hotel hung up")}
    with desk(tmp_path, trouble) as open_desk:
        story = conduct(TRIP, open_desk)
        assert open_desk.acts == ["flight", "hotel", "-hotel", "-flight"]
    (failed,) = (event for event in story.history if isinstance(event, CompensationFailed))
    assert (failed.step, failed.error) == ("hotel", "ConnectionError")
    assert failed.retry_at is not None, "that it was tried again stands in the history"
    return story


@pytest.mark.requirement("R040", "D09")
@TABLE.plays("compensation_failure_visibility")
def test_a_failed_undo_is_no_success_and_says_which_and_why(tmp_path: Path) -> Outcome:
    outcome = simulate(TRIP, "flight hotel card! -hotel -flight~ -flight~")
    (alert,) = (alert for alert in outcome.alerts if alert.kind == "stuck")
    assert (alert.step, alert.opened) == ("flight", True)
    log = Log(tmp_path)
    log.write(outcome.stories[0])
    row = log.look()
    assert (row.status, row.closed) == ("stuck", None)
    assert row.steps["flight"]["undo"]["status"] == "failed"
    assert row.steps["flight"]["undo"]["error"] == "Unavailable"
    return outcome


@pytest.mark.requirement("R041")
@TABLE.plays("mid_compensation_worker_restart")
@pytest.mark.parametrize(
    "death",
    [
        pytest.param(Fault(Kind.DIES_ON_RECEIPT, f"{SAGA_ID}/hotel/undo/1", 5.0), id="before it"),
        pytest.param(Fault(Kind.DIES_BEFORE_PUBLISH, f"{SAGA_ID}/hotel/undo/1/r", 5.0), id="after"),
        pytest.param(Fault(Kind.DIES_AFTER_APPEND, f"{SAGA_ID}#9", 5.0), id="the manager"),
    ],
)
def test_a_death_amid_undos_skips_none_and_repeats_none(death: Fault) -> Outcome:
    return simulate(TRIP, "flight hotel card! -hotel -flight", death)


class SeatLost(Terminal):
    """The seat cannot be given back."""


@TABLE.plays("typed_compensation_error_round_trip")
def test_an_error_keeps_its_class_and_text_from_the_participant_to_the_view(
    tmp_path: Path,
) -> None:
    with desk(tmp_path, {"card/1": No(), "-flight/1": SeatLost("row 7 is gone")}) as open_desk:
        log = Log(tmp_path)
        log.write(conduct(TRIP, open_desk))
    (failed,) = (event for event in log.read() if isinstance(event, CompensationFailed))
    assert (failed.step, failed.error, failed.detail) == ("flight", "SeatLost", "row 7 is gone")
    row = log.look()
    assert row.reason == "No", "why it was undone is another matter"
    assert row.steps["flight"]["undo"]["error"] == "SeatLost"


@pytest.mark.requirement("R055", "R061")
@TABLE.plays("operator_visible_mid_compensation_status")
@pytest.mark.parametrize(("sent_again", "hotel"), [(False, "backoff"), (True, "started")])
def test_an_operator_sees_how_far_the_undos_are(
    sent_again: bool, hotel: str, tmp_path: Path
) -> None:
    undoing: Scene = tell(TRIP, "flight hotel card mail! -card -hotel~")
    log = Log(tmp_path)
    log.write((undoing.expect(Undo) if sent_again else undoing).story)
    row = log.look()
    assert (row.status, row.current, row.reason_step) == ("compensating", ("hotel",), "mail")
    done = {name for name, step in row.steps.items() if step["status"] == "succeeded"}
    undos = {name: row.steps[name].get("undo", {}).get("status") for name in done}
    assert undos == {"card": "succeeded", "hotel": hotel, "flight": None}
