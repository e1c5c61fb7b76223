"""On the way forward: order, parallel branches, joins, and what later steps are given."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from es_saga.core.after import START
from es_saga.core.compiled import Definition
from es_saga.core.decide import decide, react
from es_saga.core.definition import Saga
from es_saga.core.errors import ConflictError, InvalidInput, NotFound
from es_saga.core.events import SagaCompleted, SagaEvent, SagaStarted, StepStarted
from es_saga.core.inputs import Start, Tick
from es_saga.core.messages import Direction, Message, Outcome
from es_saga.core.state import SagaStatus, WorkStatus
from es_saga.core.step import of
from es_saga.testing.stage import NOON
from tests.core.sagas import Do, Done, Trip, add, beside, chain, do, with_pivot
from tests.core.scene import play


@pytest.mark.requirement("R001", "R010", "R014", "R100")
def test_steps_run_one_after_the_other() -> None:
    scene = play(chain("a", "b", "c"))
    assert scene.sent == ["a/do"]
    scene.succeed("a")
    assert scene.sent == ["a/do", "b/do"]
    scene.succeed("b")
    scene.succeed("c")
    assert scene.status is SagaStatus.COMPLETED
    assert scene.names == [
        "SagaStarted",
        "StepStarted",
        "StepSucceeded",
        "StepStarted",
        "StepSucceeded",
        "StepStarted",
        "StepSucceeded",
        "SagaCompleted",
    ]


def test_steps_after_start_run_beside_each_other_and_a_join_waits_for_all() -> None:
    scene = play(beside())
    assert scene.sent == ["flight/do", "room/do", "car/do"]
    scene.succeed("car")
    scene.succeed("flight")
    assert scene.state.current == ("room",)
    scene.succeed("room")
    assert scene.sent[3:] == ["pay/do"]


@pytest.mark.requirement("R013", "R035", "R036")
def test_a_step_is_given_the_input_and_the_replies_of_earlier_steps() -> None:
    saga = chain("a", "b")

    @saga.pivot
    def pay(trip: Trip, first: Done = of(saga.steps[0])) -> Do:
        return Do(step=f"pay after {first.by}", who=trip.who)

    scene = play(saga, who="eve")
    scene.succeed("a")
    scene.succeed("b")
    assert scene.last(StepStarted).command == {"step": "pay after a-desk", "who": "eve"}


def test_a_check_may_refuse_and_owes_nothing() -> None:
    saga = Saga("trip", Trip)
    add(saga, "hold")
    saga.check(do("look"))
    scene = play(saga)
    scene.succeed("hold")
    scene.refuse("look")
    scene.undone("hold")
    assert scene.status is SagaStatus.COMPENSATED
    assert scene.sent == ["hold/do", "look/do", "hold/undo"]


def test_a_single_check_completes_a_saga() -> None:
    saga = Saga("trip", Trip)
    saga.check(after=START)(do("look"))
    scene = play(saga)
    scene.succeed("look")
    assert scene.status is SagaStatus.COMPLETED


@pytest.mark.requirement("R020", "R023", "R024")
def test_the_start_says_which_saga_of_which_type_and_version_it_is() -> None:
    saga = chain("a")
    scene = play(saga, who="eve")
    started = scene.last(SagaStarted)
    assert (started.saga_type, started.definition) == ("trip", 1)
    assert started.fingerprint == saga.definition.fingerprint
    assert started.data == {"who": "eve"}
    assert scene.state.saga_id == "s-1"
    assert scene.last(StepStarted).command_id == "s-1/a/do"


def test_the_same_start_again_is_silent() -> None:
    scene = play(chain("a"), who="eve")
    assert scene.feed(Start("s-1", {"who": "eve"}, message_id="again")) == []


def test_a_start_with_another_input_conflicts() -> None:
    scene = play(chain("a"), who="eve")
    with pytest.raises(ConflictError, match="another input"):
        scene.feed(Start("s-1", {"who": "bob"}))


class Outing(Trip):
    """What a newer version takes."""

    days: int = 1


class Flight(Message):
    seat: str


@pytest.mark.law("L51")
def test_a_start_again_is_the_same_where_a_newer_version_reads_its_input_as_the_same() -> None:
    state = play(chain("a"), who="eve").state
    newer = replace(chain("a").definition, version=2, data=Outing)

    def again(definition: Definition, **data: object) -> list[SagaEvent]:
        return decide(definition, state, Start("s-1", definition.check_input(data)), NOON)

    assert again(newer, who="eve") == []
    with pytest.raises(ConflictError, match="another input"):
        again(newer, who="eve", days=2)
    with pytest.raises(ConflictError, match="another input"):
        again(replace(newer, data=Flight), seat="1a")
    with pytest.raises(ConflictError, match="another input"):
        again(replace(chain("a").definition, name="another"), who="eve")


def test_nothing_but_a_start_reaches_a_saga_that_is_not_there() -> None:
    with pytest.raises(NotFound):
        decide(chain("a").definition, None, Tick(), NOON)


@pytest.mark.requirement("R012", "R049")
def test_a_step_that_says_nothing_else_waits_30_seconds() -> None:
    assert play(chain("a")).last(StepStarted).due == NOON + 30


def test_a_reply_that_does_not_fit_its_model_is_refused_and_changes_nothing() -> None:
    scene = play(chain("a"))
    before = scene.state
    with pytest.raises(InvalidInput, match="no Done"):
        scene.reply("a", Outcome.SUCCEEDED, "Done", {"from": "a"})
    assert scene.state == before


def test_a_reply_where_none_is_promised_is_refused() -> None:
    scene = play(chain("a", "b"))
    scene.succeed("a")
    scene.refuse("b")
    undo = scene.definition.steps["a"].undo
    assert undo is not None
    scene.reply("a", Outcome.SUCCEEDED, "Done", {"odd": 1}, direction=Direction.UNDO)
    assert scene.status is SagaStatus.COMPENSATED, "what an undo answers is not looked at"


def test_the_state_after_the_events_comes_with_them() -> None:
    definition = chain("a").definition
    events, state = react(definition, None, Start("s-1", {"who": "ann"}), NOON)
    assert state is not None
    assert state.version == len(events) == 2
    assert state.steps["a"].do.status is WorkStatus.STARTED
    assert state.updated == NOON


def test_a_completed_saga_has_nothing_due_and_nothing_current() -> None:
    scene = play(chain("a", deadline=timedelta(hours=1)))
    assert scene.state.current == ("a",)
    scene.succeed("a")
    assert scene.last(SagaCompleted).at == NOON
    assert scene.state.closed == NOON
    assert scene.state.next_due is None
    assert not scene.state.current
    assert scene.wait(10_000) == []


def test_what_follows_the_pivot_starts_after_it() -> None:
    scene = play(with_pivot())
    scene.succeed("hold")
    scene.succeed("pay")
    scene.succeed("ticket")
    assert scene.sent == ["hold/do", "pay/do", "ticket/do", "mail/do"]
    scene.succeed("mail")
    assert scene.status is SagaStatus.COMPLETED
