"""Two-phase: a hold that is a prepared transaction of PostgreSQL, and how each of them is settled.

    hold       the handler's work ─► PREPARE TRANSACTION ─► row in es_holds, fence ─► answered
    confirm    row confirmed, fence ─► COMMIT PREPARED ─► answered
    cancel     row cancelled, fence ─► ROLLBACK PREPARED ─► answered

The row is the decision, and its transaction another one than the prepared one: so what a crash
leaves prepared is settled by what the row says, and where there is none, as nobody was answered,
rolled back. Who writes the row of a hold and who rolls one back for want of a row take one lock.

Until it is settled a prepared transaction keeps its rows locked, even when nobody is there: that is
the price of never having shown or undone anything. Who needs them meanwhile is asked to come back.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from es_saga.core.errors import SagaError, Terminal
from es_saga.participant.fence import FenceTaken
from es_saga.participant.holds import HoldStatus, es_holds
from es_saga.participant.kit import Participant
from es_saga.participant.workplace import wait_for_locks

LOCK_SECONDS: Final = 0.001
"""How long a transaction waits for a row that another one has locked. It is tried again a little
later, for what unlocks the row may be waiting for the same thread."""

ORPHAN_SECONDS: Final = 60.0
"""A prepared transaction without a row may belong to a process that is just about to write it; when
it is older than this, it does not."""

MAX_GID_BYTES: Final = 199
"""The longest name that PostgreSQL gives a prepared transaction."""

_PLAIN = re.compile(r"[A-Za-z0-9_./#:-]+")
_UNKNOWN = "42704"
"""SQLSTATE of a prepared transaction that does not exist: somebody else has settled it."""
_TAKEN = "42710"
_LOCKED = "55P03"


class CannotPrepare(SagaError):
    """The participant's database cannot prepare a transaction."""

    code = "cannot-prepare"


class InDoubt(NamedTuple):
    """A prepared transaction that is not settled."""

    gid: str
    """Its name in PostgreSQL."""
    hold: str
    status: str | None
    """What the row says: `held` while the saga has not decided. None: there is no row."""
    age: float
    """Seconds since it was prepared."""


def check(participant: Participant, engine: sa.Engine) -> None:
    """Look whether this database can do what the participant declares.

    Raises:
        CannotPrepare: it cannot; the message says what to set.
    """
    if not participant.prepares_holds:
        return
    if engine.dialect.name != "postgresql":
        raise CannotPrepare(
            f"{participant.name} prepares transactions, which {engine.dialect.name} cannot.",
            hint="Serve it on PostgreSQL, or write `tries`, `confirms` and `cancels`.",
        )
    with engine.connect() as connection:
        most = connection.exec_driver_sql("SHOW max_prepared_transactions").scalar()
    if int(most or 0) == 0:
        raise CannotPrepare(
            f"{participant.name} prepares transactions, and the server allows none.",
            hint="Set `max_prepared_transactions` to as many as may be held at a time, 100 say, "
            "and restart PostgreSQL.",
        )


def gid_of(participant: str, hold: str) -> str:
    """The name of the prepared transaction of a hold.

    >>> gid_of("bank", "order-1/funds/do")
    'es_saga/bank/order-1/funds/do'

    Raises:
        Terminal: PostgreSQL cannot be given such a name.
    """
    gid = f"{_prefix(participant)}{hold}"
    if not _PLAIN.fullmatch(gid) or len(gid) > MAX_GID_BYTES:
        raise Terminal(f"No transaction can be prepared under the id {hold[:80]!r}.")
    return gid


def _prefix(participant: str) -> str:
    return f"es_saga/{participant}/"


# ── in the transaction of a hold ─────────────────────────────────────────────────────────────────


def wait_briefly(connection: sa.Connection) -> None:
    """Have this transaction wait for locks no longer than `LOCK_SECONDS`."""
    wait_for_locks(connection, LOCK_SECONDS)


def is_locked(error: BaseException) -> bool:
    """Whether a row was locked, perhaps by a transaction that is in doubt."""
    return isinstance(error, DBAPIError) and _state(error) == _LOCKED


