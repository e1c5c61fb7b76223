"""Three services that are the same but for their names: each notes what it has performed."""

from __future__ import annotations

import sqlalchemy as sa

from domain.activities.contracts import (
    Perform,
    PerformA,
    PerformB,
    PerformC,
    Performed,
    Rejected,
    Revoke,
    RevokeA,
    RevokeB,
    RevokeC,
)
from domain.totals import count
from es_saga import Participant, SyncTx


def performances(service: str) -> sa.Table:
    """The table of one service."""
    return sa.Table(
        f"performed_by_{service}",
        sa.MetaData(),
        sa.Column("course_id", sa.Text, primary_key=True),
    )


def activity(
    service: str, perform: type[Perform], revoke: type[Revoke], performed: sa.Table
) -> Participant:
    """A service that performs one activity."""
    participant = Participant(service, tables=performed.metadata)

    @participant.handles(perform)
    def do(cmd: Perform, tx: SyncTx) -> Performed | Rejected:
        if cmd.reject:
            return Rejected(activity=service)
        tx.execute(sa.insert(performed), {"course_id": cmd.course_id})
        return Performed(activity=service)

    @participant.handles(revoke)
    def undo(cmd: Revoke, tx: SyncTx) -> None:
        tx.execute(sa.delete(performed).where(performed.c.course_id == cmd.course_id))

    return participant


by_a, by_b, by_c = performances("a"), performances("b"), performances("c")

a = activity("a", PerformA, RevokeA, by_a)
b = activity("b", PerformB, RevokeB, by_b)
c = activity("c", PerformC, RevokeC, by_c)


def totals(engine: sa.Engine, performed: sa.Table) -> dict[str, int]:
    """How many courses one of the services has performed."""
    return count(engine, performed=sa.select(sa.func.count()).select_from(performed))
