"""Choreographies played by the reactions of their services, on databases of their own."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
import sqlalchemy as sa

from domain import delivery as deliveries
from domain import fulfilment as orders
from domain.fulfilment.events import (
    PaymentCompleted,
    ShipmentCreated,
    ShipmentRefused,
    StockReserved,
)
from domain.fulfilment.participants import carrier, charges, parcels, payments, placed, reservations
from es_saga import Participant, Tx
from es_saga.core.errors import InvalidInput
from es_saga.core.state import SagaStatus
from es_saga.participant.inbox import Inbox
from es_saga.testing import Begin, Fault, FaultPlan, Kind, World
from es_saga.testing.invariants import Books, Sagas
from es_saga.testing.outcome import Outcome

FLOW = orders.fulfilment
SERVICES = tuple(orders.app.participants.values())
AN_ORDER: dict[str, Any] = {
    "order_id": "1",
    "card": "visa",
    "pence": 5,
    "sku": "pot",
    "quantity": 1,
    "town": "York",
}


def nothing_twice_and_nothing_left(books: Books, _sagas: Sagas) -> None:
    """Of an order there is at most one of each; of one that is cancelled, nothing."""
    found = {
        table.name: Counter(books[of].scalars(sa.select(table.c.order_id)).all())
        for of, table in (("payments", charges), ("stock", reservations), ("carrier", parcels))
    }
    cancelled = sa.select(placed.c.order_id).where(placed.c.status == "cancelled")
    gone = books["orders"].scalars(cancelled).all()
    for name, orders_of in found.items():
        assert all(count == 1 for count in orders_of.values()), (name, orders_of)
        assert not [order for order in gone if order in orders_of], (name, gone)
    assert found["parcels"].keys() <= found["charges"].keys() & found["reservations"].keys()


def played(*faults: Fault, data: dict[str, Any] | None = None, **kwargs: Any) -> Outcome:
    """One order that meets with these faults."""
    world = World(
        [FLOW],
        participants=kwargs.pop("participants", SERVICES),
        openings=orders.openings,
        invariant=kwargs.pop("invariant", nothing_twice_and_nothing_left),
        faults=FaultPlan(faults),
        **kwargs,
    )
    return world.run([Begin("fulfilment-1", "fulfilment", AN_ORDER | (data or {}))])


def status(outcome: Outcome) -> SagaStatus:
    assert not outcome.findings, outcome
    return outcome.states["fulfilment-1"].status


# ── whatever goes wrong ──────────────────────────────────────────────────────────────────────────


@pytest.mark.requirement("R002", "R102", "R103")
@pytest.mark.law("L01", "L20", "L53")
@pytest.mark.parametrize("app", [orders, deliveries], ids=["fulfilment", "delivery"])
def test_the_laws_hold_for_services_that_react_whatever_goes_wrong(app: Any) -> None:
    ends: Counter[SagaStatus] = Counter()
    struck: Counter[Kind] = Counter()
    for seed in range(80):
        outcome = World(
            [next(iter(app.app.sagas))],
            participants=app.app.participants.values(),
            openings=app.openings,
            invariant=nothing_twice_and_nothing_left if app is orders else (),
            seed=seed,
            rate=0.5,
        ).run(3)
        assert not outcome.findings, outcome
        ends.update(state.status for state in outcome.states.values())
        struck += outcome.happened
    assert min(ends[SagaStatus.COMPLETED], ends[SagaStatus.COMPENSATED]) > 20, ends
    assert ends[SagaStatus.STUCK], ends
    on_the_way = {Kind.LOST, Kind.DOUBLED, Kind.DELAYED}
    at_work = {Kind.DIES_ON_RECEIPT, Kind.DIES_BEFORE_PUBLISH, Kind.DIES_AFTER_PUBLISH}
    assert on_the_way | at_work | {Kind.REFUSED, Kind.FAILED, Kind.FAILED_FOR_GOOD} <= set(struck)


@pytest.mark.parametrize(
    ("change", "undone"),
    [
        ({}, []),
        ({"card": "prepaid"}, ["order_created"]),
        ({"quantity": 1_001}, ["payment_completed", "order_created"]),
        ({"town": "Atlantis"}, ["stock_reserved", "payment_completed", "order_created"]),
    ],
)
def test_what_a_service_decides_by_itself_is_seen(change: Any, undone: list[str]) -> None:
    outcome = played(data=change)
    assert status(outcome) is (SagaStatus.COMPENSATED if undone else SagaStatus.COMPLETED)
    assert [one.step for one in outcome.effects if one.direction == "undo"] == undone


@pytest.mark.parametrize("kind", [Kind.DIES_ON_RECEIPT, Kind.FAILED])
def test_who_fails_for_a_while_has_reacted_once(kind: Kind) -> None:
    outcome = played(Fault(kind, "fulfilment-1/stock_reserved/do/1", 5.0))
    assert status(outcome) is SagaStatus.COMPLETED
    assert outcome.happened == {kind: 1}
    assert Counter(one.step for one in outcome.effects)["stock_reserved"] == 1


@pytest.mark.parametrize("kind", [Kind.DIES_BEFORE_PUBLISH, Kind.DIES_AFTER_PUBLISH])
def test_what_was_committed_is_told_by_the_next_life(kind: Kind) -> None:
    outcome = played(Fault(kind, "fulfilment-1/stock_reserved/do/1/r", 5.0))
    assert status(outcome) is SagaStatus.COMPLETED
    assert outcome.happened == {kind: 1}


def test_who_never_reacts_is_missed() -> None:
    outcome = played(Fault(Kind.FAILED_FOR_GOOD, "fulfilment-1/stock_reserved/do/1"))
    assert status(outcome) is SagaStatus.STUCK
    assert [alert.kind for alert in outcome.alerts] == ["stuck"]


def test_a_planned_refusal_is_told_in_place_of_the_reaction() -> None:
    outcome = played(Fault(Kind.REFUSED, "fulfilment-1/stock_reserved/do/1"))
    assert status(outcome) is SagaStatus.COMPENSATED
    assert "stock_reserved" not in {one.step for one in outcome.effects}
    assert "sends fulfilment-1/stock_reserved/do/1/r: StockInsufficient" in outcome.timeline()


def test_what_begins_a_flow_happens_once_however_often_it_is_asked_for() -> None:
    outcome = played(Fault(Kind.LOST, "fulfilment-1/start"), always=_one_is_placed)
    assert status(outcome) is SagaStatus.COMPLETED
    assert outcome.happened == {Kind.LOST: 1}


def _one_is_placed(books: Books, _sagas: Sagas) -> None:
    assert books["orders"].scalars(sa.select(placed.c.order_id)).all() == ["1"]


def test_models_and_services_play_together() -> None:
    for some in ([payments], [carrier], SERVICES[:2]):
        assert status(played(participants=some, invariant=())) is SagaStatus.COMPLETED


def test_the_same_seed_gives_the_same_run() -> None:
    def run() -> str:
        world = World([FLOW], participants=SERVICES, openings=orders.openings, seed=11, rate=0.8)
        return world.run(3).timeline()

    assert run() == run()


# ── what is found ────────────────────────────────────────────────────────────────────────────────


def test_a_service_without_an_inbox_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Inbox.first_time

    def forgetful(self: Inbox, session: Any, message_id: str) -> bool:
        real(self, session, message_id)
        return True

    monkeypatch.setattr(Inbox, "first_time", forgetful)
    again = Fault(Kind.DOUBLED, "fulfilment-1/stock_reserved/do/1/r", 200.0)
    assert {"L23", "L62"} <= {finding.law for finding in played(again, invariant=()).findings}
    assert "invariant" in {finding.law for finding in played(again).findings}


def _clumsy(*, awaits: bool = False) -> Participant:
    """A carrier that stumbles over heavy orders, or thinks for a while."""
    told = [ShipmentCreated, ShipmentRefused]
    own = Participant("carrier", tables=parcels.metadata, publishes=told)

    @own.on(StockReserved)
    async def ship(event: StockReserved, tx: Tx) -> None:
        await tx.execute(sa.insert(parcels), {"order_id": event.order_id, "town": event.town})
        if awaits:
            await asyncio.sleep(0.5)
        elif event.quantity > 1:
            raise ValueError("It is too heavy.")
        tx.publish(ShipmentCreated(order_id=event.order_id))

    return own


def test_a_reaction_that_raises_is_the_fault_of_its_service() -> None:
    services = [*SERVICES[:3], _clumsy()]
    assert status(played(participants=services)) is SagaStatus.COMPLETED
    found = played(participants=services, data={"quantity": 2}).findings
    assert [finding.law for finding in found] == ["participant"]
    told = "carrier, told StockReserved: ValueError: It is too heavy. (test_listeners.py, line "
    assert told in str(found[0])


def test_who_dies_while_a_reaction_awaits_something_takes_back_what_it_wrote() -> None:
    services = [*SERVICES[:3], _clumsy(awaits=True)]
    assert status(played(participants=services)) is SagaStatus.COMPLETED
    dies = Fault(Kind.DIES_BEFORE_ACK, "fulfilment-1/stock_reserved/do/1/r", 5.0)
    assert status(played(dies, participants=services)) is SagaStatus.COMPLETED


def test_a_service_that_does_not_say_what_it_tells_is_refused() -> None:
    quiet = Participant("payments", tables=charges.metadata, publishes=[PaymentCompleted])
    with pytest.raises(InvalidInput, match="does not publish PaymentDeclined, which the"):
        World([FLOW], participants=[quiet])
