"""Which fields are sensitive, and what is left of them where they are hidden (R064)."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Annotated, Any

import pytest
from pydantic import Field, StringConstraints, ValidationError

from es_saga import Command, Message, Refusal, Saga
from es_saga.core.aggregate import fold
from es_saga.core.events import SignalReceived
from es_saga.core.sensitive import HIDDEN, Sensitive, SensitiveFields, sensitive_paths
from es_saga.testing import given
from es_saga.testing.scenes import Scene

pytestmark = pytest.mark.requirement("R064")


class Card(Message):
    number: Sensitive[str]
    bank: str = "bank"


class Child(Message):
    name: str
    secret: Sensitive[int] = 1
    below: list[Child] = Field(default_factory=list["Child"])


class Place(Message):
    """Everything that a field can be."""

    who: Sensitive[Annotated[str, StringConstraints(min_length=1)]]
    cards: dict[str, list[Card]] = Field(default_factory=dict[str, list[Card]])
    best: Card | None = None
    note: Sensitive[str] | None = None
    spare: list[Annotated[Card, Field(description="another one")]] = Field(
        default_factory=list[Card]
    )
    family: Child | None = None
    pence: int = 0


class Charged(Message):
    card: Card


class Charge(Command[Charged]):
    to = "payments"
    card: Card
    pence: int


class Refund(Command[None]):
    to = "payments"
    number: Sensitive[str]


class Declined(Refusal):
    cards: list[Card]


def test_every_marked_field_is_found_however_deep() -> None:
    assert sensitive_paths(Place) == (
        ("who",),
        ("cards", "*", "*", "number"),
        ("best", "number"),
        ("note",),
        ("spare", "*", "number"),
        ("family", "secret"),
        ("family", "below", "*"),
    )


def _saga() -> Saga[Place]:
    saga = Saga("place", Place)

    @saga.step
    def charge(place: Place) -> Charge:
        return Charge(card=Card(number=place.who), pence=place.pence)

    @charge.compensation
    def refund(place: Place) -> Refund:
        return Refund(number=place.who)

    return saga


FIELDS = SensitiveFields(_saga().definition.sensitive)
CARD = {"number": "4711", "bank": "bank"}


@pytest.mark.parametrize(
    ("topic", "event", "shown"),
    [
        (
            "SagaStarted",
            {"data": {"who": "ann", "pence": 5, "best": CARD, "note": None}},
            {"data": {"who": HIDDEN, "pence": 5, "best": {**CARD, "number": HIDDEN}, "note": None}},
        ),
        (
            "StepStarted",
            {"step": "charge", "command": {"card": CARD, "pence": 5}},
            {"step": "charge", "command": {"card": {**CARD, "number": HIDDEN}, "pence": 5}},
        ),
        (
            "StepSucceeded",
            {"step": "charge", "reply": {"card": CARD}},
            {"step": "charge", "reply": {"card": {**CARD, "number": HIDDEN}}},
        ),
        (
            "CompensationIssued",
            {"step": "charge", "command": {"number": "4711"}},
            {"step": "charge", "command": {"number": HIDDEN}},
        ),
        (
            "StepRefused",
            {"step": "charge", "refusal": {"cards": [CARD], "who": ["ann"]}},
            {"step": "charge", "refusal": {"cards": [{**CARD, "number": HIDDEN}], "who": HIDDEN}},
        ),
        ("StepSucceeded", {"step": "charge", "reply": None}, {"step": "charge", "reply": None}),
        ("StepStarted", {"step": "other", "command": CARD}, {"step": "other", "command": CARD}),
        ("StepTimedOut", {"step": "charge"}, {"step": "charge"}),
    ],
)
def test_what_is_sensitive_is_hidden_and_nothing_else(
    topic: str, event: dict[str, Any], shown: dict[str, Any]
) -> None:
    before = repr(event)
    assert FIELDS.changed(topic, event) == shown
    assert repr(event) == before, "a copy is changed"


def _input(data: dict[str, Any]) -> Any:
    return FIELDS.changed("SagaStarted", {"data": data})["data"]


def test_a_saga_is_the_same_from_hidden_events_as_hidden_after_them() -> None:
    """So a view is alike whether it is told of a history or of the saga that it led to."""
    place = Place(who="ann", pence=5)
    card = Card(number="ann")
    begun = given(_saga(), place).expect(Charge)
    scenes: list[Scene] = [
        begun,
        begun.fail("Busy"),
        begun.reply(Charged(card=card)),
        begun.refuse(Declined(cards=[card])),
        begun.timeout().wait(3600),
        begun.cancel("no").on(Charge).reply(Charged(card=card)).expect(Refund),
        begun.cancel("no").on(Charge).reply(Charged(card=card)).expect(Refund).fail("Busy"),
    ]
    for scene in scenes:
        events = scene.story.history
        hidden = [FIELDS.event(event) for event in events]
        assert fold("place-1", hidden) == FIELDS.state(scene.state)
        assert "ann" not in repr([(event.model_dump()) for event in hidden])
        for event, masked in zip(events, hidden, strict=True):
            topic = type(event).__name__
            assert masked.model_dump() == FIELDS.changed(topic, event.model_dump())


def test_lists_mappings_and_what_contains_itself_are_hidden() -> None:
    inner: dict[str, Any] = {"name": "bob", "secret": 2, "below": []}
    data = {"cards": {"gold": [CARD]}, "family": {"name": "eve", "secret": 3, "below": [inner]}}
    assert _input(data) == {
        "cards": {"gold": [{**CARD, "number": HIDDEN}]},
        "family": {"name": "eve", "secret": HIDDEN, "below": [HIDDEN]},
    }


class Tree(Message):
    below: list[Tree] = Field(default_factory=list["Tree"])


def test_what_contains_itself_and_nothing_sensitive_is_shown() -> None:
    assert sensitive_paths(Tree) == ()


def test_data_of_another_shape_than_the_model_does_no_harm() -> None:
    """An earlier version of a message may have been another one."""
    for data in ({}, {"who": [1], "cards": 5, "best": "x", "family": {"below": None}}):
        _input(data)
    assert _input({"cards": [[CARD]]}) == {"cards": [[{**CARD, "number": HIDDEN}]]}


class Plain(Message):
    name: str


class Look(Command[None]):
    to = "desk"


def look(plain: Plain) -> Look:
    return Look()


def test_an_error_does_not_tell_what_did_not_fit() -> None:
    with pytest.raises(ValidationError) as unfit:
        Place.model_validate({"who": {"name": "ada"}, "cards": {"one": [{"number": ["4111"]}]}})
    assert "cards.one.0.number" in str(unfit.value)
    assert "4111" not in str(unfit.value) + repr(unfit.value)
    assert "ada" not in str(unfit.value)


def test_a_saga_without_sensitive_fields_is_shown_as_it_is() -> None:
    saga = Saga("plain", Plain)
    saga.check(look)
    fields = SensitiveFields(saga.definition.sensitive)
    assert saga.definition.sensitive == {}
    assert not fields
    event = {"data": {"name": "ann"}}
    assert fields.changed("SagaStarted", event) is event
    assert fields.changed("StepStarted", event) is event


class Paid(Message):
    card: Card
    note: str = "thanks"


def test_what_a_saga_waited_for_is_hidden_as_it_came_and_as_it_was_taken() -> None:
    """On each way; a message of another name is not known, and nothing of it is hidden."""
    saga = Saga("plain", Plain)
    saga.save_point("here", ways=2)
    saga.wait(Paid, timeout=timedelta(minutes=1))
    saga.check(look)
    fields = SensitiveFields(json.loads(json.dumps(saga.definition.sensitive)))
    paid = given(saga, Plain(name="ann")).signal(Paid(card=Card(number="4711")))
    second = paid.expect(Look).refuse(Declined(cards=[])).expect(Look)
    hidden = [fields.event(event) for event in second.history]
    assert "4711" in repr(second.history)
    assert "4711" not in repr(hidden)
    assert "4711" not in repr(fields.state(second.state))
    (came,) = (event for event in hidden if isinstance(event, SignalReceived))
    assert came.data == {"card": {"number": HIDDEN, "bank": "bank"}, "note": "thanks"}
    as_kept = next(e for e in second.history if isinstance(e, SignalReceived)).model_dump()
    assert fields.changed("SignalReceived", as_kept) == came.model_dump()
    assert fields.changed("SignalReceived", {**as_kept, "name": "Other"})["data"] == as_kept["data"]
