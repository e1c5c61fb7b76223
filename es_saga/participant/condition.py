"""What a participant can tell of itself: what it holds, what is in doubt, what is not published."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from es_saga.core.errors import InvalidInput
from es_saga.core.messages import parse_command_id
from es_saga.engine.condition import MAX_DOUBTS, Condition, Doubt, Slot
from es_saga.participant.holds import HoldStatus, es_holds
from es_saga.participant.kit import Participant
from es_saga.participant.outbox import es_outbox
from es_saga.participant.prepared import InDoubt, doubts
from es_saga.participant.tailing import MAX_RETAINED_BYTES, slot_of

_SLOT: Final = sa.text(
    "SELECT wal_status, coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0) AS retained"
    " FROM pg_replication_slots WHERE slot_name = :slot AND database = current_database()"
)


def look(
    participant: Participant, connection: sa.Connection, *, slot_limit: int = MAX_RETAINED_BYTES
) -> Condition:
    """How it is now. A slot is looked at whoever reads it, or does not."""
    found: list[InDoubt] = []
    holds = outbox = 0
    slot: Slot | None = None
    if participant.has_holds:
        query = sa.select(sa.func.count()).where(es_holds.c.status == HoldStatus.HELD.value)
        holds = connection.scalar(query) or 0
    if participant.prepares_holds:
        found = list(doubts(connection, participant.name))
    if participant.outbox is not None:
        ours = es_outbox.c.service == participant.name
        outbox = connection.scalar(sa.select(sa.func.count()).where(ours)) or 0
        if connection.dialect.name == "postgresql":
            slot = _slot(connection, slot_of(participant.name), slot_limit)
    return Condition(
        holds=holds,
        prepared=len(found),
        doubts=tuple(map(_told, found[:MAX_DOUBTS])),
        outbox=outbox,
        slot=slot,
    )


def _slot(connection: sa.Connection, name: str, limit: int) -> Slot | None:
    found = connection.execute(_SLOT, {"slot": name}).first()
    if found is None:
        return None
    return Slot(
        name=name,
        retained_bytes=int(found.retained),
        limit_bytes=limit,
        lost=found.wal_status == "lost",
    )


def _told(found: InDoubt) -> Doubt:
    try:
        saga_id, step, _, _ = parse_command_id(found.hold)
    except InvalidInput:  # another sender's id
        saga_id = step = ""
    return Doubt(hold=found.hold, saga_id=saga_id, step=step, status=found.status, age=found.age)
