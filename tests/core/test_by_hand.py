"""A saga whose events a hand-written function decides: the same log, laws, explorer and world."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from es_saga import Command, CorruptHistory, Message, NotFound, Refusal, Saga, SagaState
from es_saga.core.by_hand import Decide
from es_saga.core.compiled import Definition
from es_saga.core.decide import decide, react
from es_saga.core.events import Parent, SagaCompleted, SagaEvent, StepRetried
from es_saga.core.inputs import FromParent, Heard, Input, Reply, Start, Tick
from es_saga.core.messages import Event, Outcome
from es_saga.core.state import SagaStatus
from es_saga.testing import Bounds, World, explore, given, judge


class Fare(Message):
    who: str = "ann"


class Called(Event):
    by = "phone"
    about = "who"
    who: str


class Hail(Command[None]):
    to = "taxis"


class Release(Command[None]):
    to = "taxis"


class Busy(Refusal):
    pass


class Closed(Refusal):
    pass


def patient(
    definition: Definition, state: SagaState | None, input: Input, now: float
) -> Sequence[SagaEvent]:
    """To be busy is no refusal: it is tried again."""
    if isinstance(input, Reply) and input.type == "Busy":
        input = input._replace(outcome=Outcome.FAILED, data={"error": "Busy"})
    return decide(definition, state, input, now)


def hasty(
    definition: Definition, state: SagaState | None, input: Input, now: float
) -> Sequence[SagaEvent]:
    """Completes whatever was begun, twice; and what was never begun, if it is told so."""
    if state is None and now > 0:
        return decide(definition, state, input, now)
    return [SagaCompleted(at=now), SagaCompleted(at=now)]


def idle(
    definition: Definition, state: SagaState | None, input: Input, now: float
) -> Sequence[SagaEvent]:
    return []


def ride(rules: Decide | None) -> Saga[Fare]:
    saga = Saga("ride", Fare, decide=rules)

    @saga.step
    def hail(fare: Fare) -> Hail:
        return Hail()

    @hail.compensation
    def release(fare: Fare) -> Release:
        return Release()

    return saga


def test_what_is_decided_by_hand_is_a_history_like_any_other() -> None:
    hailed = given(ride(patient), Fare()).expect(Hail).refuse(Busy())
    assert hailed.state.failure is None, "it is tried again"
    done = hailed.wait(5).expect(Hail).reply().completed()
    assert any(isinstance(event, StepRetried) for event in done.history)
    assert not judge(done.story).violations
    back = given(ride(patient), Fare()).expect(Hail).refuse(Closed()).compensated()
    assert not judge(back.story).violations


def test_explorer_and_world_play_it_too() -> None:
    found = explore(ride(patient), data=Fare(), bounds=Bounds(faults=2))
    assert found.counterexample is None, str(found.counterexample)
    assert found.complete
    ran = World([ride(patient)], seed=3).run(50)
    assert not ran.findings, str(ran)


def test_what_is_no_history_is_refused() -> None:
    with pytest.raises(CorruptHistory, match="SagaCompleted cannot follow the end"):
        given(ride(hasty), Fare()).expect(Hail).reply()
    with pytest.raises(NotFound, match="no such saga"):
        decide(ride(idle).definition, None, Tick(), 0.0)
    nothing_begun = ride(hasty).definition
    with pytest.raises(CorruptHistory, match="SagaCompleted begins no saga"):
        decide(nothing_begun, None, Start("s-1", {"who": "ann"}, message_id="m"), 0.0)


def test_what_has_begun_is_not_begun_again_whoever_decides() -> None:
    rules, begin = ride(hasty).definition, Start("s-1", {"who": "ann"}, message_id="m")
    begun = react(rules, None, begin, 1.0).state
    assert decide(rules, begun, begin, 2.0) == []


def test_its_parent_may_begin_it_and_undo_it() -> None:
    held = given(ride(patient), Fare(), child=True).expect(Hail).refuse(Busy()).wait(5)
    done = held.expect(Hail).reply().held().parent_closes().completed()
    assert not judge(done.story).violations
    by = Parent(command_id="trip-1/ride/do", undoable=True)
    start = Start("trip-1--ride", {"who": "ann"}, message_id="m-1", parent=by)
    never = FromParent(start, "undo", "trip-1/ride/undo")
    state = react(ride(patient).definition, None, never, 0.0).state
    assert (state.saga_id, state.status) == ("trip-1--ride", SagaStatus.COMPENSATED)


def test_an_event_may_begin_it() -> None:
    saga = ride(patient)
    saga.starts_on(Called)(lambda called: Fare(who=called.who))
    heard = Heard("ride-1", "phone", "Called", {"who": "bob"}, "m-1")
    state = react(saga.definition, None, heard, 0.0).state
    assert (state.saga_id, state.origin.data) == ("ride-1", {"who": "bob"})
    assert state.current == ("hail",)


def test_only_what_asks_for_a_saga_begins_one() -> None:
    """What time, an answer or an operator leads to has no saga's id."""

    def eager(
        definition: Definition, state: SagaState | None, input: Input, now: float
    ) -> Sequence[SagaEvent]:
        return decide(definition, state, Start("ride-1", {"who": "ann"}), now)

    with pytest.raises(CorruptHistory, match="Tick begins no saga"):
        decide(ride(eager).definition, None, Tick(), 0.0)


def test_another_pair_of_rules_is_another_definition() -> None:
    assert ride(patient).definition.fingerprint != ride(None).definition.fingerprint
