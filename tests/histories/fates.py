"""What is recorded: every saga of the reference business, and what can become of it.

A fate is played as a scene of today's code. Once it is recorded the file stays as it is, whatever
becomes of the code (see `record`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any, NamedTuple

from domain.activities import course
from domain.activities.contracts import (
    PerformA,
    PerformB,
    PerformC,
    Performed,
    Rejected,
    RunCourse,
)
from domain.credit import purchase
from domain.credit.contracts import (
    ApproveCredit,
    BuyOnCredit,
    CreditApproved,
    LimitExceeded,
    PayShop,
    ShopClosed,
    ShopPaid,
)
from domain.orders import collect, counter, express, order
from domain.orders.contracts import (
    AddressUnknown,
    CardCharged,
    CardDeclined,
    ChargeCard,
    CreateOrder,
    OrderCreated,
    OrderRejected,
    OutOfStock,
    ParcelShipped,
    PlaceOrder,
    ReserveStock,
    ShipParcel,
    StockReserved,
)
from domain.procurement import procurement
from domain.procurement.contracts import DEAR_PENCE, Approval, Request
from domain.procurement.saga import TO_APPROVE, TO_PAY
from domain.together import journey, together
from domain.together.contracts import BookJourney, TravelTogether
from domain.transfer import transfer
from domain.transfer.contracts import (
    AccountClosed,
    Deposit,
    Deposited,
    NoPostalAddress,
    NotAllowed,
    NotEnoughMoney,
    ReceiptSent,
    SendMoney,
    SendReceipt,
    ValidateTransfer,
    Withdraw,
    Withdrawn,
)
from domain.travel import getaway, stay, trip
from domain.travel.contracts import (
    BookCar,
    BookFlight,
    BookGetaway,
    BookRoom,
    BookStay,
    BookTrip,
    CarBooked,
    FlightBooked,
    ItineraryPrinted,
    NoCar,
    NoRoom,
    NoSeat,
    PayTrip,
    PrintItinerary,
    RoomBooked,
    TripPaid,
    WalletEmpty,
)
from domain.wholesale import wholesale
from domain.wholesale.contracts import BulkOrder, Line, Reserved, ReserveLine
from es_saga import Command, Message, Refusal, Saga
from es_saga.core.compiled import StepDefinition, StepKind
from es_saga.core.messages import Direction
from es_saga.core.nested import ChildSaga, command_of
from es_saga.core.unfolding import unfolded
from es_saga.testing import Asked, Scene, given
from es_saga.testing.stage import AnyCommand
from tests.core.sagas import Do, Done, Trip, chain

Type = type[Command[Any]]


class Answers(NamedTuple):
    """What a participant may say to a command."""

    reply: Message | None
    refusal: Refusal


_ANSWERS: Mapping[Type, Answers] = {
    CreateOrder: Answers(OrderCreated(order_id="7"), OrderRejected(reason="barred")),
    ChargeCard: Answers(CardCharged(charge="charge 7"), CardDeclined(card="visa")),
    ReserveStock: Answers(StockReserved(reservation="for 7"), OutOfStock(sku="teapot")),
    ShipParcel: Answers(ParcelShipped(parcel="parcel 7"), AddressUnknown(town="York")),
    ValidateTransfer: Answers(None, NotAllowed(reason="too much in one go")),
    Withdraw: Answers(Withdrawn(debit="out 7"), NotEnoughMoney(sender="ada")),
    Deposit: Answers(Deposited(credit="in 7"), AccountClosed(recipient="bob")),
    SendReceipt: Answers(ReceiptSent(receipt="receipt 7"), NoPostalAddress(recipient="bob")),
    ApproveCredit: Answers(CreditApproved(approval="credit 7"), LimitExceeded(customer="ada")),
    PayShop: Answers(ShopPaid(payment="payment 7"), ShopClosed(shop="bookshop")),
    PerformA: Answers(Performed(activity="a"), Rejected(activity="a")),
    PerformB: Answers(Performed(activity="b"), Rejected(activity="b")),
    PerformC: Answers(Performed(activity="c"), Rejected(activity="c")),
    BookFlight: Answers(FlightBooked(ticket="seats 7"), NoSeat(flight="BA117")),
    BookRoom: Answers(RoomBooked(voucher="rooms 7"), NoRoom(hotel="Savoy")),
    BookCar: Answers(CarBooked(contract="cars 7"), NoCar(car="compact")),
    PayTrip: Answers(TripPaid(payment="trip 7"), WalletEmpty(traveller="ada")),
    PrintItinerary: Answers(ItineraryPrinted(document="itinerary 7"), NoRoom(hotel="Savoy")),
    ReserveLine: Answers(Reserved(pence=3_600), OutOfStock(sku="cup")),
    command_of("begin", journey): Answers(ChildSaga(saga_id="child 7"), NoSeat(flight="BA117")),
    Do: Answers(Done(by="desk"), Rejected(activity="it")),
}

_AN_ORDER = PlaceOrder(
    order_id="7", customer="ada", sku="teapot", quantity=2, pence=1_800, card="visa", town="York"
)
_A_TRIP = BookTrip(
    trip_id="7", traveller="ada", flight="BA117", hotel="Savoy", car="compact", pence=90_000
)
_A_GETAWAY = BookGetaway(
    trip_id="7", traveller="ada", flight="BA117", hotel="Savoy", other_hotel="Ritz", pence=90_000
)
_A_JOURNEY = BookJourney(trip_id="7", flight="BA117", hotel="Savoy")
_TWO_JOURNEYS = TravelTogether(
    trip_id="7",
    traveller="ada",
    first_flight="BA117",
    second_flight="BA118",
    hotel="Savoy",
    pence=90_000,
)
_DEAR = Request(request_id="7", item="desk", pence=DEAR_PENCE)
_CHEAP = Request(request_id="7", item="chair", pence=DEAR_PENCE - 1)
_CUPS = Line(sku="cup", pieces=12)
_ONE_LINE = BulkOrder(order_id="7", shop="ann's", lines=[_CUPS])
_TWO_LINES = BulkOrder(order_id="7", shop="ann's", lines=[_CUPS, Line(sku="unicorn", pieces=1)])

_INPUTS: list[tuple[Saga[Any], Message]] = [
    (order, _AN_ORDER),
    (collect, _AN_ORDER),
    (express, _AN_ORDER),
    (counter, _AN_ORDER),
    (transfer, SendMoney(transfer_id="7", sender="ada", recipient="bob", pence=2_500)),
    (stay, BookStay(trip_id="7", traveller="ada", hotel="Savoy", pence=90_000)),
    (trip, _A_TRIP),
    (purchase, BuyOnCredit(purchase_id="7", customer="ada", shop="bookshop", pence=1_500)),
    (course, RunCourse(course_id="7")),
]


class Play:
    """A scene in which participants answer in the order in which they were asked."""

    def __init__(self, saga: Saga[Any], data: Message) -> None:
        steps = list(saga.definition.steps.values())
        self.last_before_pivot = [step.command for step in steps if not step.after_pivot][-1]
        self.last_undoable = [step.command for step in steps if step.undo][-1]
        self.pivot = next((step.command for step in steps if step.kind is StepKind.PIVOT), None)
        self.definition = saga.definition
        self.asked: list[AnyCommand] = []
        """Commands that nobody has answered yet."""
        child = saga is journey
        self.then(given(saga, data, key=None if child else "7", child=child))

    def then(self, scene: Scene) -> None:
        """This is how it goes on; whatever was sent meanwhile was to be expected."""
        steps = unfolded(self.definition, scene.state).steps
        sent = [
            _command(steps[each.key.step], each.key.direction).model_validate(each.data)
            for each in scene.sent
        ]
        if len(sent) == 1:
            scene = scene.expect(sent[0])
        elif sent:
            scene = scene.expect(*sent)
        self.scene = scene
        self.asked += sent

    def on(self, command: AnyCommand) -> Asked[Any]:
        """To say what becomes of it; of several of one type, of the first."""
        first = next((one for one in self.asked if command in (one, type(one))), None)
        if first is None:
            return self.scene.on(command)
        self.asked.remove(first)
        return self.scene.on(first)

    def well(self, until: Type | None = None) -> None:
        """All is done, up to this command."""
        while self.asked and (command := _type(self.asked[0])) is not until:
            answers = _ANSWERS.get(command)
            self.then(self.on(command).reply(answers.reply if answers else None))

    def refuse(self, command: Type) -> None:
        self.then(self.on(command).refuse(_ANSWERS[command].refusal))


def _command(step: StepDefinition, direction: Direction) -> Type:
    return step.command if direction is Direction.DO or not step.undo else step.undo.command


def _type(command: AnyCommand) -> Type:
    return command if isinstance(command, type) else type(command)


# ── before the pivot, and where there is none ────────────────────────────────────────────────────


def completed(play: Play) -> None:
    play.well()
    play.scene.completed()


def failed_twice(play: Play) -> None:
    failing = play.last_undoable
    play.well(until=failing)
    play.then(play.on(failing).fail("OSError", "the roof is leaking", attempts=2).expect(failing))
    play.asked.append(failing)
    completed(play)


def refused(play: Play) -> None:
    play.well(until=play.last_before_pivot)
    play.refuse(play.last_before_pivot)
    play.well()
    play.scene.compensated()


def timed_out(play: Play) -> None:
    """And in the end the answer comes after all."""
    unknown = play.last_undoable
    play.well(until=unknown)
    play.then(play.on(unknown).timeout(attempts=3))
    play.well()
    play.then(play.on(unknown).late(_ANSWERS[unknown].reply).compensated())


def cancelled(play: Play) -> None:
    play.well(until=play.last_undoable)
    play.then(play.scene.cancel("changed her mind", actor="ann"))
    play.well()
    play.scene.compensated()


def turned_back(play: Play) -> None:
    play.well(until=play.last_undoable)
    play.then(play.scene.compensate("it leads nowhere", actor="eve"))
    play.well()
    play.scene.compensated()


def _did_not_wait(play: Play, command: Type) -> None:
    """Sent again, failed, and tried again at once."""
    play.then(play.on(command).resend(command, actor="eve"))
    play.then(play.on(command).fail("OSError", "the roof is leaking"))
    play.then(play.scene.resume(command, actor="eve"))


def did_not_wait(play: Play) -> None:
    play.well(until=play.last_undoable)
    _did_not_wait(play, play.last_undoable)
    completed(play)


def undone_without_waiting(play: Play) -> None:
    play.well(until=play.last_before_pivot)
    play.refuse(play.last_before_pivot)
    _did_not_wait(play, _type(play.asked[0]))
    play.well()
    play.scene.compensated()


def _stuck_at_undo(play: Play) -> Type:
    play.well(until=play.last_before_pivot)
    play.refuse(play.last_before_pivot)
    undo = _type(play.asked[0])
    play.then(play.on(undo).refuse(Rejected(activity="the undo")))
    play.well()
    play.scene.stuck(undo)
    return undo


def stuck_and_retried(play: Play) -> None:
    undo = _stuck_at_undo(play)
    play.then(play.scene.retry(undo, actor="bob"))
    play.well()
    play.scene.compensated()


def stuck_and_skipped(play: Play) -> None:
    undo = _stuck_at_undo(play)
    play.then(play.scene.skip(undo, actor="bob"))
    play.well()
    play.scene.compensated(owing=[undo])


def stuck_and_resolved(play: Play) -> None:
    undo = _stuck_at_undo(play)
    play.then(play.on(undo).resolve(actor="bob"))
    play.well()
    play.scene.compensated()


# ── the pivot, and what follows it ───────────────────────────────────────────────────────────────


def _pivot_unknown(play: Play) -> Type:
    assert play.pivot is not None
    play.well(until=play.pivot)
    play.then(play.on(play.pivot).timeout(attempts=3).stuck(play.pivot))
    return play.pivot


def pivot_unknown_and_retried(play: Play) -> None:
    _pivot_unknown(play)
    play.then(play.scene.cancel("it takes too long", actor="ann").retry(actor="bob"))
    completed(play)


def pivot_unknown_and_found_not_done(play: Play) -> None:
    pivot = _pivot_unknown(play)
    play.then(play.on(pivot).resolve_not_done(actor="bob"))
    play.well()
    play.scene.compensated()


def waived_after_the_pivot(play: Play) -> None:
    play.well(until=PrintItinerary)
    play.refuse(PrintItinerary)
    play.then(play.scene.stuck(PrintItinerary).skip(PrintItinerary, actor="bob").completed())


def out_of_time(play: Play) -> None:
    """The deadline comes while the second step is in flight, which then stays unanswered."""
    play.then(play.on(Do).reply(Done(by="desk")))
    play.then(play.scene.wait(10))
    play.then(play.on(Do).timeout())
    play.well()
    play.scene.compensated()


# ── what steps may be beside steps ───────────────────────────────────────────────────────────────


def on_another_way(play: Play) -> None:
    """Undone down to the save-point, and on from there."""
    play.well(until=PayTrip)
    play.refuse(PayTrip)
    completed(play)


def on_no_way(play: Play) -> None:
    """The other way from the save-point is none either."""
    play.well(until=BookRoom)
    play.refuse(BookRoom)
    refused(play)


def approved(play: Play) -> None:
    """What it waits for comes; then it sleeps."""
    play.well()
    play.then(play.scene.wait(60).signal(Approval(by="ada")))
    paid_when_due(play)


def approved_at_once(play: Play) -> None:
    """What it waits for comes before it waits."""
    play.then(play.scene.signal(Approval(by="ada")))
    paid_when_due(play)


def paid_when_due(play: Play) -> None:
    """It sleeps; what it would wait for, were it dear, is skipped."""
    play.well()
    play.then(play.scene.wait(TO_PAY.total_seconds()))
    completed(play)


def never_approved(play: Play) -> None:
    """What it waits for does not come."""
    play.well()
    play.then(play.scene.wait(TO_APPROVE.total_seconds()))
    play.well()
    play.scene.compensated()


def held_and_closed(play: Play) -> None:
    """A child, and its parent comes to its end."""
    play.well()
    play.then(play.scene.held().parent_closes())
    play.scene.completed()


def held_and_undone(play: Play) -> None:
    """A child, and its parent is undone."""
    play.well()
    play.then(play.scene.held().parent_undoes())
    play.well()
    play.scene.compensated()


def undone_on_its_way(play: Play) -> None:
    """A child that is not done when its parent is undone."""
    play.well(until=play.last_undoable)
    play.then(play.scene.parent_undoes())
    play.well()
    play.scene.compensated()


def children_left(play: Play) -> None:
    """Its children are under way when it is cancelled: they are not waited for."""
    begun = play.asked.pop()
    play.asked.clear()
    play.then(play.scene.cancel("changed her mind", actor="ann"))
    play.well()
    play.then(play.on(begun).late(_ANSWERS[_type(begun)].reply).compensated())


def one_of_a_list_refused(play: Play) -> None:
    play.then(play.on(ReserveLine).reply(_ANSWERS[ReserveLine].reply))
    play.refuse(ReserveLine)
    play.well()
    play.scene.compensated()


Fate = Callable[[Play], None]

_ANYWHERE: list[Fate] = [
    completed,
    failed_twice,
    refused,
    timed_out,
    cancelled,
    stuck_and_retried,
    stuck_and_skipped,
    stuck_and_resolved,
]
_AT_A_PIVOT: list[Fate] = [pivot_unknown_and_retried, pivot_unknown_and_found_not_done]
_STYLES: list[tuple[Saga[Any], Message, list[Fate]]] = [
    (wholesale, _TWO_LINES, [one_of_a_list_refused]),
    (getaway, _A_GETAWAY, [on_another_way, on_no_way]),
    (procurement, _DEAR, [approved, approved_at_once, never_approved]),
    (procurement, _CHEAP, [paid_when_due]),
    (journey, _A_JOURNEY, [held_and_closed, held_and_undone, undone_on_its_way, refused]),
    (together, _TWO_JOURNEYS, [completed, refused, children_left]),
]


def _recordings() -> Iterator[tuple[str, tuple[Saga[Any], Message, Fate]]]:
    for saga, data in _INPUTS:
        for fate in _ANYWHERE + (_AT_A_PIVOT if saga.definition.pivot else []):
            yield f"{saga.name}/{fate.__name__}", (saga, data, fate)
    for saga, data in ((order, _AN_ORDER), (trip, _A_TRIP)):
        for fate in (turned_back, did_not_wait, undone_without_waiting):
            yield f"{saga.name}/{fate.__name__}", (saga, data, fate)
    yield "trip/waived_after_the_pivot", (trip, _A_TRIP, waived_after_the_pivot)
    errand = chain("a", "b", deadline=timedelta(seconds=10))
    yield "errand/out_of_time", (errand, Trip(), out_of_time)
    yield "wholesale/completed", (wholesale, _ONE_LINE, completed)
    for saga, data, fates in _STYLES:
        for fate in fates:
            yield f"{saga.name}/{fate.__name__}", (saga, data, fate)


RECORDINGS = dict(_recordings())
"""By the name of the file that each one is recorded in."""


def play(name: str) -> Scene:
    """What becomes of this saga with today's code."""
    saga, data, fate = RECORDINGS[name]
    stage = Play(saga, data)
    fate(stage)
    return stage.scene
