"""Wrong uses of `@projection`: both type checkers must object to each marked line."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from es_saga import Change, Put, Recorded, SagaState, projection

table = sa.Table("t", sa.MetaData(), sa.Column("saga_id", sa.Text, primary_key=True))


@projection(table)  # error: it has no saga
def without_the_saga(recorded: Recorded) -> Iterator[Change]:
    yield Put(saga_id=recorded.saga_id)


@projection(table)  # error: rows are no changes
def rows(recorded: Recorded, saga: SagaState) -> Iterator[dict[str, str]]:
    yield {"saga_id": saga.saga_id}


@projection(table)  # error: one change, where several may be
def one(recorded: Recorded, saga: SagaState) -> Put:
    return Put(saga_id=saga.saga_id)


@projection("t")  # error: a name is no table
def by_name(recorded: Recorded, saga: SagaState) -> Iterator[Change]:
    yield Put(saga_id=saga.saga_id)


@projection(table, of=[7])  # error: a number is no saga
def of_what(recorded: Recorded, saga: SagaState) -> Iterator[Change]:
    yield Put(saga_id=saga.saga_id)


@projection(table)
def unknown_field(recorded: Recorded, saga: SagaState) -> Iterator[Change]:
    yield Put(saga_id=saga.id)  # error: a saga has a saga_id
