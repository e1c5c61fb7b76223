"""A trip that has its bookings made by a saga of its own, and what its participants are asked."""

from __future__ import annotations

from datetime import timedelta

from es_saga import ChildSaga, Command, Message, Refusal, Retry, Saga

PATIENCE = timedelta(seconds=1)
SOON = Retry(first=timedelta(seconds=0.1), attempts=None, jitter=0.0)


class Voyage(Message):
    who: str


class Booking(Message):
    who: str


class Insure(Command[None]):
    to = "shop"
    who: str


class Uninsure(Command[None]):
    to = "shop"
    who: str


class BookBed(Command[None]):
    to = "shop"
    who: str


class FreeBed(Command[None]):
    to = "shop"
    who: str


class BookSeat(Command[None]):
    to = "porter"
    who: str


class FreeSeat(Command[None]):
    to = "porter"
    who: str


class Settle(Command[None]):
    to = "till"
    who: str
    booking: str


class No(Refusal):
    why: str = "no"


booking = Saga("booking", Booking)


@booking.step(timeout=PATIENCE)
def bed(b: Booking) -> BookBed:
    return BookBed(who=b.who)


@bed.compensation
def free_bed(b: Booking) -> FreeBed:
    return FreeBed(who=b.who)


@booking.step(timeout=PATIENCE)
def seat(b: Booking) -> BookSeat:
    return BookSeat(who=b.who)


@seat.compensation
def free_seat(b: Booking) -> FreeSeat:
    return FreeSeat(who=b.who)


def voyage_of(name: str, patience: timedelta) -> Saga[Voyage]:
    """A voyage that asks for its booking again after so long."""
    saga = Saga(name, Voyage)
    saga.step(_insure).compensation(_uninsure)
    saga.saga(booking, timeout=patience, retry=SOON)(book)
    saga.pivot(_pay)
    return saga


def _insure(v: Voyage) -> Insure:
    return Insure(who=v.who)


def _uninsure(v: Voyage) -> Uninsure:
    return Uninsure(who=v.who)


def book(v: Voyage) -> Booking:
    """Bed and seat, both or neither."""
    return Booking(who=v.who)


def _pay(v: Voyage, booked: ChildSaga) -> Settle:
    return Settle(who=v.who, booking=booked.saga_id)


voyage = voyage_of("voyage", timedelta(hours=1))
hasty = voyage_of("hasty", PATIENCE)
