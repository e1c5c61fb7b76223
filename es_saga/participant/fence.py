"""The fence: what a participant remembers of every command, so that it acts once.

One row per command id, written in the transaction that has the effect (law L25). `judge` says what
a command may do, from the rows that concern it; it is a pure function. The primary key refuses the
second of two concurrent twins, in whatever processes they run.

    arrives           fence says                        what happens
    forward or undo   its own id is there               the stored reply again, no effect (L23, L24)
    forward or undo   this attempt has failed           the same failure again, no effect
    forward           its undo was here first           refused as `Undone`, no effect      (L22)
    undo              its forward command is unknown    remembered, succeeds, no effect     (L21)
    undo              its forward command was refused   succeeds, no effect
    otherwise                                           the handler runs

The technique is the TCC fence of Seata and the barrier of dtm.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import Enum, StrEnum
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from es_saga.core.messages import Envelope, Refusal
from es_saga.participant import rows
from es_saga.participant.forgetting import MOST_ROWS, forget

metadata = sa.MetaData()
"""The fence's table, for `create_all` or for the participant's own migrations."""

es_fence = sa.Table(
    "es_fence",
    metadata,
    sa.Column("command_id", sa.Text, primary_key=True),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("reply_type", sa.Text),
    sa.Column("reply", sa.LargeBinary),
    sa.Column("at", sa.Double, nullable=False),
    sa.Index("es_fence_at", "at", postgresql_using="brin"),
    sqlite_with_rowid=False,
)


class Undone(Refusal):
    """The answer to a forward command that arrives after its own undo."""


class Status(StrEnum):
    """What became of a command."""

    SUCCEEDED = "succeeded"
    REFUSED = "refused"
    FAILED = "failed"
    """One attempt of it, under a key of its own: the next attempt may do better. But the failed one
    must not run again when it is delivered again: the saga may have given the step up by then."""
    UNDONE = "undone"
    """It never ran, and must not run any more: its undo was here first."""


class Record(NamedTuple):
    """One row of the fence."""

    command_id: str
    status: str
    reply_type: str | None
    reply: bytes | None
    """JSON, as it was answered; None for nothing."""
    at: float
    """Seconds since the epoch."""


class Rule(Enum):
    """What a command may do."""

    RUN = "the handler runs"
    REPEAT = "answered from memory"
    TOO_LATE = "a forward command after its undo: refused"
    NEVER_RAN = "an undo before its forward command: remembered, and nothing to do"
    NOTHING_DONE = "an undo of what was refused: nothing to do"


class Verdict(NamedTuple):
    rule: Rule
    record: Record | None = None
    """REPEAT: that of the command or its attempt. RUN of an undo: that of the forward command."""


class FenceTaken(Exception):
    """Somebody else recorded one of these commands at the same time. Roll back and look again."""


def is_undo(envelope: Envelope) -> bool:
    """Whether the fence treats this command as the undo of another one."""
    return envelope.undoes is not None and envelope.direction == "CANCEL"


def attempt_key(envelope: Envelope) -> str:
    """Under which the failure of this attempt of a command is remembered."""
    return f"{envelope.commandid}#{envelope.attempt}"


def keys_of(envelope: Envelope) -> list[str]:
    """Under which the fence may have something to say about a command."""
    keys = [envelope.commandid, envelope.undoes, attempt_key(envelope)]
    return [key for key in keys if key is not None]


def judge(envelope: Envelope, known: Mapping[str, Record]) -> Verdict:
    """What the command may do, given every record about it and about what it undoes."""
    assert envelope.commandid is not None, "the server lets no command without an id pass"
    own = known.get(envelope.commandid)
    if own is not None:
        return Verdict(Rule.TOO_LATE if own.status == Status.UNDONE else Rule.REPEAT, own)
    failed = known.get(attempt_key(envelope))
    if failed is not None:
        return Verdict(Rule.REPEAT, failed)
    if envelope.undoes is None or not is_undo(envelope):
        return Verdict(Rule.RUN)
    forward = known.get(envelope.undoes)
    if forward is None:
        return Verdict(Rule.NEVER_RAN)
    if forward.status == Status.SUCCEEDED:
        return Verdict(Rule.RUN, forward)
    return Verdict(Rule.NOTHING_DONE, forward)


# They run once per transaction of a hot path.
_LOOK = {
    "sqlite": "SELECT command_id, status, reply_type, reply, at FROM es_fence"
    " WHERE command_id IN (SELECT value FROM json_each(?))",
    "postgresql": "SELECT command_id, status, reply_type, reply, at FROM es_fence"
    " WHERE command_id = ANY(%s)",
}
_REMEMBER = {
    "sqlite": "INSERT INTO es_fence (command_id, status, reply_type, reply, at)"
    " VALUES (?, ?, ?, ?, ?)",
    "postgresql": "INSERT INTO es_fence (command_id, status, reply_type, reply, at)"
    " SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::bytea[], %s::float8[])",
}


def look(connection: sa.Connection, command_ids: Collection[str]) -> dict[str, Record]:
    """The records of these commands; absent ones are absent."""
    return {row[0]: Record._make(row) for row in rows.read(connection, _LOOK, command_ids)}


def remember(connection: sa.Connection, records: Sequence[Record]) -> None:
    """Write these records, as part of the connection's transaction.

    Raises:
        FenceTaken: one of them is there already; the transaction is to be rolled back.
    """
    if not records:
        return
    try:
        # In one order everywhere, so that two with the same commands do not deadlock here.
        rows.write(connection, _REMEMBER, sorted(records))
    except IntegrityError as error:
        raise FenceTaken from error


def purge(engine: sa.Engine, older_than: float, *, limit: int = MOST_ROWS) -> int:
    """Forget up to `limit` commands recorded before `older_than`, seconds since the epoch.

    Only what is older than any message that could still arrive may be forgotten: a forgotten
    command that comes again is carried out again. Returns the number of rows deleted; fewer than
    `limit` means that none is left. Deletes in transactions of `PURGE_ROWS` of them.
    """
    return forget(engine, es_fence, older_than, limit=limit)
