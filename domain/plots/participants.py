"""The plots, under semantic locks, and the registrar."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import event

from domain.plots.contracts import Mark, Marked, NoSuchPlot, NotSigned, Sign, Swap, Unmark
from es_saga import Participant, Tx
from es_saga.participant import GaveWay, Locked, Meeting, SemanticLocks
from es_saga.participant.accesses import Accesses

GARDENERS = {"oak": "ada", "ash": "bob", "elm": "cy"}
"""Who has which plot in a new database."""

tables = sa.MetaData()
plot_table = sa.Table(
    "plots",
    tables,
    sa.Column("plot", sa.Text, primary_key=True),
    sa.Column("gardener", sa.Text, nullable=False),
)
locks = SemanticLocks(tables)
accesses = Accesses(tables)

plots = Participant("plots", tables=tables)
registrar = Participant("registrar")

GARDENER = "SELECT gardener FROM plots WHERE plot = :plot"
MOVE = "UPDATE plots SET gardener = :gardener WHERE plot = :plot"


@plots.handles(Mark)
async def mark(cmd: Mark, tx: Tx) -> Marked | NoSuchPlot | Locked | GaveWay:
    gardener = await tx.scalar(GARDENER, {"plot": cmd.plot})
    if gardener is None or locks.holder(tx, cmd.plot) == tx.command.saga_id:
        return NoSuchPlot(plot=cmd.plot)
    met = locks.take(tx, cmd.plot, meeting=Meeting.WAIT)
    if met is not None:
        return met
    accesses.read(tx, cmd.plot)
    return Marked(gardener=gardener)


@plots.handles(Unmark)
async def unmark(cmd: Unmark, tx: Tx) -> None:
    locks.release(tx, cmd.plot)


@registrar.handles(Sign)
async def sign(cmd: Sign, tx: Tx) -> NotSigned | None:
    return NotSigned(why="the elm is listed") if "elm" in (cmd.one, cmd.other) else None


@plots.handles(Swap)
async def swap(cmd: Swap, tx: Tx) -> None:
    one = await tx.scalar(GARDENER, {"plot": cmd.one})
    other = await tx.scalar(GARDENER, {"plot": cmd.other})
    await tx.execute(MOVE, {"plot": cmd.one, "gardener": other})
    await tx.execute(MOVE, {"plot": cmd.other, "gardener": one})
    for plot in (cmd.one, cmd.other):
        accesses.read(tx, plot)
        accesses.write(tx, plot)
    locks.release(tx)


@event.listens_for(plot_table, "after_create")
def _let(_table: sa.Table, connection: sa.Connection, **_: object) -> None:
    rows = [{"plot": plot, "gardener": gardener} for plot, gardener in GARDENERS.items()]
    connection.execute(sa.insert(plot_table), rows)
