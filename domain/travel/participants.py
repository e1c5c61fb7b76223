"""The agency's partners: an airline, a hotel, a car rental; and its own wallet and printer."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import event

from domain.totals import count
from domain.travel.capacity import Capacity
from domain.travel.contracts import (
    BookCar,
    BookFlight,
    BookRoom,
    CancelCar,
    CancelFlight,
    CancelRoom,
    CarBooked,
    FlightBooked,
    ItineraryPrinted,
    NoCar,
    NoRoom,
    NoSeat,
    PayTrip,
    PrintItinerary,
    RoomBooked,
    TripPaid,
    WalletEmpty,
)
from es_saga import Participant, Tx

seats = Capacity("seats", {"BA117": 1_000_000, "full": 0})
hotel_rooms = Capacity("rooms", {"Savoy": 1_000_000, "full": 0})
fleet = Capacity("cars", {"compact": 1_000_000, "limousine": 0})

OPENING_WALLETS = {"ada": 10**12, "grace": 10**12, "tramp": 0}
"""Pence of each traveller in a new database."""

flights = Participant("flights", tables=seats.tables)
rooms = Participant("rooms", tables=hotel_rooms.tables)
cars = Participant("cars", tables=fleet.tables)


@flights.handles(BookFlight)
async def book_flight(cmd: BookFlight, tx: Tx) -> FlightBooked | NoSeat:
    ticket = await seats.take(tx, cmd.flight, cmd.trip_id)
    return FlightBooked(ticket=ticket) if ticket else NoSeat(flight=cmd.flight)


@flights.handles(CancelFlight)
async def cancel_flight(cmd: CancelFlight, tx: Tx) -> None:
    await seats.free(tx, cmd.trip_id)


@rooms.handles(BookRoom)
async def book_room(cmd: BookRoom, tx: Tx) -> RoomBooked | NoRoom:
    voucher = await hotel_rooms.take(tx, cmd.hotel, cmd.trip_id)
    return RoomBooked(voucher=voucher) if voucher else NoRoom(hotel=cmd.hotel)


@rooms.handles(CancelRoom)
async def cancel_room(cmd: CancelRoom, tx: Tx) -> None:
    await hotel_rooms.free(tx, cmd.trip_id)


@cars.handles(BookCar)
async def book_car(cmd: BookCar, tx: Tx) -> CarBooked | NoCar:
    contract = await fleet.take(tx, cmd.car, cmd.trip_id)
    return CarBooked(contract=contract) if contract else NoCar(car=cmd.car)


@cars.handles(CancelCar)
async def cancel_car(cmd: CancelCar, tx: Tx) -> None:
    await fleet.free(tx, cmd.trip_id)


# ── the wallet ───────────────────────────────────────────────────────────────────────────────────

wallet_tables = sa.MetaData()

wallets = sa.Table(
    "wallets",
    wallet_tables,
    sa.Column("traveller", sa.Text, primary_key=True),
    sa.Column("pence", sa.BigInteger, sa.CheckConstraint("pence >= 0"), nullable=False),
)

trip_payments = sa.Table(
    "trip_payments",
    wallet_tables,
    sa.Column("payment", sa.Text, primary_key=True),
    sa.Column("pence", sa.BigInteger, nullable=False),
)

wallet = Participant("wallet", tables=wallet_tables)

TAKE = """
UPDATE wallets SET pence = pence - :pence WHERE traveller = :traveller AND pence >= :pence
"""
NOTE = "INSERT INTO trip_payments (payment, pence) VALUES (:payment, :pence)"


@wallet.handles(PayTrip)
async def pay(cmd: PayTrip, tx: Tx) -> TripPaid | WalletEmpty:
    if not await tx.execute(TAKE, {"traveller": cmd.traveller, "pence": cmd.pence}):
        return WalletEmpty(traveller=cmd.traveller)
    payment = f"payment {cmd.trip_id}"
    await tx.execute(NOTE, {"payment": payment, "pence": cmd.pence})
    return TripPaid(payment=payment)


@event.listens_for(wallets, "after_create")
def _fill_wallets(_table: sa.Table, connection: sa.Connection, **_: object) -> None:
    rows = [{"traveller": name, "pence": pence} for name, pence in OPENING_WALLETS.items()]
    connection.execute(sa.insert(wallets), rows)


def wallet_totals(engine: sa.Engine) -> dict[str, int]:
    """Pence in the wallets, and pence the agency took. Their sum never changes."""
    return count(
        engine,
        in_wallets=sa.select(sa.func.sum(wallets.c.pence)),
        paid=sa.select(sa.func.sum(trip_payments.c.pence)),
    )


# ── the papers ───────────────────────────────────────────────────────────────────────────────────

document_tables = sa.MetaData()

itineraries = sa.Table(
    "itineraries",
    document_tables,
    sa.Column("document", sa.Text, primary_key=True),
    sa.Column("ticket", sa.Text, nullable=False),
    sa.Column("voucher", sa.Text, nullable=False),
    sa.Column("contract", sa.Text, nullable=False),
)

documents = Participant("documents", tables=document_tables)

PRINT = """
INSERT INTO itineraries (document, ticket, voucher, contract)
VALUES (:document, :ticket, :voucher, :contract)
"""


@documents.handles(PrintItinerary)
async def print_itinerary(cmd: PrintItinerary, tx: Tx) -> ItineraryPrinted:
    document = f"itinerary {cmd.trip_id}"
    await tx.execute(
        PRINT,
        {
            "document": document,
            "ticket": cmd.ticket,
            "voucher": cmd.voucher,
            "contract": cmd.contract,
        },
    )
    return ItineraryPrinted(document=document)


def document_totals(engine: sa.Engine) -> dict[str, int]:
    """How many itineraries were printed."""
    return count(engine, printed=sa.select(sa.func.count()).select_from(itineraries))


totals = {
    "flights": seats.totals,
    "rooms": hotel_rooms.totals,
    "cars": fleet.totals,
    "wallet": wallet_totals,
    "documents": document_totals,
}
"""What counts the holdings of each."""
