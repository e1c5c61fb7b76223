"""A saga that an event begins, and that waits for events, for the tests."""

from __future__ import annotations

from datetime import timedelta

from es_saga import Saga
from es_saga.core.messages import Envelope, Event, Subjects
from tests.engine.errand import (
    PATIENCE,
    RETRY,
    Errand,
    Fetch,
    Fetched,
    PutBack,
    World,
)

HOUR = timedelta(hours=1)


class Ordered(Event):
    by = "shop"
    about = "order_id"
    order_id: str
    thing: str


class Paid(Event):
    """It is about a payment, and names the order besides."""

    by = "bank"
    about = "payment_id"
    payment_id: str
    order_id: str


class Weighed(Event):
    by = "scales"
    about = "scales_id"
    scales_id: str
    grams: int


class Sealed(Event):
    by = "scales"
    about = "scales_id"
    scales_id: str


parcel = Saga("parcel", Errand)


@parcel.starts_on(Ordered)
def begin(event: Ordered) -> Errand:
    if event.thing == "nothing":
        raise ValueError("nothing to send")
    return Errand(thing=event.thing)


@parcel.step(timeout=PATIENCE, retry=RETRY)
def fetch(e: Errand) -> Fetch:
    return Fetch(thing=e.thing)


@fetch.compensation
def put_back(e: Errand, fetched: Fetched | None) -> PutBack:
    return PutBack(thing=e.thing)


parcel.wait(Paid, timeout=HOUR)
parcel.wait(Weighed, timeout=HOUR, header="correlationid")
parcel.wait(Sealed, timeout=HOUR, header="sagaid")

ORDERED = Ordered(order_id="7", thing="tea")
PAID = Paid(payment_id="p-1", order_id="7")
WEIGHED, SEALED = Weighed(scales_id="s", grams=90), Sealed(scales_id="s")

ATTRIBUTES: dict[type[Event], dict[str, str]] = {
    Weighed: {"correlationid": "7"},
    Sealed: {"sagaid": "parcel-7", "sagatype": "parcel"},
}
"""By which the envelope names the saga, where the event itself does not."""


async def tell(w: World, event: Event, id: str | None = None, **attributes: str) -> None:
    """Publish an event as its service would."""
    name = type(event).__name__
    about = str(getattr(event, event.about))
    envelope = Envelope.model_validate(
        {
            "id": id or f"{name}-1",
            "source": f"svc/{event.by}",
            "type": name,
            "subject": about,
            "data": event.model_dump(mode="json"),
            **(attributes or ATTRIBUTES.get(type(event), {})),
        }
    )
    subjects: Subjects = w.subjects
    await w.transport.publish(subjects.event(event.by, about, name), envelope)
