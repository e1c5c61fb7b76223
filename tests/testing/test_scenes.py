"""Scenes: what they accept, what they find, and what they say then."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from domain.orders import counter, order
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
    RefundCard,
    ReserveStock,
    ShipParcel,
    StockReserved,
)
from domain.pace import PATIENCE
from domain.travel import trip
from domain.travel.contracts import (
    BookCar,
    BookFlight,
    BookRoom,
    BookTrip,
    CancelCar,
    CancelFlight,
    CancelRoom,
    CarBooked,
    FlightBooked,
    ItineraryPrinted,
    NoRoom,
    PayTrip,
    PrintItinerary,
    RoomBooked,
    TripPaid,
    WalletEmpty,
)
from es_saga import IllegalOperation, Saga
from es_saga.core.events import OperatorCancelled, OperatorCompensated, OperatorSkipped
from es_saga.core.state import SagaStatus
from es_saga.testing import stage
from es_saga.testing.scenes import Asked, given
from es_saga.testing.stage import NOON
from tests.core.sagas import Do, Done, Trip, beside, with_pivot

SECONDS = PATIENCE.total_seconds()
AN_ORDER = PlaceOrder(
    order_id="7", customer="ada", sku="teapot", quantity=2, pence=1_800, card="visa", town="York"
)
A_TRIP = BookTrip(
    trip_id="7", traveller="ada", flight="BA117", hotel="Savoy", car="compact", pence=90_000
)
BLUE = CreateOrder(order_id="7", customer="ada", sku="blue teapot", quantity=2, pence=1_800)
CREATED = OrderCreated(order_id="7")
DONE = Done(by="desk")
CHARGED = CardCharged(charge="c-1")
RESERVED = StockReserved(reservation="r-1")
FLIGHT, ROOM, CAR = FlightBooked(ticket="t"), RoomBooked(voucher="v"), CarBooked(contract="c")


def charging() -> Asked[CardCharged]:
    """An order whose card is about to be charged."""
    return given(order, AN_ORDER).expect(CreateOrder).reply(CREATED).expect(ChargeCard)


def booked() -> Asked[TripPaid]:
    """A trip whose flight, room and car are booked, and which is about to be paid."""
    return (
        given(trip, A_TRIP)
        .expect(BookFlight, BookRoom, BookCar)
        .on(BookFlight)
        .reply(FLIGHT)
        .on(BookRoom)
        .reply(ROOM)
        .on(BookCar)
        .reply(CAR)
        .expect(PayTrip)
    )


def paid() -> Asked[ItineraryPrinted]:
    """A trip that was paid: only the papers are missing."""
    return booked().reply(TripPaid(payment="p")).expect(PrintItinerary)


def complaint(act: Callable[[], object]) -> str:
    with pytest.raises(AssertionError) as found:
        act()
    return str(found.value)


# ── stories that hold ────────────────────────────────────────────────────────────────────────────


@pytest.mark.requirement("R001", "R095")
def test_an_order_goes_from_its_creation_to_the_parcel() -> None:
    scene = (
        charging()
        .reply(CHARGED)
        .expect(ReserveStock)
        .reply(RESERVED)
        .expect(ShipParcel(order_id="7", reservation="r-1", quantity=2, town="York"))
        .reply(ParcelShipped(parcel="p-1"))
        .completed()
    )
    assert scene.state.saga_id == "order-1"
    assert scene.now == NOON, "nobody waited for anything"


@pytest.mark.requirement("R032", "R095")
def test_what_was_done_is_undone_last_first() -> None:
    (
        charging()
        .reply(CHARGED)
        .expect(ReserveStock)
        .refuse(OutOfStock(sku="teapot"))
        .expect(RefundCard)
        .reply()
        .expect(CancelOrder)
        .reply()
        .compensated()
    )


def test_two_endings_are_told_from_one_beginning() -> None:
    beginning = charging()
    declined = beginning.on(ChargeCard).refuse(CardDeclined(card="visa"))
    declined.expect(CancelOrder).reply().compensated()
    beginning.on(ChargeCard).reply(CHARGED).expect(ReserveStock)
    assert beginning.state.status is SagaStatus.RUNNING


@pytest.mark.requirement("R042")
def test_branches_are_asked_for_at_once_and_answered_in_any_order() -> None:
    (
        given(trip, A_TRIP)
        .expect(BookCar, BookFlight, BookRoom)
        .on(BookCar)
        .reply(CAR)
        .on(BookRoom)
        .refuse(NoRoom(hotel="Savoy"))
        .nothing_sent()
        .on(BookFlight)
        .reply(FLIGHT)
        .expect(CancelFlight, CancelCar)
        .on(CancelCar)
        .reply()
        .on(CancelFlight)
        .reply()
        .compensated()
    )


@pytest.mark.requirement("R049")
def test_a_timeout_moves_time_and_the_next_attempt_is_waited_for() -> None:
    scene = charging().timeout()
    assert scene.now == NOON + SECONDS
    again = scene.expect(ChargeCard)
    assert NOON + SECONDS + 1 <= again.now < NOON + SECONDS + 1.1, "the wait of the policy"
    again.reply(CHARGED).expect(ReserveStock)


@pytest.mark.requirement("R045", "D08")
def test_what_stays_unanswered_is_undone_and_a_late_answer_changes_nothing() -> None:
    undoing = charging().timeout(attempts=3).expect(RefundCard)
    late = undoing.on(ChargeCard).late(CHARGED, attempt=3).duplicate().nothing_sent()
    late.on(RefundCard).reply().expect(CancelOrder).reply().compensated()


@pytest.mark.requirement("D15")
def test_an_answer_to_an_earlier_attempt_counts_while_a_later_one_is_in_flight() -> None:
    again = charging().timeout().expect(ChargeCard)
    again.late(CHARGED).expect(ReserveStock)
    again.on(ChargeCard).reply(CHARGED).expect(ReserveStock)
    again.late(CardDeclined(card="visa")).expect(CancelOrder)


@pytest.mark.requirement("R050")
def test_failures_are_counted_against_the_policy() -> None:
    charging().fail().expect(ChargeCard).reply(CHARGED).expect(ReserveStock)
    failed = charging().fail("OSError", attempts=3)
    failed.expect(CancelOrder).reply().compensated()


def test_a_participant_may_ask_for_a_longer_wait_or_for_none() -> None:
    later = charging().fail(retry_after=60).expect(ChargeCard)
    assert later.now == NOON + 60
    charging().fail("Terminal", retry_after=-1).expect(CancelOrder)


def test_time_that_passes_brings_everything_that_is_due() -> None:
    charging().wait(SECONDS - 0.1).nothing_sent()
    assert charging().wait(SECONDS + 1.1).expect(ChargeCard).now == NOON + SECONDS + 1.1
    given(trip, A_TRIP).expect(BookFlight, BookRoom, BookCar).wait(SECONDS).expect(
        BookFlight, BookRoom, BookCar
    )


@pytest.mark.requirement("R030")
def test_whatever_arrives_twice_acts_once() -> None:
    scene = given(order, AN_ORDER).duplicate().expect(CreateOrder).reply(CREATED).duplicate()
    declined = scene.expect(ChargeCard).refuse(CardDeclined(card="visa")).duplicate()
    declined.expect(CancelOrder).fail().duplicate().expect(CancelOrder).reply().duplicate()


def test_a_cancel_undoes_a_saga_once_what_is_in_flight_is_answered() -> None:
    cancelled = charging().cancel("she changed her mind", actor="ann").duplicate().nothing_sent()
    event = cancelled.history[-2]
    assert isinstance(event, OperatorCancelled)
    assert (event.actor, event.reason) == ("ann", "she changed her mind")
    cancelled.on(ChargeCard).reply(CHARGED).expect(RefundCard).reply().expect(CancelOrder)


@pytest.mark.requirement("R046")
def test_a_cancel_after_the_pivot_leaves_the_saga_as_it_is() -> None:
    cancelled = paid().cancel().nothing_sent()
    cancelled.on(PrintItinerary).reply(ItineraryPrinted(document="d")).completed()


def test_an_operator_who_has_it_undone_is_refused_after_the_pivot() -> None:
    turned = charging().compensate("it leads nowhere", actor="eve").duplicate().nothing_sent()
    event = turned.history[-2]
    assert isinstance(event, OperatorCompensated)
    assert (event.actor, event.reason) == ("eve", "it leads nowhere")
    turned.on(ChargeCard).reply(CHARGED).expect(RefundCard).reply().expect(CancelOrder)
    with pytest.raises(IllegalOperation, match="the pivot pay has succeeded"):
        paid().compensate()


def test_an_operator_need_not_wait_for_the_next_attempt() -> None:
    failed = charging().fail("Busy")
    sooner = failed.resume().expect(ChargeCard)
    assert sooner.now == failed.now
    assert failed.resume(ChargeCard, actor="eve").expect(ChargeCard).reply(CHARGED)
    with pytest.raises(IllegalOperation, match="waits for another attempt"):
        charging().resume()


@pytest.mark.requirement("R029")
def test_an_operator_has_a_command_sent_again_and_either_answer_counts() -> None:
    again = charging().resend(ChargeCard, reason="they lost it").expect(ChargeCard)
    again.reply(CHARGED).expect(ReserveStock)
    again.late(CHARGED).expect(ReserveStock)
    booking = given(trip, A_TRIP).expect(BookFlight, BookRoom, BookCar).resend(BookCar)
    booking.expect(BookCar).resend().expect(BookFlight, BookRoom, BookCar)
    with pytest.raises(IllegalOperation, match="is in flight"):
        charging().fail("Busy").resend()


def test_an_operator_does_not_wait_for_what_will_come_anyway() -> None:
    waiting = charging().fail(retry_after=SECONDS)
    resumed = waiting.resume(ChargeCard, actor="ann").expect(ChargeCard)
    assert resumed.now == waiting.now
    again = charging().wait(1).resend().expect(ChargeCard).reply(CHARGED)
    assert again.now == waiting.now + 1
    again.expect(ReserveStock)
    turned = charging().compensate("it rains", actor="ann").on(ChargeCard).reply(CHARGED)
    turned.expect(RefundCard)


def test_what_is_stuck_is_retried_skipped_or_resolved() -> None:
    unpaid = booked().timeout(attempts=3).stuck(PayTrip)
    unpaid.retry().expect(PayTrip).reply(TripPaid(payment="p")).expect(PrintItinerary)
    unpaid.retry(PayTrip, reason="mended").expect(PayTrip)
    with pytest.raises(IllegalOperation, match="itinerary is not what"):
        unpaid.retry(PrintItinerary)
    unpaid.on(PayTrip).resolve(TripPaid(payment="p")).expect(PrintItinerary)
    undoing = unpaid.on(PayTrip).resolve_not_done()
    undoing.expect(CancelFlight, CancelRoom, CancelCar)
    unprinted = paid().refuse(WalletEmpty(traveller="ada")).stuck(PrintItinerary)
    skipped = unprinted.skip(PrintItinerary, actor="bob").completed()
    assert [e.actor for e in skipped.history if isinstance(e, OperatorSkipped)] == ["bob"]


def test_an_undo_that_was_waived_is_owed_for_ever() -> None:
    undoing = charging().refuse(CardDeclined(card="visa")).expect(CancelOrder)
    stuck = undoing.refuse(CardDeclined(card="no way back")).stuck(CancelOrder)
    stuck.skip(CancelOrder).compensated(owing=[CancelOrder])
    stuck.on(CancelOrder).resolve().compensated()


def test_what_never_was_sent_can_be_named_all_the_same() -> None:
    saga = Saga("broken", PlaceOrder)

    @saga.pivot
    def charge(o: PlaceOrder) -> ChargeCard:
        return ChargeCard(order_id=o.order_id, card=o.card, pence=o.pence)

    @saga.step
    def ship(o: PlaceOrder) -> ShipParcel:
        raise ZeroDivisionError

    stuck = given(saga, AN_ORDER).expect(ChargeCard).reply(CHARGED).stuck(ShipParcel)
    stuck.skip(ShipParcel).completed()


def test_one_of_several_commands_of_a_type_is_named_by_its_value() -> None:
    flight, room, car = (Do(step=step, who="ann") for step in ("flight", "room", "car"))
    begun = given(beside(), Trip(), saga_id="t-1", key="k").expect(car, room, flight)
    assert (begun.state.saga_id, begun.state.origin.key) == ("t-1", "k")
    assert begun.on(room).reply(DONE).state.current == ("flight", "car")
    paying = given(with_pivot(), Trip()).expect(Do).reply(DONE).expect(Do).reply(DONE)
    stuck = paying.expect(Do).refuse(CardDeclined(card="visa")).stuck(Do)
    stuck.skip(Do).expect(Do(step="mail", who="ann"))


# ── what a scene finds ───────────────────────────────────────────────────────────────────────────


def test_another_command_than_expected_is_shown_with_the_history() -> None:
    said = complaint(lambda: charging().reply(CHARGED).expect(ShipParcel))
    assert said.splitlines() == [
        "expected ShipParcel, but ReserveStock(order_id='7', sku='teapot', quantity=2) was sent",
        "",
        "order-1 is running:",
        "   #   +s  event          step     what",
        '   1  0.0  SagaStarted             order {"order_id": "7", "customer": "ada", "sku":'
        ' "teapot", "quantity":…',
        '   2  0.0  StepStarted    create   CreateOrder {"order_id": "7", "customer": "ada", "sku":'
        ' "teapot", "quan…',
        '   3  0.0  StepSucceeded  create   {"order_id": "7"}',
        '   4  0.0  StepStarted    charge   ChargeCard {"order_id": "7", "card": "visa", "pence":'
        " 1800}",
        '   5  0.0  StepSucceeded  charge   {"charge": "c-1"}',
        '   6  0.0  StepStarted    reserve  ReserveStock {"order_id": "7", "sku": "teapot",'
        ' "quantity": 2}',
        "in flight: ReserveStock(order_id='7', sku='teapot', quantity=2)",
    ]


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda: given(trip, A_TRIP).expect(BookFlight, BookRoom), "and nothing else, but Book"),
        (lambda: given(trip, A_TRIP).expect(BookFlight), "expected BookFlight and nothing else"),
        (lambda: booked().expect(PayTrip), "expected PayTrip, but nothing was sent"),
        (lambda: charging().expect(ChargeCard, ChargeCard), "expected ChargeCard, but nothing"),
        (
            lambda: given(order, AN_ORDER).expect(BLUE),
            "expected CreateOrder(order_id='7', customer='ada', sku='blue teapot'",
        ),
        (lambda: charging().on(ReserveStock), "ReserveStock was not expected before"),
        (lambda: given(order, AN_ORDER).nothing_sent(), "was sent, and not expected"),
        (lambda: given(order, AN_ORDER).wait(1), "CreateOrder(order_id='7'"),
        (lambda: given(order, AN_ORDER).cancel(), "was sent, and not expected"),
        (lambda: given(trip, A_TRIP).completed(), "were sent, and not expected"),
        (lambda: charging().completed(), "expected it to be completed, but it is running"),
        (lambda: charging().compensated(), "expected it to be compensated, but it is running"),
        (lambda: charging().stuck(), "expected it to be stuck, but it is running"),
        (lambda: charging().on(CreateOrder).reply(CREATED), "not in flight, but succeeded"),
        (lambda: charging().on(CreateOrder).timeout(), "not in flight, but succeeded"),
        (lambda: charging().late(CHARGED), "what answers it is not late"),
        (lambda: charging().late(CHARGED, attempt=2), "no attempt 2 of ChargeCard"),
        (lambda: charging().fail(attempts=4), "#3 was not sent again"),
        (lambda: charging().timeout(attempts=4), "#3 was not sent again"),
        (
            lambda: booked().timeout(attempts=3).stuck(PrintItinerary),
            "stuck at PrintItinerary, but it is at pay",
        ),
    ],
)
def test_what_does_not_hold_is_said(act: Callable[[], object], said: str) -> None:
    assert said in complaint(act)


def test_other_undos_than_those_owed_are_said() -> None:
    scene = charging().reply(CHARGED).expect(ReserveStock)
    undoing = scene.refuse(OutOfStock(sku="x")).expect(RefundCard).refuse(OutOfStock(sku="x"))
    waived = undoing.expect(CancelOrder).reply().stuck(RefundCard).skip(RefundCard)
    waived.compensated(owing=[RefundCard])
    assert "it owes are those of charge" in complaint(
        lambda: waived.compensated(owing=[CancelOrder])
    )
    assert "but it is compensated-with-exceptions" in complaint(waived.compensated)


def test_an_attempt_is_not_waited_for_past_anything_else_that_is_due() -> None:
    scene = given(trip, A_TRIP).expect(BookFlight, BookRoom, BookCar)
    waiting = scene.on(BookFlight).fail(retry_after=SECONDS + 1)
    assert "but nothing was sent" in complaint(lambda: waiting.expect(BookFlight))
    assert waiting.on(BookRoom).reply(ROOM).on(BookCar).reply(CAR).expect(BookFlight)


@pytest.mark.law("L41")
def test_a_function_that_is_not_pure_is_found_out() -> None:
    saga, calls = Saga("moody", PlaceOrder), [1]

    @saga.check(after=())
    def charge(o: PlaceOrder) -> ChargeCard:
        calls.append(1)
        return ChargeCard(order_id=o.order_id, card=o.card, pence=len(calls))

    said = complaint(lambda: given(saga, AN_ORDER))
    assert "the functions of 'moody' are not pure" in said


@pytest.mark.law("L42")
def test_a_message_that_acts_twice_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = paid().cancel().wait(SECONDS)
    twice = scene.state._replace(verbs=())  # as if it had been forgotten
    monkeypatch.setattr(scene, "_stage", scene._stage._replace(state=twice))  # pyright: ignore[reportPrivateUsage]  # a broken saga
    assert "the same message again led to event 13" in complaint(scene.duplicate)


def test_a_reply_of_the_wrong_type_is_refused_where_no_type_checker_looks() -> None:
    asked = given(order, AN_ORDER).expect(CreateOrder)
    with pytest.raises(TypeError, match="CreateOrder answers with OrderCreated, not CardCharged"):
        asked.reply(CHARGED)  # type: ignore[arg-type]  # what is under test
    undoing = charging().refuse(CardDeclined(card="visa")).expect(CancelOrder)
    with pytest.raises(TypeError, match="CancelOrder answers with NoneType, not CardCharged"):
        undoing.reply(CHARGED)  # type: ignore[call-overload]  # as above


def test_a_command_of_another_saga_is_refused() -> None:
    scene = given(counter, AN_ORDER).expect(CreateOrder)
    with pytest.raises(TypeError, match="No step of 'counter' sends ShipParcel"):
        scene.skip(ShipParcel)


def test_what_the_saga_refuses_is_raised_with_the_history_as_a_note() -> None:
    with pytest.raises(IllegalOperation, match="running, not stuck") as found:
        charging().skip(ChargeCard)
    assert "order-1 is running:" in found.value.__notes__[0]


def test_a_scene_that_goes_in_circles_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "MAX_TICKS", 3)
    assert "more than 3 times became due" in complaint(lambda: charging().wait(60))


def test_a_scene_is_a_story_and_reads_as_one() -> None:
    scene = charging()
    assert scene.story == (order.definition, "order-1", scene.history, None, None)
    assert str(scene).startswith("order-1 is running:\n")
