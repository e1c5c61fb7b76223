"""What if somebody had answered otherwise: the fork, the other ending, and what is refused."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from pydantic import field_validator

from domain.orders import app, counter, order
from domain.orders.contracts import (
    CancelOrder,
    CardCharged,
    CardDeclined,
    ChargeCard,
    CreateOrder,
    OrderCreated,
    OutOfStock,
    ParcelShipped,
    PlaceOrder,
    ReserveStock,
    ShipParcel,
    StockReserved,
)
from domain.travel import trip
from domain.travel.contracts import BookCar, BookFlight, BookRoom, BookTrip, CarBooked
from es_saga import Command, InvalidInput, Message, Retry, Saga
from es_saga.core.events import CompensationIssued, StepRefused, StepSucceeded
from es_saga.core.state import SagaStatus
from es_saga.replay import Fork, Replay, diverges, refusals_of, what_if
from es_saga.replay import forking as forks
from es_saga.testing import Scene, given, judge
from es_saga.testing.story import Story
from tests.core.sagas import Do, Done, Trip, add, chain
from tests.histories.fates import RECORDINGS
from tests.replay.recorded import AN_ORDER, EVERY_SAGA, FLOWS, of, recorded, worlds


class Even(Message):
    number: int

    @field_validator("number")
    @classmethod
    def _even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("odd")
        return value


class Count(Command[Even]):
    """What nobody can make up an answer to."""

    to = "desk"


CREATED, CHARGED = OrderCreated(order_id="7"), CardCharged(charge="c-1")

COMPLETED = (
    given(order, AN_ORDER)
    .expect(CreateOrder)
    .reply(CREATED)
    .expect(ChargeCard)
    .reply(CHARGED)
    .expect(ReserveStock)
    .reply(StockReserved(reservation="r-1"))
    .expect(ShipParcel)
    .reply(ParcelShipped(parcel="p-1"))
    .completed()
)


def fork(scene: Scene | Replay, **answers: Any) -> Fork:
    """What an order would have come to."""
    replay = scene if isinstance(scene, Replay) else of(scene)
    return what_if(order.definition, replay, answers)


def names(forked: Fork) -> list[str]:
    return [f"{type(e).__name__} {getattr(e, 'step', '')}".strip() for e in forked.replay.events]


# ── the same answers lead to the same history ────────────────────────────────────────────────────


@pytest.mark.law("L41", "L51")
@pytest.mark.parametrize("name", RECORDINGS)
def test_the_same_answer_changes_nothing_wherever_it_is_forked(name: str) -> None:
    saga, replay = RECORDINGS[name][0], recorded(name)
    for reaction in replay.reactions:
        event = replay.events[reaction.first - 1]
        if isinstance(event, StepSucceeded):
            same: Any = event.reply if event.reply is not None else "done"
            again = what_if(saga.definition, replay, {event.step: same})
            if event.attempt == 1:
                assert again.replay.events == replay.events
                assert (again.version, again.notes) == (None, ())
        elif isinstance(event, StepRefused):
            same = f"{event.refusal_type} {json.dumps(event.refusal)}"
            again = what_if(saga.definition, replay, {event.step: same})
            assert again.version is None


@pytest.mark.parametrize("saga", [*EVERY_SAGA, *FLOWS], ids=lambda saga: saga.name)
def test_without_answers_a_history_is_what_it_was(saga: Saga[Any]) -> None:
    for replay in worlds(saga, range(20)):
        again = what_if(saga.definition, replay, {})
        if replay.state.closed is not None:
            assert again.replay.events == replay.events
            assert again.notes == ()


@pytest.mark.parametrize("saga", [*EVERY_SAGA, *FLOWS], ids=lambda saga: saga.name)
def test_every_fork_is_a_history_that_today_decides_and_no_law_objects_to(
    saga: Saga[Any],
) -> None:
    forked = 0
    for replay in worlds(saga, range(8)):
        for step in saga.definition.steps:
            wait = saga.definition.steps[step].wait
            answers = ["done"] if wait else ["Unwanted", "timeout*3", "fail*2", "done"]
            if wait and wait.message:
                answers.append("timeout")
            for answer in answers:
                if step not in replay.state.steps:
                    continue
                found = what_if(saga.definition, replay, {step: answer})
                assert diverges(saga.definition, found.replay) is None
                story = Story(saga.definition, replay.saga_id, found.replay.events)
                assert not judge(story).violations
                forked += found.version is not None
    assert forked > 20


# ── other answers ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.requirement("R083")
def test_a_refusal_by_its_name_turns_the_saga_back() -> None:
    found = fork(COMPLETED, charge="CardDeclined")
    assert found.version == 5
    assert found.replay.events[:4] == COMPLETED.history[:4]
    refused = found.replay.events[4]
    assert isinstance(refused, StepRefused)
    assert (refused.refusal_type, refused.refusal) == ("CardDeclined", {"card": "visa"})
    assert found.replay.state.status is SagaStatus.COMPENSATED
    assert names(found)[5:] == [
        "CompensationStarted charge",
        "CompensationIssued create",
        "CompensationSucceeded create",
        "SagaCompensated",
    ]
    assert found.notes == ("made up: the undo of create is done",)


def test_the_fork_is_the_scene_that_it_tells_of() -> None:
    found = fork(COMPLETED, charge='CardDeclined {"card": "gold"}')
    scene = (
        given(order, AN_ORDER)
        .expect(CreateOrder)
        .reply(CREATED)
        .expect(ChargeCard)
        .refuse(CardDeclined(card="gold"))
        .expect(CancelOrder)
        .reply()
        .compensated()
    )
    told = [event.model_dump(exclude={"at", "due", "cause"}) for event in scene.history]
    assert [e.model_dump(exclude={"at", "due", "cause"}) for e in found.replay.events] == told


def test_another_reply_reaches_the_commands_that_come_after_it() -> None:
    found = fork(COMPLETED, reserve={"reservation": "r-2"})
    assert found.version == 7
    assert found.replay.events[7].model_dump()["command"]["reservation"] == "r-2"
    assert found.replay.state.status is SagaStatus.COMPLETED
    assert found.notes == ("made up: ship is done",), "another command gets another answer"
    shipped = found.replay.events[8]
    assert isinstance(shipped, StepSucceeded)
    assert shipped.reply == {"parcel": "parcel"}


def test_the_same_command_gets_the_answer_that_is_on_record() -> None:
    """Also to another attempt: the participant remembers it."""
    found = fork(COMPLETED, reserve="timeout*1")
    assert names(found)[6:9] == [
        "StepTimedOut reserve",
        "StepRetried reserve",
        "StepSucceeded reserve",
    ]
    done = found.replay.events[8]
    assert isinstance(done, StepSucceeded)
    assert (done.attempt, done.reply) == (2, {"reservation": "r-1"})
    assert found.notes == ()


def test_no_answer_at_all_is_waited_for_as_long_as_the_policy_says() -> None:
    found = fork(COMPLETED, reserve="timeout")
    assert names(found).count("StepTimedOut reserve") == 3
    assert [e.step for e in found.replay.events if isinstance(e, CompensationIssued)] == [
        "reserve",
        "charge",
        "create",
    ]
    assert found.replay.state.status is SagaStatus.COMPENSATED


def test_failures_are_tried_again_as_often_as_is_said() -> None:
    twice = fork(COMPLETED, reserve="fail*2")
    assert names(twice).count("StepFailed reserve") == 2
    assert twice.replay.state.status is not SagaStatus.COMPENSATED
    ever = fork(COMPLETED, reserve="fail")
    assert names(ever).count("StepFailed reserve") == 3
    assert ever.replay.state.status is SagaStatus.COMPENSATED


def test_what_was_refused_may_have_been_done() -> None:
    refused = of(
        given(order, AN_ORDER)
        .expect(CreateOrder)
        .reply(CREATED)
        .expect(ChargeCard)
        .refuse(CardDeclined(card="visa"))
        .expect(CancelOrder)
        .reply()
        .compensated()
    )
    found = fork(refused, charge="done")
    assert found.replay.state.status is SagaStatus.COMPLETED
    assert found.version == 5
    both = fork(refused, charge="done", ship="AddressUnknown")
    assert both.version == 5
    assert both.replay.state.status is SagaStatus.COMPENSATED
    assert names(both).count("CompensationSucceeded charge") == 1


def test_what_is_made_up_is_likely() -> None:
    """A field that is called like one of the input or the command has its value."""
    found = fork(COMPLETED, reserve="OutOfStock")
    refused = next(e for e in found.replay.events if isinstance(e, StepRefused))
    assert refused.refusal == {"sku": "tea"}


def test_an_open_saga_is_played_on_to_its_end() -> None:
    open_ = given(order, AN_ORDER).expect(CreateOrder).reply(CREATED).expect(ChargeCard)
    done = fork(open_)
    assert done.replay.state.status is SagaStatus.COMPLETED
    assert done.version == 5
    assert "made up: charge is done" in done.notes
    refused = fork(open_, ship="AddressUnknown")
    assert refused.replay.state.status is SagaStatus.COMPENSATED


def test_what_an_operator_did_is_done_where_it_still_can_be() -> None:
    cancelled = recorded("order/cancelled")
    still = fork(cancelled, create={"order_id": "8"})
    assert "OperatorCancelled" in names(still)
    too_late = fork(cancelled, create="OrderRejected")
    assert "OperatorCancelled" not in names(too_late)
    assert any(note.startswith("left out: ") for note in too_late.notes)


def test_branches_go_on_as_they_did() -> None:
    a_trip = BookTrip(
        trip_id="7", traveller="ada", flight="BA117", hotel="Savoy", car="compact", pence=90_000
    )
    asked = given(trip, a_trip).expect(BookFlight, BookRoom, BookCar)
    scene = asked.wait(0.5).on(BookCar).reply(CarBooked(contract="c"))
    replay = of(scene)
    found = what_if(trip.definition, replay, {"flight": "NoSeat"})
    events = found.replay.events
    car = next(event for event in events if isinstance(event, StepSucceeded))
    assert (car.step, car.at) == ("car", replay.events[-1].at)
    assert found.replay.state.status is SagaStatus.COMPENSATED


def test_timers_are_as_late_as_they_were() -> None:
    """The process manager was away when the wait was over, and the answer came first."""
    saga = Saga("trip", Trip)
    add(saga, "a", retry=Retry(first=timedelta(seconds=1), jitter=0))
    scene = given(saga, Trip()).expect(Do)
    late = scene.history
    late_answer = StepSucceeded(
        at=scene.now + 90, cause="a", step="a", attempt=1, reply={"by": "d"}
    )
    done = what_if(
        saga.definition, Replay.of("trip-1", [*late, late_answer]), {"a": {"by": "another"}}
    )
    assert names(done)[-2:] == ["StepSucceeded a", "SagaCompleted"]
    assert done.replay.events[-1].at == late_answer.at


def test_code_that_decides_otherwise_forks_a_history_by_itself() -> None:
    """The same answers to the new code: what the history would be today."""

    def pay(trip: Trip) -> Do:
        return Do(step="pay", who=trip.who.upper())

    was = chain("hold", "pay")
    replay = of(
        given(was, Trip())
        .expect(Do)
        .reply(Done(by="desk"))
        .expect(Do)
        .reply(Done(by="till"))
        .completed()
    )
    mended = Saga("trip", Trip)
    add(mended, "hold")
    mended.step(pay).undos.extend(was.steps[1].undos)
    found = what_if(mended.definition, replay, {})
    assert found.version == 4
    assert found.replay.events[3].model_dump()["command"]["who"] == "ANN"
    assert found.replay.events[:3] == replay.events[:3]
    assert diverges(mended.definition, found.replay) is None
    other_shape = chain("hold", "pay", "mail")
    assert what_if(other_shape.definition, replay, {}).version == 1


def test_an_answer_that_was_not_needed_is_noted() -> None:
    found = fork(COMPLETED, charge="CardDeclined", ship="done")
    assert "ship was not begun, so its answer was not needed" in found.notes


# ── what is refused ──────────────────────────────────────────────────────────────────────────────

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no step": ({"pay": "done"}, "has no step 'pay': create, charge, reserve, ship"),
    "no answer": ({"charge": ""}, "'' is no answer"),
    "no word": ({"charge": "no way"}, "'no way' is no answer"),
    "a star too many": ({"charge": "fail*"}, "'fail\\*' is no answer"),
    "done twice": ({"charge": "done*2"}, "only fail and timeout can be said so many times"),
    "never": ({"charge": "fail*0"}, "fail at least once"),
    "no JSON": ({"charge": "{nope"}, "is no JSON"),
    "no object": ({"charge": 'CardDeclined {"a": 1} 2'}, "is no JSON"),
    "no reply": ({"charge": {"charge": 7}}, "the reply is no CardCharged"),
    "no such reply": ({"charge": '{"chrg": "x"}'}, "the reply is no CardCharged"),
    "no refusal": ({"charge": 'CardDeclined {"card": 7}'}, "that is no CardDeclined: card"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_no_step_or_no_answer_is_refused(what: str) -> None:
    answers, said = BAD[what]
    with pytest.raises(InvalidInput, match=said):
        fork(COMPLETED, **answers)


def test_a_step_that_an_ended_saga_never_asked_for_has_no_answer() -> None:
    early = fork(COMPLETED, create="OrderRejected").replay
    with pytest.raises(InvalidInput, match="ended without asking for ship"):
        fork(early, ship="AddressUnknown")


@pytest.mark.parametrize("answer", ["fail", "timeout"])
def test_what_is_tried_for_ever_is_refused_for_ever_only_by_number(answer: str) -> None:
    a_trip = recorded("trip/completed")
    with pytest.raises(InvalidInput, match=f"would never end.*itinerary={answer}\\*3"):
        what_if(trip.definition, a_trip, {"itinerary": answer})
    found = what_if(trip.definition, a_trip, {"itinerary": f"{answer}*3"})
    assert found.replay.state.status is SagaStatus.COMPLETED


def test_any_other_name_is_a_refusal_without_data() -> None:
    found = fork(COMPLETED, charge="Bankrupt")
    refused = found.replay.events[4]
    assert isinstance(refused, StepRefused)
    assert (refused.refusal_type, refused.refusal) == ("Bankrupt", {})


def test_another_version_is_refused() -> None:
    with pytest.raises(InvalidInput, match="began with order v1; this is counter v1"):
        what_if(counter.definition, of(COMPLETED), {})


def test_a_saga_that_goes_on_for_ever_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "MAX_TURNS", 3)
    with pytest.raises(InvalidInput, match="After 3 turns it is not over"):
        fork(COMPLETED, charge="timeout")


# ── what is known of refusals ────────────────────────────────────────────────────────────────────


def test_refusals_stand_beside_the_commands_or_with_the_handlers() -> None:
    beside = refusals_of(order.definition)
    assert beside["CardDeclined"] is CardDeclined
    assert beside["OutOfStock"] is OutOfStock
    served = refusals_of(chain("a").definition, app.participants.values())
    assert set(served) <= set(beside) | {"No"}


def test_what_cannot_be_made_up_has_to_be_given() -> None:
    saga: Saga[PlaceOrder] = Saga("count", PlaceOrder)

    @saga.check
    def count(o: PlaceOrder) -> Count:
        return Count()

    open_ = of(given(saga, AN_ORDER).expect(Count))
    with pytest.raises(InvalidInput, match=r"(?s)count: No example of Even.*count=\{…\}"):
        what_if(saga.definition, open_, {})
    found = what_if(saga.definition, open_, {"count": {"number": 2}})
    assert found.replay.state.status is SagaStatus.COMPLETED
