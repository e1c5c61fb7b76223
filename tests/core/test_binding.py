"""Which replies a step's functions are given, and what is said where that cannot be settled."""

from __future__ import annotations

import pytest

from es_saga.core.after import START
from es_saga.core.definition import Saga
from es_saga.core.errors import DefinitionError, InvalidInput
from es_saga.core.events import CompensationIssued, StepStarted
from es_saga.core.messages import Command, Message, Outcome
from es_saga.core.step import of
from tests.core.sagas import Do, Done, Trip, Undo, add, do
from tests.core.scene import play


class Sum(Message):
    pence: int


class Price(Command[Sum]):
    to = "desk"


class Guest(Message):
    name: str


class Party(Message):
    guest: Guest


def faults_of(saga: Saga[Trip]) -> tuple[str, ...]:
    with pytest.raises(DefinitionError) as caught:
        _ = saga.definition
    return caught.value.faults


def test_an_undo_is_given_earlier_replies_too() -> None:
    saga = Saga("trip", Trip)
    add(saga, "a")

    @saga.step
    def b(trip: Trip) -> Price:
        return Price()

    @b.compensation
    def undo_b(trip: Trip, own: Sum | None, first: Done) -> Undo:
        return Undo(step=f"b for {own.pence if own else 0}", by=first.by)

    add(saga, "c")
    scene = play(saga)
    scene.succeed("a")
    scene.reply("b", Outcome.SUCCEEDED, "Sum", {"pence": 7})
    scene.refuse("c")
    assert scene.last(CompensationIssued).command == {"step": "b for 7", "by": "a-desk"}


def test_several_replies_may_be_named() -> None:
    saga = Saga("trip", Trip)
    a, b = add(saga, "a"), add(saga, "b", after=())

    @saga.pivot(after=(a, b))
    def c(trip: Trip, first: Done = of(a), second: Done = of(b)) -> Do:
        return Do(step="c", who=f"{first.by} and {second.by}")

    scene = play(saga)
    scene.succeed("a")
    scene.succeed("b")
    assert scene.last(StepStarted).command == {"step": "c", "who": "a-desk and b-desk"}


def test_the_last_of_the_replies_that_fit_is_proposed() -> None:
    saga = Saga("trip", Trip)
    for name in ("a", "b", "c"):
        add(saga, name)

    @saga.pivot
    def d(trip: Trip, done: Done) -> Do:
        return Do(step="d", who=done.by)

    (fault,) = faults_of(saga)
    assert fault.endswith("a or b or c: write = of(c)")


def test_an_undo_whose_parameters_nobody_supplies_is_named() -> None:
    saga = Saga("trip", Trip)

    @saga.step(after=START)
    def a(trip: Trip) -> Do:
        return Do(step="a", who=trip.who)

    @a.compensation
    def undo_a(trip: Trip, own: Done | None, other: Sum) -> Undo:
        return Undo(step="a", by=None)

    (fault,) = faults_of(saga)
    assert fault.startswith("compensation undo_a of a(other: Sum)")


def test_an_undo_takes_one_type_of_reply() -> None:
    saga = Saga("trip", Trip)

    @saga.step(after=START)
    def a(trip: Trip) -> Do:
        return Do(step="a", who=trip.who)

    @a.compensation
    def undo_a(trip: Trip, own: Done | Sum | None) -> Undo:
        return Undo(step="a", by=None)

    (fault,) = faults_of(saga)
    assert fault.startswith("compensation undo_a of a takes ")
    assert fault.endswith("Done | tests.core.test_binding.Sum | None second, but a replies Done")


def test_a_step_that_says_nothing_of_itself_has_no_words() -> None:
    saga = Saga("trip", Trip)
    saga.pivot(do("pay"))
    assert saga.definition.steps["pay"].doc == ""


def test_names_that_cannot_be_are_quoted_in_part() -> None:
    long = "x" * 81
    saga = Saga(f"{long}!", Trip)
    saga.pivot(do(f"{long}!"))
    saga_fault, step_fault = faults_of(saga)
    assert saga_fault.startswith(f"the name {'x' * 80!r} cannot be a saga's")
    assert step_fault.startswith(f"{'x' * 80!r} cannot be a step's name")


def test_a_fault_of_the_input_is_named_by_its_path() -> None:
    saga = Saga("party", Party)

    @saga.pivot
    def greet(party: Party) -> Do:
        return Do(step="greet", who=party.guest.name)

    with pytest.raises(InvalidInput, match=r"does not fit Party: guest\.name: Field required"):
        saga.definition.check_input({"guest": {}})
