"""Which events a saga listens for, and how they name it: the core, and what is refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_saga import DefinitionError, Message, Saga
from es_saga.core.aggregate import fold
from es_saga.core.correlation import Correlation, Named
from es_saga.core.decide import react
from es_saga.core.errors import IllegalOperation, InvalidInput, NotFound, NotYet
from es_saga.core.events import SagaEvent
from es_saga.core.inputs import Heard, Start, Tick
from es_saga.core.messages import Envelope, Event
from es_saga.core.state import SagaState, SagaStatus

HOUR = timedelta(hours=1)


class Ordered(Event):
    by = "shop"
    about = "order_id"
    order_id: str
    pence: int = 5


class Paid(Event):
    by = "bank"
    about = "order_id"
    order_id: str


class Packed(Event):
    by = "packer"
    about = "parcel_id"
    parcel_id: str


class Nobodys(Event):
    about = "order_id"
    order_id: str


def parcel() -> Saga[Ordered]:
    """A saga that only listens."""
    saga = Saga("parcel", Ordered)
    saga.starts_on(Ordered)
    saga.wait(Paid, timeout=HOUR)
    saga.wait(Packed, timeout=HOUR, key="parcel_id")
    return saga


class Listener:
    """One parcel, `parcel-1`, and what it hears."""

    def __init__(self) -> None:
        self.definition = parcel().definition
        self.state: SagaState | None = None
        self.log: list[SagaEvent] = []

    def hear(self, event: Event, id: str = "m", **changes: Any) -> list[str]:
        data = event.model_dump(mode="json")
        told = Heard("parcel-1", event.by, type(event).__name__, data, id, "1")
        return self.take(told._replace(**changes))

    def take(self, given: Heard | Tick | Start, now: float = 1.0) -> list[str]:
        events, self.state = react(self.definition, self.state, given, now)
        self.log += events
        assert fold("parcel-1", self.log) == self.state
        return [type(event).__name__ for event in events]


@pytest.mark.requirement("R002")
@given(st.data())
def test_events_in_any_order_and_any_number_come_to_the_same_end(data: st.DataObject) -> None:
    told: list[Event] = [Ordered(order_id="1"), Paid(order_id="1"), Packed(parcel_id="1")]
    again = data.draw(st.lists(st.sampled_from(told), max_size=4))
    listener = Listener()
    waiting = data.draw(st.permutations([*told, *again]))
    while waiting:
        early: list[Event] = []
        for event in waiting:
            try:
                listener.hear(event)
            except NotYet:
                assert listener.state is None
                early.append(event)
        waiting = early
    assert listener.state is not None
    assert listener.state.status is SagaStatus.COMPLETED
    kinds = [type(event).__name__ for event in listener.log]
    assert sorted(kinds) == sorted(
        ["SagaStarted", "SagaCompleted", *["StepStarted", "SignalReceived", "StepSucceeded"] * 2]
    )


def test_the_event_that_begins_it_is_its_input_and_its_key_the_sagas() -> None:
    listener = Listener()
    listener.hear(Ordered(order_id="1", pence=7), "m-1", trace="t")
    assert listener.state is not None
    origin = listener.state.origin
    assert (origin.data, origin.key, origin.trace) == ({"order_id": "1", "pence": 7}, "1", "t")
    assert listener.log[0].cause == "m-1"


def test_a_saga_that_was_started_otherwise_listens_all_the_same() -> None:
    listener = Listener()
    listener.take(Start("parcel-1", {"order_id": "1", "pence": 7}))
    assert listener.hear(Ordered(order_id="1")) == []
    heard = listener.hear(Paid(order_id="1"), "m-2")
    assert heard == ["SignalReceived", "StepSucceeded", "StepStarted"]
    assert {event.cause for event in listener.log[-3:]} == {"m-2"}


def test_what_comes_when_nobody_waits_any_more_is_told_to_people() -> None:
    listener = Listener()
    listener.hear(Ordered(order_id="1"))
    listener.hear(Paid(order_id="1"))
    listener.take(Tick(), HOUR.total_seconds() + 1)
    assert listener.state is not None
    assert listener.state.status is SagaStatus.COMPENSATED
    assert listener.hear(Paid(order_id="1")) == [], "it was heard in time"
    with pytest.raises(IllegalOperation, match="waits for nothing any more"):
        listener.hear(Packed(parcel_id="1"))


def test_what_does_not_fit_or_means_nothing_is_refused() -> None:
    listener = Listener()
    with pytest.raises(NotYet, match=r"Paid tells of parcel-1, which has not begun\."):
        listener.hear(Paid(order_id="1"))
    with pytest.raises(InvalidInput, match="That is no Ordered: order_id: Field required"):
        listener.hear(Ordered(order_id="1"), data={})
    listener.hear(Ordered(order_id="1"))
    with pytest.raises(InvalidInput):
        listener.hear(Paid(order_id="1"), data={})
    with pytest.raises(NotFound, match="Paid of shop means nothing to parcel-1"):
        listener.hear(Paid(order_id="1"), by="shop")


def test_a_function_that_raises_makes_no_saga() -> None:
    class Box(Message):
        pence: int

    saga = Saga("box", Box)
    saga.wait(Paid, timeout=HOUR)

    @saga.starts_on(Ordered)
    def begin(event: Ordered) -> Box:
        return Box(pence=100 // event.pence)

    def heard(pence: int) -> list[SagaEvent]:
        told = {"order_id": "1", "pence": pence}
        return react(
            saga.definition, None, Heard("box-1", "shop", "Ordered", told, "m"), 1.0
        ).events

    assert heard(5)[0].model_dump(include={"data"}) == {"data": {"pence": 20}}
    with pytest.raises(InvalidInput, match=r"starts_on\(Ordered\) raised ZeroDivisionError"):
        heard(0)
    assert begin(Ordered(order_id="1")).pence == 20


# ── which saga it is ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("correlation", "attributes", "saga"),
    [
        (Correlation(Paid, "order_id"), {"data": {"order_id": "7"}}, Named("parcel-7", "7")),
        (Correlation(Paid, "order_id"), {"data": {"order_id": 7}}, Named("parcel-7", "7")),
        (Correlation(Paid, None, "subject"), {"subject": "7"}, Named("parcel-7", "7")),
        (Correlation(Paid, None, "correlationid"), {"correlationid": "7"}, Named("parcel-7", "7")),
        (
            Correlation(Paid, None, "sagaid"),
            {"sagaid": "p", "sagatype": "parcel"},
            Named("p", None),
        ),
        (Correlation(Paid, None, "sagaid"), {"sagaid": "p", "sagatype": "order"}, None),
        (Correlation(Paid, None, "sagaid"), {}, None),
    ],
)
def test_an_event_names_its_saga(
    correlation: Correlation, attributes: dict[str, Any], saga: Named | None
) -> None:
    event = Envelope.model_validate({"id": "e", "source": "x", "type": "Paid", **attributes})
    assert correlation.saga_of(event, "parcel") == saga


@pytest.mark.parametrize(
    ("correlation", "attributes"),
    [
        (Correlation(Paid, "order_id"), {"data": {}}),
        (Correlation(Paid, "order_id"), {"data": [1]}),
        (Correlation(Paid, "order_id"), {"data": {"order_id": ""}}),
        (Correlation(Paid, "order_id"), {"data": {"order_id": "a.b"}}),
        (Correlation(Paid, None, "subject"), {}),
        (Correlation(Paid, None, "correlationid"), {"data": {"correlationid": "7"}}),
        (Correlation(Paid, None, "sagaid"), {"sagaid": "a.b", "sagatype": "parcel"}),
    ],
)
def test_an_event_that_names_none_is_refused(
    correlation: Correlation, attributes: dict[str, Any]
) -> None:
    event = Envelope.model_validate({"id": "e", "source": "x", "type": "Paid", **attributes})
    with pytest.raises(InvalidInput):
        correlation.saga_of(event, "parcel")


# ── what is refused when it is written ───────────────────────────────────────────────────────────


def test_everything_that_cannot_be_listened_for_is_told_at_once() -> None:
    class Box(Message):
        pence: int

    class Unsaid(Event):
        by = "shop"

    class Loose(Event):
        about = "order_id"
        order_id: str

    saga = Saga("box", Box)
    saga.starts_on(Ordered)
    saga.starts_on(Nobodys)(lambda _event: Box(pence=1))
    saga.starts_on(Unsaid, header="traceparent")(lambda _event: Box(pence=1))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    saga.wait(Packed, timeout=HOUR)
    saga.wait(Ordered, timeout=HOUR)
    saga.wait(Paid, timeout=HOUR, key="order_id", header="subject")
    saga.wait(Box, timeout=HOUR, key="pence")
    saga.wait(Loose, timeout=HOUR)
    saga.starts_on(Box)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
    with pytest.raises(DefinitionError) as caught:
        _ = saga.definition
    assert caught.value.faults == (
        "Ordered is no Box: decorate a function that makes one of it",
        "Nobodys does not say whose event it is: set `by` in its class",
        "Unsaid: header='traceparent' names no saga: use sagaid, correlationid, subject",
        "starts_on(Box): that is no Event of a service",
        "Packed has no field 'order_id', so nobody knows which saga it belongs to",
        "Ordered is listened for twice: derive a class for each meaning",
        "Paid is correlated by its header or by a key, not by both",
        "box has key= or header=, and Box is no Event of a service",
        "Loose does not say whose event it is: set `by` in its class",
    )


def ordered(event: Ordered) -> Paid:
    raise NotImplementedError


def test_the_function_of_a_beginning_makes_the_input() -> None:
    saga = Saga("parcel", Ordered)
    saga.starts_on(Packed, key="parcel_id")(ordered)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    saga.wait(Paid, timeout=HOUR, key="order_id")
    with pytest.raises(DefinitionError) as caught:
        _ = saga.definition
    assert caught.value.faults == ("ordered returns Paid, but the input of the saga is Ordered",)


def test_an_event_without_a_correlation_key_is_refused() -> None:
    class Unsaid(Event):
        by = "shop"

    saga = Saga("box", Unsaid)
    saga.starts_on(Unsaid)
    saga.wait(Paid, timeout=HOUR)
    with pytest.raises(DefinitionError) as caught:
        _ = saga.definition
    assert caught.value.faults == (
        "Unsaid has no correlation key: set `about` in its class, or give key=",
    )
