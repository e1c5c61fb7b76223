"""What a participant holds for sagas that have not decided yet: one row a hold.

    held ──► confirmed      made final
      ├────► cancelled      given up
      └────► expired        nobody settled it in time: released, as if it had been cancelled

The row changes in the transaction of the handler that settles the hold, and only while it is held;
so of confirm, cancel and expiry one takes effect, in whatever processes they run (law L72). What
expires is cancelled by the participant itself, under the id of the cancel that would have come: a
cancel that does come is answered from memory.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final, Literal, NamedTuple

import sqlalchemy as sa
from pydantic_core import from_json

from es_saga.core.errors import InvalidInput, Terminal
from es_saga.core.messages import (
    Command,
    Direction,
    Envelope,
    Message,
    Refusal,
    command_id,
    parse_command_id,
)
from es_saga.core.tcc import cancel_of
from es_saga.participant.job import Job
from es_saga.participant.kit import Handling, Part, Participant
from es_saga.participant.work import Work

MAX_EXPIRED: Final = 256
"""Holds that are released in one go."""

metadata = sa.MetaData()
"""The table of holds, for `create_all` or for the participant's own migrations."""

es_holds = sa.Table(
    "es_holds",
    metadata,
    sa.Column("hold", sa.Text, primary_key=True),
    sa.Column("command", sa.Text, nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
    sa.Column("reply", sa.LargeBinary),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("expires_at", sa.Double, nullable=False),
    sa.Column("settled_at", sa.Double),
    sa.Index(
        "es_holds_open",
        "expires_at",
        postgresql_where=sa.text("status = 'held'"),
        sqlite_where=sa.text("status = 'held'"),
    ),
    sqlite_with_rowid=False,
)


class HoldStatus(StrEnum):
    """What became of a hold."""

    HELD = "held"
    CONFIRMED = "confirmed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class HoldExpired(Refusal):
    """The answer to a confirm that comes too late: what was held is released, or about to be."""

    hold: str
    expired_at: float
    """Seconds since the epoch."""


class NotHeld(Refusal):
    """The answer to a confirm of what is not held, or to a cancel of what was confirmed."""

    hold: str
    status: Literal["confirmed", "cancelled", "unknown"]


class Holding(NamedTuple):
    """A hold, as far as it takes to settle it."""

    hold: str
    command: str
    data: bytes
    reply: bytes | None
    status: str
    expires_at: float


class Expiry(Job):
    """The participant's own command to release what has expired; nobody waits for its answer."""

    __slots__ = ()


# ── in the transaction of a handler ──────────────────────────────────────────────────────────────

_KEEP = """
INSERT INTO es_holds (hold, command, data, reply, status, expires_at)
VALUES (:hold, :command, :data, :reply, 'held', :expires_at)
"""
_CONFIRM = """
UPDATE es_holds SET status = 'confirmed', settled_at = :now
WHERE hold = :hold AND status = 'held' AND expires_at > :now
RETURNING hold, command, data, reply, status, expires_at
"""
_RELEASE = """
UPDATE es_holds SET status = :status, settled_at = :now WHERE hold = :hold AND status = 'held'
RETURNING hold, command, data, reply, status, expires_at
"""
_FIND = "SELECT hold, command, data, reply, status, expires_at FROM es_holds WHERE hold = :hold"


class Settled(NamedTuple):
    """There is nothing left to do for the handler: this is the answer."""

    reply: Refusal | None


def keep(work: Work, command: Command[Any], reply: bytes | None, now: float) -> float:
    """Remember what was held, and the reply as JSON; when it expires, seconds since the epoch."""
    envelope = work.envelope
    expires_at = now + _expires(envelope)
    work.changed(
        _KEEP,
        {
            "hold": envelope.commandid,
            "command": envelope.type,
            "data": command.model_dump_json().encode(),
            "reply": reply,
            "expires_at": expires_at,
        },
    )
    return expires_at


def _expires(envelope: Envelope) -> float:
    if envelope.expires is None or not envelope.expires > 0:
        raise Terminal(
            f"{envelope.type} does not say how long it is to be held.",
            hint="Send `expires`, in seconds, as a Tcc does.",
        )
    return envelope.expires


def settle(job: Job, work: Work, now: float) -> Holding | Settled:
    """Take a hold out of the state of being held; what it held is up to the handler then."""
    handling, envelope = job.handling, job.envelope
    assert handling is not None, "only a job that could be read comes so far"
    confirms = handling.part is Part.CONFIRMS
    hold = envelope.confirms if confirms else envelope.undoes
    if hold is None:
        raise Terminal(f"{envelope.type} does not say which hold it settles.")
    if confirms:
        taken = work.run(_CONFIRM, {"hold": hold, "now": now}, reading=False).first()
    else:
        status = HoldStatus.EXPIRED if isinstance(job, Expiry) else HoldStatus.CANCELLED
        of = {"hold": hold, "now": now, "status": status.value}
        taken = work.run(_RELEASE, of, reading=False).first()
    if taken is not None:
        return Holding(*taken)
    row = work.run(_FIND, {"hold": hold}, reading=True).first()
    found = None if row is None else Holding(*row)
    return Settled(_why_not(hold, found, confirms=confirms))


def _why_not(hold: str, found: Holding | None, *, confirms: bool) -> Refusal | None:
    """Why a hold is not settled this time; None: it was before, and in this way."""
    if found is None:
        return NotHeld(hold=hold, status="unknown") if confirms else None
    if found.status == HoldStatus.CONFIRMED:
        return None if confirms else NotHeld(hold=hold, status="confirmed")
    if not confirms:
        return None
    if found.status == HoldStatus.CANCELLED:
        return NotHeld(hold=hold, status="cancelled")
    return HoldExpired(hold=hold, expired_at=found.expires_at)


def arguments(found: Holding, handling: Handling) -> tuple[Command[Any], Message | None]:
    """What the handler of a confirm or cancel is given: the hold, and what it was answered."""
    hold = handling.hold
    assert hold is not None, "it settles one"
    reply = None
    if found.reply is not None:
        reply = handling.held.model_validate_json(found.reply)
    return hold.model_validate_json(found.data), reply


# ── what has expired ─────────────────────────────────────────────────────────────────────────────

_OPEN = """
SELECT hold, command, data, reply, status, expires_at FROM es_holds
WHERE status = 'held' AND command IN :own ORDER BY expires_at LIMIT :most
"""


def expired(
    connection: sa.Connection, participant: Participant, source: str, now: float
) -> tuple[list[Job], float]:
    """Jobs that release what has expired, and when the next hold does: infinity for never."""
    # Services may share a database.
    query = sa.text(_OPEN).bindparams(sa.bindparam("own", participant.holds, expanding=True))
    rows = connection.execute(query, {"most": MAX_EXPIRED + 1}).all()
    connection.rollback()
    jobs: list[Job] = []
    for row in rows:
        found = Holding(*row)
        if found.expires_at > now:
            return jobs, found.expires_at
        if len(jobs) < MAX_EXPIRED:
            job = Expiry(_release(found, participant, source))
            if job.read(participant, source):
                jobs.append(job)
    return jobs, now if len(rows) > MAX_EXPIRED else float("inf")


def _release(found: Holding, participant: Participant, source: str) -> Envelope:
    """The cancel that would have come."""
    kind = cancel_of(participant.commands[found.command].command)
    try:
        saga_id, step, _, _ = parse_command_id(found.hold)
        cancel = command_id(saga_id, step, Direction.UNDO)
    except InvalidInput:  # another sender's id
        saga_id, step, cancel = None, None, f"{found.hold}#expired"
    return Envelope(
        id=f"{cancel}/expired",
        source=source,
        type=kind.__name__,
        sagaid=saga_id,
        step=step,
        commandid=cancel,
        undoes=found.hold,
        attempt=0,  # none of the saga's
        direction="CANCEL",
        data={"hold": from_json(found.data)},
    )
