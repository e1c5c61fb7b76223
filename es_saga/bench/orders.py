"""The saga that is measured: an order in three steps, by services with a row each to write."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import sqlalchemy as sa

from es_saga.app import App
from es_saga.core.definition import Saga
from es_saga.core.messages import Command, Message, Refusal
from es_saga.participant import Participant, Tx

PATIENCE: Final = timedelta(hours=1)
"""Timeout of every step: no timer shall fire while 100,000 sagas are left open."""

MAX_GRAMS: Final = 30_000
"""The carrier refuses what is heavier."""


class PlaceOrder(Message):
    """What is ordered."""

    order_id: str
    sku: str
    pence: int
    grams: int


class StockReserved(Message):
    reservation: str


class CardCharged(Message):
    charge: str


class ParcelShipped(Message):
    parcel: str


class TooHeavy(Refusal):
    """The carrier does not take it."""

    grams: int


class ReserveStock(Command[StockReserved]):
    to = "stock"
    order_id: str
    sku: str


class ReleaseStock(Command[None]):
    to = "stock"
    order_id: str
    sku: str


class ChargeCard(Command[CardCharged]):
    to = "payments"
    order_id: str
    pence: int


class RefundCard(Command[None]):
    to = "payments"
    order_id: str
    pence: int


class ShipParcel(Command[ParcelShipped]):
    to = "carrier"
    reservation: str
    grams: int


order = Saga("order", PlaceOrder)


@order.step(timeout=PATIENCE)
def reserve(o: PlaceOrder) -> ReserveStock:
    return ReserveStock(order_id=o.order_id, sku=o.sku)


@reserve.compensation(timeout=PATIENCE)
def release(o: PlaceOrder) -> ReleaseStock:
    return ReleaseStock(order_id=o.order_id, sku=o.sku)


@order.step(timeout=PATIENCE)
def charge(o: PlaceOrder) -> ChargeCard:
    return ChargeCard(order_id=o.order_id, pence=o.pence)


@charge.compensation(timeout=PATIENCE)
def refund(o: PlaceOrder) -> RefundCard:
    return RefundCard(order_id=o.order_id, pence=o.pence)


@order.pivot(timeout=PATIENCE)
def ship(o: PlaceOrder, stock: StockReserved) -> ShipParcel:
    return ShipParcel(reservation=stock.reservation, grams=o.grams)


def one_number(name: str) -> sa.MetaData:
    """A table with numbers to add to."""
    tables = sa.MetaData()
    sa.Table(name, tables, sa.Column("id", sa.Text, primary_key=True), sa.Column("n", sa.Integer))
    return tables


ADD: Final = (
    "INSERT INTO {table} (id, n) VALUES (:id, :n)"
    " ON CONFLICT (id) DO UPDATE SET n = {table}.n + excluded.n"
)


def _add(table: str) -> str:
    return ADD.format(table=table)


stock = Participant("stock", tables=one_number("taken"))
payments = Participant("payments", tables=one_number("takings"))
carrier = Participant("carrier", tables=one_number("carried"))


@stock.handles(ReserveStock)
async def on_reserve(command: ReserveStock, tx: Tx) -> StockReserved:
    await tx.execute(_add("taken"), {"id": command.sku, "n": 1})
    return StockReserved(reservation=f"r-{command.order_id}")


@stock.handles(ReleaseStock)
async def on_release(command: ReleaseStock, tx: Tx) -> None:
    await tx.execute(_add("taken"), {"id": command.sku, "n": -1})


@payments.handles(ChargeCard)
async def on_charge(command: ChargeCard, tx: Tx) -> CardCharged:
    await tx.execute(_add("takings"), {"id": "today", "n": command.pence})
    return CardCharged(charge=f"c-{command.order_id}")


@payments.handles(RefundCard)
async def on_refund(command: RefundCard, tx: Tx) -> None:
    await tx.execute(_add("takings"), {"id": "today", "n": -command.pence})


@carrier.handles(ShipParcel)
async def on_ship(command: ShipParcel, tx: Tx) -> ParcelShipped | TooHeavy:
    if command.grams > MAX_GRAMS:
        return TooHeavy(grams=command.grams)
    await tx.execute(_add("carried"), {"id": "today", "n": 1})
    return ParcelShipped(parcel=f"p-{command.reservation}")


app = App("bench", sagas=[order], participants=[stock, payments, carrier])
