"""What is made of a definition that can be run, and what it can be asked."""

from __future__ import annotations

from datetime import timedelta

import pytest

from es_saga.core.after import START
from es_saga.core.compiled import StepKind
from es_saga.core.definition import Saga
from es_saga.core.errors import InvalidInput
from es_saga.core.messages import Command
from es_saga.core.policy import FOR_EVER, OnFailedUndo, Retry
from tests.core.sagas import Do, Done, Trip, add, chain, do, undo, with_pivot


class Silent(Command[None]):
    to = "desk"


def test_a_definition_is_made_once() -> None:
    saga = chain("a")
    assert saga.definition is saga.definition


@pytest.mark.requirement("R011", "R012", "R014", "R015")
def test_steps_have_names_kinds_timeouts_and_typed_replies() -> None:
    definition = with_pivot().definition
    assert {name: step.kind for name, step in definition.steps.items()} == {
        "hold": StepKind.COMPENSATABLE,
        "pay": StepKind.PIVOT,
        "ticket": StepKind.RETRIABLE,
        "mail": StepKind.RETRIABLE,
    }
    assert definition.pivot == "pay"
    assert chain("a").definition.pivot is None
    assert definition.steps["hold"].timeout == 30
    assert definition.steps["hold"].reply is Done
    assert definition.steps["hold"].retry == Retry()
    assert definition.steps["ticket"].retry == FOR_EVER
    undo = definition.steps["hold"].undo
    assert undo is not None
    assert undo.retry == FOR_EVER
    assert definition.on_failed_undo is OnFailedUndo.ESCALATE


@pytest.mark.requirement("R018")
def test_next_and_previous_steps_can_be_asked() -> None:
    saga = Saga("trip", Trip)
    add(saga, "flight", after=())
    add(saga, "room", after=())
    add(saga, "pay", after=("flight", "room"))
    definition = saga.definition
    assert definition.previous_steps("pay") == ("flight", "room")
    assert definition.previous_steps("flight") == ()
    assert definition.next_steps("flight") == ("pay",)
    assert definition.next_steps("pay") == ()


def test_predecessors_are_given_as_steps_names_or_both() -> None:
    saga = Saga("trip", Trip)
    first = saga.step(after=START)(do("a"))
    first.compensation(undo("a"))
    add(saga, "b", after=())
    saga.step(after=[first, "b"])(do("c")).compensation(undo("c"))
    saga.step(after=first)(do("d")).compensation(undo("d"))
    assert saga.definition.previous_steps("c") == ("a", "b")
    assert saga.definition.previous_steps("d") == ("a",)


def test_the_fingerprint_is_that_of_steps_kinds_edges_and_commands() -> None:
    fingerprint = chain("a", "b").definition.fingerprint
    assert len(fingerprint) == 16
    assert chain("a", "b").definition.fingerprint == fingerprint
    assert chain("b", "a").definition.fingerprint != fingerprint
    assert chain("a").definition.fingerprint != fingerprint
    retried = chain("a", "b", retry=Retry(attempts=1), deadline=timedelta(hours=1))
    assert retried.definition.fingerprint == fingerprint, "times may change"
    beside = Saga("trip", Trip)
    add(beside, "a")
    add(beside, "b", after=())
    assert beside.definition.fingerprint != fingerprint


def test_an_input_that_does_not_fit_is_refused_with_a_hint() -> None:
    definition = chain("a").definition
    assert definition.check_input({"who": "eve"}) == {"who": "eve"}
    assert definition.check_input(Trip(who="eve")) == {"who": "eve"}
    with pytest.raises(InvalidInput, match="does not fit Trip") as caught:
        definition.check_input({"whom": "eve"})
    assert "nothing was written" in caught.value.hint


def test_a_step_without_reply_takes_none() -> None:
    saga = Saga("trip", Trip)

    @saga.pivot
    def a(trip: Trip) -> Silent:
        raise NotImplementedError

    step = saga.definition.steps["a"]
    assert step.check_reply(None) is None
    assert step.check_reply({}) is None
    with pytest.raises(InvalidInput, match="answers with nothing"):
        step.check_reply({"by": "x"})


def test_a_step_is_still_the_function_it_decorates() -> None:
    step = add(Saga("trip", Trip), "a")
    assert step(Trip(who="eve")) == Do(step="a", who="eve")
    assert repr(Saga("trip", Trip)) == "Saga('trip', version=1)"
    assert repr(START) == "START"


def test_a_reply_that_does_not_fit_is_refused_without_its_values() -> None:
    saga = chain("a")
    step = saga.definition.steps["a"]
    with pytest.raises(InvalidInput, match=r"the reply is no Done: by: .*string") as caught:
        step.check_reply({"by": 4_111_111})
    assert "4111111" not in str(caught.value)
