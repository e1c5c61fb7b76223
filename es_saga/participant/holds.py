"""What a participant holds for sagas that have not decided yet: one row a hold.

    held ──► confirmed      made final
      ├────► cancelled      given up
      └────► expired        nobody settled it in time: released, as if it had been cancelled

The row is locked and changes in the transaction of the handler that settles the hold, and only
while it is held; so of confirm, cancel and expiry one takes effect, in whatever processes they run
(law L72). A transaction reads what its commands settle all at once, and writes what became of it at
its end. What expires is cancelled by the participant itself, under the id of the cancel that would
have come: a cancel that does come is answered from memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Final, Literal, NamedTuple

import sqlalchemy as sa
from pydantic_core import from_json
from sqlalchemy.exc import IntegrityError

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
from es_saga.participant import rows
from es_saga.participant.fence import FenceTaken
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
    """A hold: one row."""

    hold: str
    command: str
    data: bytes
    reply: bytes | None
    status: str
    expires_at: float
    settled_at: float | None


class Expiry(Job):
    """The participant's own command to release what has expired; nobody waits for its answer."""

    __slots__ = ()


# ── in the transaction of handlers ───────────────────────────────────────────────────────────────

_COLUMNS: Final = ", ".join(Holding._fields)
_LOOK: Final[rows.Texts] = {
    "sqlite": f"SELECT {_COLUMNS} FROM es_holds WHERE hold IN (SELECT value FROM json_each(?))",
    # In one order, so that two processes that settle the same holds do not deadlock here.
    "postgresql": f"SELECT {_COLUMNS} FROM es_holds WHERE hold = ANY(%s) ORDER BY hold FOR UPDATE",
}
_KEEP: Final[rows.Texts] = {
    "sqlite": f"INSERT INTO es_holds ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
    "postgresql": f"INSERT INTO es_holds ({_COLUMNS}) SELECT * FROM unnest(%s::text[], %s::text[],"
    " %s::bytea[], %s::bytea[], %s::text[], %s::float8[], %s::float8[])",
}
_SETTLE: Final[rows.Texts] = {
    "sqlite": "UPDATE es_holds SET status = ?, settled_at = ? WHERE hold = ?",
    "postgresql": "UPDATE es_holds SET status = now.status, settled_at = now.settled_at"
    " FROM unnest(%s::text[], %s::float8[], %s::text[]) AS now (status, settled_at, hold)"
    " WHERE es_holds.hold = now.hold",
}


class Settled(NamedTuple):
    """There is nothing left to do for the handler: this is the answer."""

    reply: Refusal | None


class Book:
    """The holds that one transaction keeps and settles."""

    def __init__(self, connection: sa.Connection, jobs: Iterable[Job] = ()) -> None:
        self._connection = connection
        settled = {hold for job in jobs if (hold := _settled_by(job)) is not None}
        found = rows.read(connection, _LOOK, settled) if settled else ()
        self._known = {row[0]: Holding._make(row) for row in found}
        self._kept: set[str] = set()
        self._settled: set[str] = set()

    def keep(self, work: Work, command: Command[Any], reply: bytes | None, now: float) -> float:
        """Remember what was held, and the reply as JSON; when it expires, since the epoch."""
        envelope = work.envelope
        hold = envelope.commandid
        assert hold is not None, "the server lets no command without an id pass"
        expires_at = now + _expires(envelope)
        data = command.model_dump_json().encode()
        self._known[hold] = Holding(
            hold, envelope.type, data, reply, HoldStatus.HELD.value, expires_at, None
        )
        self._kept.add(hold)
        work.touch()
        return expires_at

    def settle(self, job: Job, work: Work, now: float) -> Holding | Settled:
        """Take a hold out of the state of being held; what it held is up to the handler then."""
        assert job.handling is not None, "only a job that could be read comes so far"
        confirms = job.handling.part is Part.CONFIRMS
        hold = _settled_by(job)
        if hold is None:
            raise Terminal(f"{job.envelope.type} does not say which hold it settles.")
        found = self._known.get(hold)
        if found is None or not _is_open(found, now, confirms=confirms):
            return Settled(_why_not(hold, found, confirms=confirms))
        if confirms:
            status = HoldStatus.CONFIRMED
        else:
            status = HoldStatus.EXPIRED if isinstance(job, Expiry) else HoldStatus.CANCELLED
        self._known[hold] = found._replace(status=status.value, settled_at=now)
        self._settled.add(hold)
        work.touch()
        return found

    def write(self) -> None:
        """Write what became of them.

        Raises:
            FenceTaken: a twin has kept one of them; the transaction is to be rolled back.
        """
        kept = [self._known[hold] for hold in sorted(self._kept)]
        settled = [self._known[hold] for hold in sorted(self._settled - self._kept)]
        if settled:
            changes = [(found.status, found.settled_at, found.hold) for found in settled]
            rows.write(self._connection, _SETTLE, changes)
        if kept:
            try:
                rows.write(self._connection, _KEEP, kept)
            except IntegrityError as error:
                raise FenceTaken from error


def _settled_by(job: Job) -> str | None:
    """The hold that a command confirms or cancels."""
    if job.handling is None or job.handling.hold is None:
        return None
    envelope = job.envelope
    return envelope.confirms if job.handling.part is Part.CONFIRMS else envelope.undoes


def _is_open(found: Holding, now: float, *, confirms: bool) -> bool:
    """Whether it can be settled so: what has expired can only be released."""
    return found.status == HoldStatus.HELD and (not confirms or found.expires_at > now)


def _expires(envelope: Envelope) -> float:
    if envelope.expires is None or not envelope.expires > 0:
        raise Terminal(
            f"{envelope.type} does not say how long it is to be held.",
            hint="Send `expires`, in seconds, as a Tcc does.",
        )
    return envelope.expires


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

_OPEN = f"""
SELECT {_COLUMNS} FROM es_holds
WHERE status = 'held' AND command IN :own ORDER BY expires_at LIMIT :most
"""


def expired(
    connection: sa.Connection, participant: Participant, source: str, now: float
) -> tuple[list[Job], float]:
    """Jobs that release what has expired, and when the next hold does: infinity for never."""
    # Services may share a database.
    query = sa.text(_OPEN).bindparams(sa.bindparam("own", participant.holds, expanding=True))
    first = connection.execute(query, {"most": MAX_EXPIRED + 1}).all()
    connection.rollback()
    jobs: list[Job] = []
    for row in first:
        found = Holding(*row)
        if found.expires_at > now:
            return jobs, found.expires_at
        if len(jobs) < MAX_EXPIRED:
            job = Expiry(_release(found, participant, source))
            if job.read(participant, source):
                jobs.append(job)
    return jobs, now if len(first) > MAX_EXPIRED else float("inf")


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
