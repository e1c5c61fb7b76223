"""Right uses of `@projection`: both type checkers must have nothing to say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import assert_type

import sqlalchemy as sa

from es_saga import (
    Add,
    Change,
    Delete,
    Message,
    Put,
    Recorded,
    Saga,
    SagaState,
    SagaStatus,
    View,
    events,
    projection,
)
from es_saga.projections.projection import Projection
from es_saga.projections.view import Rebuildable


class PlaceOrder(Message):
    sku: str


order = Saga("order", PlaceOrder)
table = sa.Table("t", sa.MetaData(), sa.Column("saga_id", sa.Text, primary_key=True))
other = sa.Table("u", sa.MetaData(), sa.Column("sku", sa.Text, primary_key=True))


@projection(table, of=[order, "refund"])
def generated(recorded: Recorded, saga: SagaState) -> Iterator[Change]:
    match recorded.event:
        case events.StepSucceeded(step=step, reply=reply):
            assert_type(step, str)
            yield Put(saga_id=saga.saga_id, step=step, reply=reply)
        case events.SagaCompensated():
            yield Delete(saga_id=saga.saga_id)
        case _:
            assert_type(saga.status, SagaStatus)


@projection(table, other, name="both", inline=True)
def listed(recorded: Recorded, saga: SagaState) -> list[Change]:
    return [Put(table, saga_id=saga.saga_id), Add(other, sku="lamp", sold=recorded.version)]


@projection(table)
def only_puts(recorded: Recorded, saga: SagaState) -> list[Put]:
    return [Put(saga_id=recorded.saga_id, status=saga.status.value)]


def asked(recorded: Recorded, saga: SagaState) -> None:
    assert_type(generated(recorded, saga), Iterable[Change])


assert_type(generated, Projection)
view: View = generated
beside: Rebuildable = listed
