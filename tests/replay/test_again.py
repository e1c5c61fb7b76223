"""Deciding again: every history of today's code is decided again as it was (law L51)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as hypothesis_given

from domain.orders import order
from domain.orders.contracts import CreateOrder, OrderCreated
from es_saga import InvalidInput, Retry, Saga
from es_saga.core.decide import react
from es_saga.core.events import SagaStuck
from es_saga.core.inputs import Reply, Tick
from es_saga.core.messages import CommandKey, Direction, Outcome
from es_saga.core.sensitive import HIDDEN, SensitiveFields
from es_saga.replay import Kind, Replay, decide_again, diverges
from es_saga.replay.inputs import input_of
from es_saga.testing import World, given
from es_saga.testing.examples import example
from es_saga.testing.exploration.bounds import Bounds
from es_saga.testing.exploration.explorer import Explorer
from es_saga.testing.exploration.moves import Move
from es_saga.testing.exploration.roles import answers_of
from tests.core import branching
from tests.core.run import SAGA, Run
from tests.core.sagas import Do, Done, Trip, add
from tests.core.worlds import runs
from tests.histories.fates import RECORDINGS
from tests.replay.recorded import AN_ORDER, EVERY_SAGA, FLOWS, HARSH, of, recorded, worlds

SEEDS = range(40)
"""Worlds that each saga of the reference business is run in."""

EXAMPLES = 300


# ── whatever happens is decided again ────────────────────────────────────────────────────────────


@pytest.mark.law("L51")
@pytest.mark.requirement("R083")
@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recorded_history_is_decided_again_as_it_was(name: str) -> None:
    replay = recorded(name)
    saga, _, _ = RECORDINGS[name]
    again = decide_again(saga.definition, replay)
    assert again.divergence is None
    assert again.version == len(replay)
    assert len(again.inputs) == len(replay.reactions)
    assert again.assumed == ()


@pytest.mark.law("L51")
@pytest.mark.parametrize("saga", EVERY_SAGA, ids=lambda saga: saga.name)
def test_the_histories_of_unreliable_worlds_are_decided_again(saga: Saga[Any]) -> None:
    kinds = Counter[Kind]()
    for seed in SEEDS:
        for story in World([saga], seed=seed, rate=HARSH).run(2).stories:
            replay = Replay.of(story.saga_id, story.history)
            assert diverges(saga.definition, replay) is None, f"seed {seed}, {story.saga_id}"
            kinds.update(reaction.kind for reaction in replay.reactions)
    assert kinds.keys() >= {Kind.START, Kind.REPLY, Kind.REFUSAL, Kind.FAILURE, Kind.TIMEOUT}
    assert kinds[Kind.RETRY]
    assert kinds[Kind.VERB]


@pytest.mark.law("L51")
@pytest.mark.parametrize("flow", [*FLOWS, branching.trip()], ids=lambda flow: flow.name)
def test_what_nobody_conducts_is_decided_again(flow: Saga[Any]) -> None:
    decided = 0
    for replay in worlds(flow, range(10)):
        assert diverges(flow.definition, replay) is None, str(diverges(flow.definition, replay))
        decided += len(replay)
    assert decided > 100


@pytest.mark.law("L51")
def test_a_refusal_beside_an_event_that_is_missed_turns_the_flow_back_again() -> None:
    flow = branching.trip()
    missed = given(flow, branching.TripPlanned(trip_id="7")).wait(60).stuck(branching.FlightBooked)
    refused = missed.tells(branching.HotelFull(trip_id="7"))
    assert refused.state.backward
    again = decide_again(flow.definition, of(refused))
    assert again.divergence is None


@pytest.mark.law("L51")
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@hypothesis_given(runs())
def test_random_sagas_are_decided_again_reaction_by_reaction(run: Run) -> None:
    """Of any shape, with operators and forged messages; until somebody mends their functions."""
    turns = [turn for turn in run.turns if turn.events]
    as_written = run.built.plan.broken
    kept = [turn for turn in turns if turn.broken == as_written]
    assert kept == turns[: len(kept)], "what is mended stays so"
    run.built.broken |= as_written
    replay = Replay.of(SAGA, [event for turn in kept for event in turn.events])

    again = decide_again(run.definition, replay)

    assert again.divergence is None, str(again.divergence)
    assert [reaction.last for reaction in replay.reactions] == list(_ends(kept))
    for turn, told in zip(kept, again.inputs, strict=True):
        assert type(told) is type(turn.input)
        if isinstance(turn.input, Reply):
            assert isinstance(told, Reply)
            assert (told.key, told.attempt) == (turn.input.key, turn.input.attempt)


def _ends(turns: list[Any]) -> Iterator[int]:
    """How many events there were after each input."""
    count = 0
    for turn in turns:
        count += len(turn.events)
        yield count


class Watched(Explorer):
    """An exploration that decides every reaction again, from its situation."""

    count = 0

    def _make(self, node: Any, move: Move, faults: int) -> Any:
        made = super()._make(node, move, faults)
        if made is not None and made.events:
            before = move.before.saga
            told = input_of(before.saga_id, before, made.events)
            assert told is not None
            if isinstance(told, Reply) and isinstance(move.input, Reply):
                told = told._replace(retry_after=move.input.retry_after)
            assert react(self.definition, before, told, made.events[0].at).events == [*made.events]
            self.count += 1
        return made


@pytest.mark.law("L51")
@pytest.mark.parametrize("saga", EVERY_SAGA, ids=lambda saga: saga.name)
def test_every_reaction_that_is_explored_is_known_by_its_events(saga: Saga[Any]) -> None:
    """Time is abstract there, so a story as a whole is not played by real clocks."""
    definition = saga.definition
    watched = Watched(
        definition, Bounds(faults=2), example(definition.data), answers_of(definition, {}), ()
    )
    assert watched.search() is None
    assert watched.complete
    assert watched.count > 100


FLIGHT, ROOM = Do(step="flight", who="ann"), Do(step="room", who="ann")


def branches() -> Saga[Trip]:
    """Two steps beside each other."""
    saga = Saga("trip", Trip)
    for name in ("flight", "room"):
        add(saga, name, after=())
    return saga


@pytest.mark.parametrize("verb", ["resume", "resend"])
def test_one_verb_on_several_steps_is_one_reaction(verb: str) -> None:
    asked = given(branches(), Trip()).expect(FLIGHT, ROOM)
    waiting = asked.on(FLIGHT).fail().on(ROOM).fail()
    scene = waiting.resume() if verb == "resume" else asked.resend()
    replay = of(scene)
    assert replay.reactions[-1].last - replay.reactions[-1].first >= 3
    again = decide_again(scene.story.definition, replay)
    assert again.divergence is None
    assert getattr(again.inputs[-1], "step", "") is None


def test_an_answer_and_a_timer_at_the_same_time_are_two_reactions() -> None:
    asked = given(branches(), Trip()).expect(FLIGHT, ROOM)
    definition = asked.story.definition
    due = asked.state.next_due
    assert due is not None
    answer = Reply(
        CommandKey("trip-1", "room", Direction.DO, 1), 1, Outcome.FAILED, "Busy", {}, "r"
    )
    answered = react(definition, asked.state, answer, due)
    timed = react(definition, answered.state, Tick(), due)
    replay = Replay.of("trip-1", [*asked.history, *answered.events, *timed.events])
    assert [reaction.kind for reaction in replay.reactions] == [
        Kind.START,
        Kind.FAILURE,
        Kind.TIMEOUT,
    ]
    assert diverges(definition, replay) is None


# ── what a history does not say ──────────────────────────────────────────────────────────────────


def test_a_wait_that_a_participant_asked_for_is_found_out_and_said() -> None:
    scene = given(order, AN_ORDER).expect(CreateOrder).fail(retry_after=7.25).expect(CreateOrder)
    again = decide_again(order.definition, of(scene))
    assert again.divergence is None
    assert again.assumed == ("event 3: who served create asked to wait 7.25 s",)
    assert [told.retry_after for told in again.inputs if isinstance(told, Reply)] == [7.25]


def test_that_it_will_never_do_is_found_out_and_said() -> None:
    scene = given(order, AN_ORDER).expect(CreateOrder).fail("Terminal", retry_after=-1)
    again = decide_again(order.definition, of(scene))
    assert again.divergence is None
    assert again.assumed == ("event 3: who served create asked never to be asked again",)


# ── where today's code decides otherwise ─────────────────────────────────────────────────────────


def changed(**changes: Any) -> Saga[Trip]:
    """`hold`, then `pay`, as something is by now."""
    saga = Saga("trip", Trip, deadline=changes.pop("deadline", None))
    add(saga, "hold", **changes)
    add(saga, "pay")
    return saga


WAS = changed()
HELD = given(WAS, Trip()).expect(Do)
PAID = HELD.reply(Done(by="desk")).expect(Do).reply(Done(by="till")).completed()


def divergence_of(saga: Saga[Any], replay: Replay) -> str:
    return str(diverges(saga.definition, replay))


def paying(command: Callable[[Trip], Do]) -> Saga[Trip]:
    """The same saga with another way to pay."""
    saga = Saga("trip", Trip)
    add(saga, "hold")
    command.__name__ = "pay"
    saga.step(command).undos.extend(WAS.steps[1].undos)
    return saga


@pytest.mark.requirement("R083")
def test_a_command_with_other_data_is_named_field_by_field() -> None:
    def pay(trip: Trip) -> Do:
        return Do(step="pay", who=f"{trip.who}!")

    found = diverges(paying(pay).definition, of(PAID))
    assert found is not None
    assert (found.version, found.what) == (4, "hold is done")
    assert [str(change) for change in found.changes] == ["command.who: ann -> ann!"]
    assert str(found) == (
        "event 4 (hold is done): the history has StepStarted(pay), today's code decides "
        "StepStarted(pay)\n  command.who: ann in the history, ann! today"
    )


def test_a_function_that_raises_by_now_is_named() -> None:
    def pay(trip: Trip) -> Do:
        raise ValueError(trip.who)

    said = divergence_of(paying(pay), of(PAID))
    assert said == (
        "event 4 (hold is done): the history has StepStarted(pay), today's code decides "
        "SagaStuck(pay)"
    )


def test_where_code_stands_that_raised_makes_no_difference() -> None:
    def pay(trip: Trip) -> Do:
        raise ValueError(trip.who)

    scene = given(paying(pay), Trip()).expect(Do).reply(Done(by="desk")).stuck()
    stuck = scene.history[-1]
    assert isinstance(stuck, SagaStuck)
    elsewhere = [*scene.history[:-1], stuck.model_copy(update={"detail": "elsewhere"})]
    saga = paying(pay)
    assert diverges(saga.definition, Replay.of("trip-1", elsewhere)) is None
    mended = diverges(WAS.definition, of(scene))
    assert mended is not None
    assert "the history has SagaStuck(pay), today's code decides StepStarted(pay)" in str(mended)


def test_another_policy_is_noticed_where_it_waits_longer_or_gives_up() -> None:
    failed = of(HELD.fail())
    patient = changed(retry=Retry(first=timedelta(seconds=60)))
    assert "retry_at" in divergence_of(patient, failed)
    assert "retry_at: 43201" in divergence_of(changed(retry=Retry(attempts=1)), failed)


def test_another_shape_under_the_same_version_is_noticed_at_the_start() -> None:
    saga = changed()
    add(saga, "mail")
    assert divergence_of(saga, of(PAID)).startswith("event 1 (trip is started)")
    assert "fingerprint" in divergence_of(saga, of(PAID))


def test_a_history_that_ends_within_a_reaction_lacks_the_rest() -> None:
    found = diverges(WAS.definition, of(PAID).until(3))
    assert found is not None
    assert str(found) == (
        "event 4 (hold is done): the history has nothing, today's code decides StepStarted(pay)"
    )


def test_an_event_that_nothing_leads_to_is_told() -> None:
    stuck = SagaStuck(at=PAID.now, why="hurry")
    replay = Replay.of("trip-1", [*HELD.history, stuck])
    said = divergence_of(WAS, replay)
    assert said.endswith("today's code decides nothing: nothing in this release leads to it")
    short = Replay.of(
        "trip-1", [*HELD.history, HELD.history[-1].model_copy(update={"step": "pay"})]
    )
    assert "today's code decides nothing" in divergence_of(WAS, short)


@pytest.mark.law("L51")
def test_another_version_is_refused() -> None:
    later = Saga("trip", Trip, version=2)
    add(later, "hold")
    with pytest.raises(InvalidInput, match="began with trip v1; this is trip v2"):
        diverges(later.definition, of(PAID))
    with pytest.raises(InvalidInput, match="began with trip v1; this is order v1"):
        diverges(order.definition, of(PAID))


@pytest.mark.requirement("R064")
def test_a_divergence_can_be_told_without_sensitive_values() -> None:
    charged = given(order, AN_ORDER).expect(CreateOrder).reply(OrderCreated(order_id="7"))
    event = charged.history[-1]
    other = event.model_copy(update={"command": {"order_id": "7", "card": "amex", "pence": 1}})
    found = diverges(order.definition, Replay.of("order-1", [*charged.history[:-1], other]))
    assert found is not None
    assert "amex" in str(found)
    hidden = found.hiding(SensitiveFields({"steps": {"charge": {"command": [["card"]]}}}))
    assert "amex" not in str(hidden)
    assert "visa" not in str(hidden)
    card = next(change for change in hidden.changes if change.path == "command.card")
    assert (card.before, card.after) == (HIDDEN, HIDDEN)
    assert "command.pence: 1 in the history, 1800 today" in str(hidden)
