"""A flow that nobody conducts: what is heard becomes the log of a saga; faults are refused."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_saga.core.aggregate import fold
from es_saga.core.choreography import Choreography
from es_saga.core.compiled import Definition
from es_saga.core.correlation import Named
from es_saga.core.decide import react
from es_saga.core.errors import DefinitionError, IllegalOperation, InvalidInput, NotFound, NotYet
from es_saga.core.events import (
    CompensationFailed,
    CompensationIssued,
    CompensationStarted,
    SagaEvent,
    SagaStuck,
)
from es_saga.core.inputs import Cancel, Heard, Resend, Resume, RetryStuck, Tick
from es_saga.core.messages import Envelope, Event, Subjects
from es_saga.core.state import SagaState, SagaStatus
from es_saga.diagrams.messages import lines
from es_saga.engine.outgoing import Sender
from es_saga.replay import Replay, diverges
from es_saga.testing import Story, judge
from tests.core.branching import FlightFull, HotelFull, TripDropped, TripPlanned, trip
from tests.core.fulfilment import (
    MINUTE,
    OrderCancelled,
    OrderCreated,
    OrderEvent,
    PaymentCompleted,
    PaymentDeclined,
    PaymentRefunded,
    StockInsufficient,
    StockReserved,
    fulfilment,
)

CREATED = OrderCreated(order_id="1", pence=5)
PAID, DECLINED = PaymentCompleted(order_id="1"), PaymentDeclined(order_id="1")
RESERVED, SOLD_OUT = StockReserved(order_id="1"), StockInsufficient(order_id="1")
REFUNDED, CANCELLED = PaymentRefunded(order_id="1"), OrderCancelled(order_id="1")

HAPPY: list[Event] = [CREATED, PAID, RESERVED]
UNHAPPY: list[Event] = [CREATED, PAID, SOLD_OUT, REFUNDED, CANCELLED]


class Watched:
    """One saga, with the key 1, and what is heard of it."""

    def __init__(self, definition: Definition | None = None) -> None:
        self.definition = definition or fulfilment().definition
        self.saga_id = f"{self.definition.name}-1"
        self.state: SagaState | None = None
        self.log: list[SagaEvent] = []
        self.now = 0.0
        self._numbers = count()

    def hear(self, event: Event) -> list[str]:
        data = event.model_dump(mode="json")
        return self.put(event.by, type(event).__name__, data)

    def put(self, by: str, name: str, data: object) -> list[str]:
        return self._react(Heard(self.saga_id, by, name, data, f"m-{next(self._numbers)}"))

    def wait(self, seconds: float) -> list[str]:
        self.now += seconds
        return self._react(Tick())

    def _react(self, given: Heard | Tick) -> list[str]:
        decided = react(self.definition, self.state, given, self.now)
        self.state = decided.state
        self.log += decided.events
        assert fold(self.saga_id, self.log) == self.state
        return [type(event).__name__ for event in decided.events]

    @property
    def status(self) -> SagaStatus:
        assert self.state is not None
        return self.state.status


@pytest.mark.requirement("R002")
def test_what_is_heard_is_the_history_of_a_saga() -> None:
    saga = Watched()
    assert saga.hear(CREATED) == ["SagaStarted", "StepStarted", "StepSucceeded", "StepStarted"]
    assert saga.hear(PAID) == ["StepSucceeded", "StepStarted"]
    assert saga.hear(RESERVED) == ["StepSucceeded", "SagaCompleted"]
    assert saga.state is not None
    assert saga.state.origin.data == {"order_id": "1", "pence": 5}
    assert saga.state.steps["payment_completed"].do.reply == {"order_id": "1"}


@pytest.mark.requirement("R043", "R044")
def test_each_undo_is_expected_once_and_told_by_its_own_event() -> None:
    saga = Watched()
    for event in UNHAPPY[:2]:
        saga.hear(event)
    assert saga.hear(SOLD_OUT) == [
        "StepRefused",
        "CompensationStarted",
        *["CompensationIssued"] * 2,
    ]
    dues = [event.due for event in saga.log if isinstance(event, CompensationIssued)]
    assert dues == [2 * MINUTE.total_seconds(), MINUTE.total_seconds()], "one leads to the other"
    assert saga.hear(REFUNDED) == ["CompensationSucceeded"]
    assert saga.hear(CANCELLED) == ["CompensationSucceeded", "SagaCompensated"]
    assert saga.status is SagaStatus.COMPENSATED


@given(st.sampled_from([HAPPY, UNHAPPY]), st.data())
def test_events_in_any_order_and_any_number_come_to_the_same_end(
    told: list[Event], data: st.DataObject
) -> None:
    again = data.draw(st.lists(st.sampled_from(told), max_size=4))
    waiting = data.draw(st.permutations([*told, *again]))
    saga, calm = Watched(), Watched()
    while waiting:
        early: list[Event] = []
        for event in waiting:
            try:
                saga.hear(event)
            except NotYet:
                early.append(event)
        assert len(early) < len(waiting), "nothing goes on any more"
        waiting = early
    for event in told:
        calm.hear(event)
    assert [type(event) for event in saga.log] == [type(event) for event in calm.log]
    assert saga.status is calm.status
    assert saga.status in (SagaStatus.COMPLETED, SagaStatus.COMPENSATED)


def test_nobody_is_asked_for_anything() -> None:
    saga = Watched()
    for event in UNHAPPY[:-1]:
        saga.hear(event)
    assert saga.state is not None
    sender = Sender("shop", Subjects())
    assert list(sender.commands(saga.definition, saga.state, saga.log)) == []
    assert list(sender.commands(None, saga.state, saga.log)) == []
    assert list(sender.in_flight(saga.definition, saga.state)) == []


def test_in_a_sequence_diagram_services_tell_and_nobody_is_asked() -> None:
    saga = Watched()
    for event in UNHAPPY[:-1]:
        saga.hear(event)
    saga.wait(2 * MINUTE.total_seconds())
    again = RetryStuck("ada", "it will come", "v-1", "order_created")
    saga.log += react(saga.definition, saga.state, again, saga.now).events
    told = [(line.what.value, line.service) for line in lines(saga.log)]
    assert told == [
        ("note", None),
        ("done", "orders"),
        ("done", "payments"),
        ("refused", "stock"),
        ("turn", None),
        ("done", "payments"),
        ("silence", "orders"),
        ("note", None),  # stuck
        ("verb", None),
    ]


@pytest.mark.parametrize("told", [HAPPY, UNHAPPY])
def test_a_missing_event_takes_a_human_and_coming_after_all_it_goes_on(told: list[Event]) -> None:
    saga = Watched()
    for event in told[:-1]:
        saga.hear(event)
    saga.wait(2 * MINUTE.total_seconds())
    assert saga.status is SagaStatus.STUCK
    assert saga.state is not None
    assert not saga.state.backward or told is UNHAPPY
    saga.hear(told[-1])
    assert saga.status in (SagaStatus.COMPLETED, SagaStatus.COMPENSATED)


def test_an_undo_that_is_not_told_in_time_takes_a_human_while_others_may_still_come() -> None:
    saga = Watched()
    for event in UNHAPPY[:3]:
        saga.hear(event)
    assert saga.wait(MINUTE.total_seconds()) == ["CompensationFailed", "SagaStuck"]
    assert saga.state is not None
    assert saga.state.current == ("order_created",)
    missed = "PaymentRefunded was not heard in time"
    failed, stuck = saga.log[-2:]
    assert isinstance(failed, CompensationFailed)
    assert isinstance(stuck, SagaStuck)
    assert failed.error == stuck.why == missed, "nobody was asked"


def test_what_is_heard_after_the_end_changes_nothing() -> None:
    saga = Watched()
    for event in (CREATED, DECLINED, CANCELLED):
        saga.hear(event)
    assert saga.status is SagaStatus.COMPENSATED
    assert [saga.hear(event) for event in (PAID, RESERVED, REFUNDED)] == [
        ["LateReplyNoted"],
        [],
        [],
    ]


def test_a_no_that_comes_when_the_undo_is_expected_leaves_nothing_to_undo() -> None:
    saga = Watched(trip().definition)
    saga.hear(TripPlanned(trip_id="1"))
    saga.wait(MINUTE.total_seconds())
    assert saga.status is SagaStatus.STUCK, "both are missing"
    assert saga.hear(HotelFull(trip_id="1"))[-2:] == ["CompensationIssued"] * 2
    (turn,) = (event for event in saga.log if isinstance(event, CompensationStarted))
    assert turn.step == "hotel_booked", "not the one that it was stuck at"
    assert saga.hear(FlightFull(trip_id="1")) == ["CompensationSucceeded"]
    assert saga.hear(TripDropped(trip_id="1")) == ["CompensationSucceeded", "SagaCompensated"]


def test_what_nobody_conducts_nobody_turns_back() -> None:
    saga = Watched()
    saga.hear(CREATED)
    with pytest.raises(IllegalOperation, match="only watched"):
        react(saga.definition, saga.state, Cancel("ada", "why not", "v-1"), 1.0)


def test_nobody_was_asked_so_nobody_is_asked_again() -> None:
    onward, back = Watched(), Watched()
    onward.hear(CREATED)
    for event in UNHAPPY[:3]:
        back.hear(event)
    for saga in (onward, back):
        for verb in (RetryStuck, Resume, Resend):
            with pytest.raises(IllegalOperation) as refused:
                react(saga.definition, saga.state, verb("ada", "it takes long", "v-1"), 1.0)
            assert refused.value.hint == (
                "Nobody conducts it: it goes on when its services publish what is expected."
            )


def test_an_event_that_does_not_fit_or_means_nothing_is_refused() -> None:
    saga = Watched()
    with pytest.raises(InvalidInput):
        saga.put("orders", "OrderCreated", {"order_id": "1"})
    saga.hear(CREATED)
    with pytest.raises(InvalidInput):
        saga.put("payments", "PaymentCompleted", {"order": "1"})
    with pytest.raises(NotFound, match="means nothing"):
        saga.put("payments", "PaymentDreamtOf", {})
    with pytest.raises(NotFound, match="means nothing"):  # somebody else's event of that name
        saga.put("stock", "PaymentCompleted", {"order_id": "1"})


@pytest.mark.requirement("R002")
@pytest.mark.parametrize("told", [HAPPY, UNHAPPY, HAPPY[:-1], UNHAPPY[:-1]])
@pytest.mark.parametrize("in_time", [True, False])
def test_laws_and_replay_take_its_log_for_that_of_any_saga(
    told: list[Event], in_time: bool
) -> None:
    saga = Watched()
    for event in told[:-1]:
        saga.hear(event)
        saga.now += 1
    if not in_time:
        saga.wait(2 * MINUTE.total_seconds())
    saga.hear(told[-1])
    story = Story(saga.definition, "fulfilment-1", saga.log, sent=())
    assert judge(story).violations == []
    replay = Replay.of("fulfilment-1", saga.log)
    assert diverges(saga.definition, replay) is None
    assert not any(moment.commands for moment in replay.moments)


# ── what is wrong with a flow ────────────────────────────────────────────────────────────────────


def faults(flow: Choreography[OrderCreated]) -> tuple[str, ...]:
    with pytest.raises(DefinitionError) as caught:
        _ = flow.definition
    return caught.value.faults


class Anonymous(Event):
    pass


class ParcelSent(OrderEvent):
    by = "carrier"


class ParcelLost(OrderEvent):
    by = "carrier"


class ParcelBack(OrderEvent):
    by = "carrier"


@pytest.mark.requirement("R008")
def test_services_that_wait_for_each_other_are_found() -> None:
    flow = Choreography("flow", OrderCreated)
    flow.expects(PaymentCompleted, after=StockReserved, within=MINUTE)
    flow.expects(StockReserved, after=(OrderCreated, PaymentCompleted), within=MINUTE)
    assert faults(flow) == ("these steps wait for each other: payment_completed, stock_reserved",)


@pytest.mark.requirement("R008")
def test_undos_that_wait_for_each_other_are_never_told() -> None:
    flow = Choreography("flow", OrderCreated)
    flow.expects(ParcelSent, after=OrderCreated, within=MINUTE, unless=ParcelLost)
    flow.undoes(ParcelBack, ParcelSent, after=OrderCancelled, within=MINUTE)
    flow.undoes(OrderCancelled, OrderCreated, after=ParcelBack, within=MINUTE)
    assert faults(flow) == (
        "ParcelBack is never told: no refusal leads to it",
        "OrderCancelled is never told: no refusal leads to it",
    )


def test_all_that_is_wrong_is_told_at_once() -> None:
    flow = Choreography("flow", OrderCreated)
    flow.expects(Anonymous, after=OrderCreated, within=MINUTE * 0, stays=True)
    flow.expects(ParcelSent, after=StockReserved, within=MINUTE, unless=ParcelLost)
    flow.undoes(ParcelSent, StockReserved, after=OrderCreated, within=MINUTE)
    assert faults(flow) == (
        "Anonymous does not say whose event it is: set `by` in its class",
        "Anonymous has no field 'order_id', so nobody knows which saga it belongs to",
        "Anonymous: `within` must be longer than nothing",
        "ParcelSent is told of twice: derive a class for each meaning",
        "parcel_sent comes after 'stock_reserved', which is no step of this saga",
        "ParcelSent undoes StockReserved, which is not expected",
        "ParcelSent comes after OrderCreated, which is neither a refusal nor an undo: name it in "
        "unless=, or in undoes(…)",
        "ParcelSent is never told: no refusal leads to it",
        "OrderCreated is not undone when there is ParcelLost: declare what undoes it, or say "
        "stays=True",
    )


@pytest.mark.requirement("R043")
def test_each_refusal_leads_to_every_undo_that_it_makes_necessary() -> None:
    flow = fulfilment()
    flow.expects(ParcelSent, after=StockReserved, within=MINUTE, unless=ParcelLost)
    flow.undoes(ParcelBack, StockReserved, after=ParcelLost, within=MINUTE)
    assert faults(flow) == (
        "OrderCreated is not undone when there is ParcelLost: nothing leads from that to "
        "OrderCancelled",
        "PaymentCompleted is not undone when there is ParcelLost: nothing leads from that to "
        "PaymentRefunded",
    )


def test_a_flow_is_watched_and_not_conducted() -> None:
    flow = fulfilment()
    flow.wait(PaymentCompleted, timeout=MINUTE)
    flow.starts_on(OrderCreated)
    flow.undoes(ParcelBack, OrderCreated, after=StockInsufficient, within=MINUTE)
    assert faults(flow) == (
        "it has steps: nobody conducts a Choreography; write expects(…)",
        "it is begun by its first event only: starts_on(…) is for conducted sagas",
        "OrderCreated is undone by two events",
        "OrderCreated is not undone when there is PaymentDeclined: nothing leads from that to "
        "ParcelBack",
    )


class Shipped(ParcelSent):
    """The parcel is on its way."""

    waybill: str


class Arrived(Shipped):
    pass


def test_a_flow_may_say_which_field_its_events_name_it_by_and_which_version_it_is() -> None:
    usual = Choreography("parcel", Shipped).definition
    named = Choreography("parcel", Shipped, key="waybill", version=3)
    named.expects(Arrived, after=Shipped, within=MINUTE)
    definition = named.definition
    assert (usual.version, definition.version) == (1, 3)
    told = Envelope(id="m-1", source="s", type="Arrived", data={"order_id": "1", "waybill": "w"})
    by = {one.saga_of(told, "parcel") for one in definition.correlations.values()}
    assert by == {Named("parcel-w", "w")}
    (one,) = {one.saga_of(told, "parcel") for one in usual.correlations.values()}
    assert one == Named("parcel-1", "1")
    assert definition.steps["shipped"].doc == "The parcel is on its way."


def test_a_flow_knows_who_reacts_to_what() -> None:
    assert list(fulfilment().reactions()) == [
        (PaymentCompleted, (OrderCreated,)),
        (PaymentDeclined, (OrderCreated,)),
        (StockReserved, (PaymentCompleted,)),
        (StockInsufficient, (PaymentCompleted,)),
        (PaymentRefunded, (StockInsufficient,)),
        (OrderCancelled, (PaymentRefunded, PaymentDeclined)),
    ]


def test_what_may_have_happened_beside_a_refusal_is_undone_or_said_to_stay() -> None:
    flow = fulfilment()
    flow.expects(ParcelSent, after=OrderCreated, within=MINUTE)
    (found,) = faults(flow)
    assert found.startswith("ParcelSent is not undone when there is PaymentDeclined: declare")
    flow = fulfilment()
    flow.expects(ParcelSent, after=OrderCreated, within=MINUTE, stays=True)
    assert flow.definition.steps["parcel_sent"].undo is None
