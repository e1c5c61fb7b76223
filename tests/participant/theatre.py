"""A theatre that holds seats, for the tests of holds."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from es_saga.core.messages import Command, Direction, Envelope, Message, Refusal, command_id
from es_saga.core.tcc import cancel_of, confirm_of
from es_saga.participant import Participant, SyncTx, Tx

SEATS = 10
FOREVER = 3600.0


class Held(Message):
    row: str


class SoldOut(Refusal):
    pass


class HoldSeats(Command[Held]):
    to = "theatre"
    seats: int
    how: str = ""


class HoldBox(Command[None]):
    to = "theatre"


seats = sa.Table(
    "seats",
    sa.MetaData(),
    sa.Column("available", sa.BigInteger, nullable=False),
    sa.Column("reserved", sa.BigInteger, nullable=False),
    sa.Column("consumed", sa.BigInteger, nullable=False),
)


@event.listens_for(seats, "after_create")
def _open(_table: sa.Table, connection: sa.Connection, **_: object) -> None:
    connection.execute(sa.insert(seats), {"available": SEATS, "reserved": 0, "consumed": 0})


_MOVE = "UPDATE seats SET {0} = {0} - :n, {1} = {1} + :n WHERE {0} >= :n"


def _move(tx: SyncTx, source: str, target: str, n: int) -> int:
    return tx.execute(_MOVE.format(source, target), {"n": n})


def theatre() -> Participant:
    """A fresh participant named `theatre`; its box is held by async handlers."""
    theatre = Participant("theatre", tables=seats.metadata)
    failures = {"release": 1}

    @theatre.tries(HoldSeats)
    def hold(cmd: HoldSeats, tx: SyncTx) -> Held | SoldOut:
        return Held(row="A") if _move(tx, "available", "reserved", cmd.seats) else SoldOut()

    @theatre.confirms(HoldSeats)
    def sell(hold: HoldSeats, held: Held, tx: SyncTx) -> None:
        assert held.row == "A"
        _move(tx, "reserved", "consumed", hold.seats)
        if hold.how == "fails once" and tx.command.attempt == 1:
            raise ValueError("The till is stuck.")

    @theatre.cancels(HoldSeats)
    def free(hold: HoldSeats, held: Held, tx: SyncTx) -> None:
        assert held.row == "A"
        _move(tx, "reserved", "available", hold.seats)
        if hold.how == "is not released at once" and failures["release"]:
            failures["release"] -= 1
            raise ValueError("The usher is away.")

    @theatre.tries(HoldBox)
    async def hold_box(cmd: HoldBox, tx: Tx) -> None: ...

    @theatre.confirms(HoldBox)
    async def sell_box(hold: HoldBox, held: None, tx: Tx) -> None:
        await tx.execute("UPDATE seats SET consumed = consumed + 100")

    @theatre.cancels(HoldBox)
    async def free_box(hold: HoldBox, held: None, tx: Tx) -> None:
        await tx.execute("UPDATE seats SET available = available + 100")

    return theatre


def counted(engine: sa.Engine) -> tuple[int, ...]:
    """Seats available, reserved and consumed."""
    with engine.connect() as connection:
        return tuple(connection.execute(sa.select(seats)).one())


def _envelope(command: Command[Any], key: str, **fields: Any) -> Envelope:
    return Envelope(
        id=f"{key}/{fields.get('attempt', 1)}",
        source="test",
        type=type(command).__name__,
        sagaid=key.partition("/")[0],
        commandid=key,
        data=command.model_dump(mode="json"),
        **fields,
    )


def hold(command: Command[Any], saga: str = "s-1", *, expires: float | None = FOREVER) -> Envelope:
    """What a process manager sends to have something held."""
    key = command_id(saga, "seats", Direction.DO)
    return _envelope(command, key, expires=expires, direction="REQUEST")


def confirm(
    command: Command[Any], saga: str = "s-1", *, attempt: int = 1, round: int = 1
) -> Envelope:
    """… and to have it confirmed."""
    settling = confirm_of(type(command)).model_validate({"hold": command.model_dump()})
    key = command_id(saga, "confirm_seats", Direction.DO, round)
    held = command_id(saga, "seats", Direction.DO)
    return _envelope(settling, key, confirms=held, attempt=attempt, direction="REQUEST")


def cancel(
    command: Command[Any], saga: str = "s-1", *, attempt: int = 1, round: int = 1
) -> Envelope:
    """… or cancelled."""
    settling = cancel_of(type(command)).model_validate({"hold": command.model_dump()})
    key = command_id(saga, "seats", Direction.UNDO, round)
    held = command_id(saga, "seats", Direction.DO)
    return _envelope(settling, key, undoes=held, attempt=attempt, direction="CANCEL")
