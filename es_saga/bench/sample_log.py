"""A log of orders, made quickly: the events of a few real sagas, written over and over again.

Five orders in six complete, each in eight events; the sixth is refused by the carrier and undone.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import sqlalchemy as sa

from es_saga.adapters import definitions
from es_saga.adapters.codec import encode
from es_saga.adapters.migrate import upgrade
from es_saga.adapters.statements import Row, Statements, statements_for
from es_saga.bench.orders import (
    CardCharged,
    ChargeCard,
    ParcelShipped,
    PlaceOrder,
    RefundCard,
    ReleaseStock,
    ReserveStock,
    ShipParcel,
    StockReserved,
    TooHeavy,
    order,
)
from es_saga.core.aggregate import fold
from es_saga.core.decide import react
from es_saga.core.events import Json, SagaEvent
from es_saga.core.inputs import Input, Reply, Start, Tick
from es_saga.core.messages import CommandKey, Direction, Outcome, part_of
from es_saga.core.state import CLOSED, SagaState, SagaStatus, WorkStatus
from es_saga.engine.ports import Append, Recorded
from es_saga.projections.status import StatusView
from es_saga.testing import given

NAME: Final = "order-000000000"
"""The id of the sagas that are copied; every copy's is as long."""

ROWS_AT_ONCE: Final = 10_000
REFUSED_EVERY: Final = 6


class Sample(NamedTuple):
    """One saga, ready to be copied under another id."""

    events: tuple[SagaEvent, ...]
    stored: tuple[tuple[str, bytes], ...]
    state: SagaState


def saga_id_of(number: int) -> str:
    """The id of a copy."""
    return f"order-{number:09d}"


def samples() -> tuple[Sample, Sample]:
    """One that completes and one that is refused and undone, as if they had begun just now."""
    placed = PlaceOrder(order_id=NAME, sku="lamp", pence=1_999, grams=900)
    begun = given(order, placed, saga_id=NAME).expect(ReserveStock)
    reserved = begun.reply(StockReserved(reservation=f"r-{NAME}")).expect(ChargeCard)
    charged = reserved.reply(CardCharged(charge=f"c-{NAME}")).expect(ShipParcel)
    completed = charged.reply(ParcelShipped(parcel=f"p-{NAME}")).completed()
    turned = charged.refuse(TooHeavy(grams=900)).expect(RefundCard).reply()
    compensated = turned.expect(ReleaseStock).reply().compensated()
    return _sample(completed.story.history), _sample(compensated.story.history)


def _sample(history: Sequence[SagaEvent]) -> Sample:
    shift = time.time() - history[0].at
    events = tuple(event.model_copy(update={"at": event.at + shift}) for event in history)
    state = fold(NAME, events)
    assert state is not None
    return Sample(events, tuple(map(encode, events)), state)


def fill(engine: sa.Engine, events: int) -> int:
    """Migrate a database and write a log of at least so many events; how many it has then.

    The views are left empty, as if nobody had ever taken the log in.
    """
    upgrade(engine)
    definitions.register(engine, [order.definition])
    statements = statements_for(engine)
    rows: list[Row] = []
    written = 0
    for row in _rows(events):
        rows.append(row)
        if len(rows) == ROWS_AT_ONCE:
            written += _write(engine, statements, rows)
            rows = []
    return written + _write(engine, statements, rows)


def _write(engine: sa.Engine, statements: Statements, rows: list[Row]) -> int:
    if rows:
        with engine.begin() as connection:
            statements.insert(connection, rows)
    return len(rows)


def _rows(events: int) -> Iterator[Row]:
    """The rows of whole sagas, until there are enough."""
    completed, compensated = samples()
    heads: defaultdict[int, int] = defaultdict(int)
    written, number, now = 0, 0, time.time()
    while written < events:
        number += 1
        saga_id = saga_id_of(number)
        part, own = part_of(saga_id), saga_id.encode()
        stored = (compensated if number % REFUSED_EVERY == 0 else completed).stored
        for version, (topic, payload) in enumerate(stored, 1):
            heads[part] += 1
            mine = payload.replace(_NAME, own)
            yield (part, heads[part], saga_id, version, topic, mine, now)
        written += len(stored)


def copies(count: int) -> Iterator[Append]:
    """So many sagas, each to be appended whole."""
    completed, compensated = samples()
    for number in range(1, count + 1):
        sample = compensated if number % REFUSED_EVERY == 0 else completed
        origin = sample.state.origin._replace(saga_id=saga_id_of(number))
        state = sample.state._replace(origin=origin)
        yield Append(saga_id_of(number), 0, sample.events, state)


STATUSES: Final = (
    *[SagaStatus.COMPLETED] * 88,
    *[SagaStatus.COMPENSATED] * 9,
    SagaStatus.RUNNING,
    SagaStatus.COMPENSATING,
    SagaStatus.STUCK,
)
"""In every hundred sagas."""


def fill_status(engine: sa.Engine, sagas: int) -> None:
    """Migrate a database and store the status of so many sagas of two types, a second apart."""
    upgrade(engine)
    completed, _ = samples()
    view = StatusView()
    began = time.time() - sagas
    for first in range(1, sagas + 1, ROWS_AT_ONCE):
        states = {
            saga_id_of(number): _varied(completed.state, number, began + number)
            for number in range(first, min(first + ROWS_AT_ONCE, sagas + 1))
        }
        events = [
            Recorded(part_of(saga_id), 1, saga_id, 1, completed.events[0], b"")
            for saga_id in states
        ]
        with engine.begin() as connection:
            view.write(connection, *view.rows(events, states))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")


def _varied(state: SagaState, number: int, at: float) -> SagaState:
    status = STATUSES[number * 37 % len(STATUSES)]
    return state._replace(
        origin=state.origin._replace(
            saga_id=saga_id_of(number),
            saga_type="order" if number % 4 else "refund",
            key=f"k-{number:09d}",
            started=at - 1,
        ),
        status=status,
        updated=at,
        closed=at if status in CLOSED else None,
    )


def stuck_undo(events: int) -> list[SagaEvent]:
    """A history of at least so many events: an undo that fails again and again."""
    placed = PlaceOrder(order_id="1", sku="lamp", pence=1_999, grams=900)
    definition, now = order.definition, 0.0
    history: list[SagaEvent] = []

    def follow(state: SagaState | None, given: Input) -> SagaState:
        decided = react(definition, state, given, now)
        history.extend(decided.events)
        return decided.state

    state = follow(None, Start("order-1", placed.model_dump(mode="json"), message_id="start"))
    reserved = StockReserved(reservation="r-1").model_dump(mode="json")
    state = follow(state, _reply("reserve", Direction.DO, Outcome.SUCCEEDED, 1, reserved))
    state = follow(state, _reply("charge", Direction.DO, Outcome.REFUSED, 1, {}))
    while len(history) < events:
        undo = state.steps["reserve"].undo
        assert undo is not None
        assert undo.due is not None
        if undo.status is WorkStatus.STARTED:
            failed = {"error": "Busy", "detail": "the stock is being counted"}
            failure = _reply("reserve", Direction.UNDO, Outcome.FAILED, undo.attempt, failed)
            state = follow(state, failure)
        else:
            now = undo.due
            state = follow(state, Tick())
    return history


def _reply(step: str, direction: Direction, outcome: Outcome, attempt: int, data: Json) -> Reply:
    key = CommandKey("order-1", step, direction, 1)
    message_id = f"order-1/{step}/{direction}/{attempt}/r"
    return Reply(key, attempt, outcome, "Answer", data, message_id)


_NAME: Final = NAME.encode()