# Plain SQL (decision 47): a two-phase transaction of SQLAlchemy's belongs to the connection that
# began it until its end, and this end comes later, and perhaps from another process.
def prepare(connection: sa.Connection, gid: str) -> None:
    """End the connection's transaction as a prepared one.

    Raises:
        FenceTaken: a twin has prepared the same. Roll back and look again.
    """
    try:
        connection.exec_driver_sql(f"PREPARE TRANSACTION '{gid}'")
    except DBAPIError as error:
        if _state(error) == _TAKEN:
            raise FenceTaken from error
        raise


def lock(connection: sa.Connection, gid: str) -> bool:
    """Keep others from deciding on this one until the transaction ends; whether it is prepared."""
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(gid, 0))))
    return is_prepared(connection, gid)


def is_prepared(connection: sa.Connection, gid: str) -> bool:
    """Whether there is one of this name."""
    return connection.execute(_ONE, {"gid": gid}).first() is not None


_ONE = sa.text("SELECT 1 FROM pg_prepared_xacts WHERE gid = :gid AND database = current_database()")
_OURS = sa.text(
    "SELECT gid, extract(epoch FROM prepared)::float8 FROM pg_prepared_xacts"
    " WHERE starts_with(gid, :prefix) AND database = current_database() ORDER BY prepared"
)


# ── settling ─────────────────────────────────────────────────────────────────────────────────────


def finish(desk: sa.Connection, participant: str, hold: str) -> None:
    """Do to a prepared transaction what the row of its hold says; nothing, if it is done already.

    Where there is no row it is rolled back: who prepared it has not answered, and will notice.
    `desk` is a connection without a transaction; the last word takes another one of its engine's.
    """
    gid = gid_of(participant, hold)
    with desk.begin():
        if not lock(desk, gid):
            return
        status = desk.execute(sa.select(es_holds.c.status).where(es_holds.c.hold == hold)).scalar()
        if status == HoldStatus.CONFIRMED:
            _settle(desk.engine, "COMMIT", gid)
        elif status != HoldStatus.HELD:
            _settle(desk.engine, "ROLLBACK", gid)


def carry_out(engine: sa.Engine, participant: str, hold: str, decided: HoldStatus) -> None:
    """The same for whoever has just written that decision into the row: nobody can change it."""
    how = "COMMIT" if decided is HoldStatus.CONFIRMED else "ROLLBACK"
    _settle(engine, how, gid_of(participant, hold))


def _settle(engine: sa.Engine, how: str, gid: str) -> None:
    autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
    try:
        with autocommit.connect() as connection:
            connection.exec_driver_sql(f"{how} PREPARED '{gid}'")
    except DBAPIError as error:
        if _state(error) != _UNKNOWN:
            raise


def _state(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None)


def in_doubt(engine: sa.Engine, participant: Participant) -> list[InDoubt]:
    """The participant's prepared transactions that are not settled, the oldest first."""
    with engine.connect() as connection:
        return list(doubts(connection, participant.name))


def doubts(connection: sa.Connection, participant: str) -> Iterator[InDoubt]:
    """The same over a connection."""
    prefix, now = _prefix(participant), time.time()
    found = {row[0]: row[1] for row in connection.execute(_OURS, {"prefix": prefix})}
    holds = [gid.removeprefix(prefix) for gid in found]
    query = sa.select(es_holds.c.hold, es_holds.c.status).where(es_holds.c.hold.in_(holds))
    status = {row[0]: row[1] for row in connection.execute(query)} if holds else {}
    for gid, prepared in found.items():
        hold = gid.removeprefix(prefix)
        yield InDoubt(gid, hold, status.get(hold), max(0.0, now - prepared))


def recover(
    desk: sa.Connection, participant: Participant, ages: Mapping[str, float] | None = None
) -> list[InDoubt]:
    """Settle what is decided, or was never answered; what is left waits for its saga.

    Args:
        ages: by gid, in seconds, where the server's clock does not tell them.
    """
    left: list[InDoubt] = []
    with desk.begin():
        every = list(doubts(desk, participant.name))
    if ages is not None:
        every = [found._replace(age=ages[found.gid]) for found in every]
    for found in every:
        young = found.status is None and found.age < ORPHAN_SECONDS
        if found.status == HoldStatus.HELD or young:
            left.append(found)
        else:
            finish(desk, participant.name, found.hold)
    return left
