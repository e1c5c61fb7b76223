"""What is said in the travel agency."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from es_saga import Command, Message, Refusal

MOST_PENCE = 100_000_000
"""The dearest trip: a million pounds."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Pence = Annotated[int, Field(ge=1, le=MOST_PENCE)]


class BookTrip(Message):
    """A customer wants a flight, a room and a car, or none of them. We know the examples."""

    trip_id: Name
    traveller: Name = Field(examples=["ada", "tramp"])
    flight: Name = Field(examples=["BA117", "full"])
    hotel: Name = Field(examples=["Savoy", "full"])
    car: Name = Field(examples=["compact", "limousine"])
    """The class of the car."""
    pence: Pence
    """The price of the whole trip."""


class BookStay(Message):
    """A customer wants a room for the night."""

    trip_id: Name
    traveller: Name = Field(examples=["ada", "tramp"])
    hotel: Name = Field(examples=["Savoy", "full"])
    pence: Pence


class BookGetaway(Message):
    """A customer wants a flight, and a room in one hotel or in the other."""

    trip_id: Name
    traveller: Name = Field(examples=["ada", "tramp"])
    flight: Name = Field(examples=["BA117", "full"])
    hotel: Name = Field(examples=["Savoy", "full"])
    other_hotel: Name = Field(examples=["Savoy", "full"])
    pence: Pence


# ── what can be booked ───────────────────────────────────────────────────────────────────────────


class FlightBooked(Message):
    """A seat is taken."""

    ticket: str


class NoSeat(Refusal):
    """The flight is full, or does not exist."""

    flight: str


class BookFlight(Command[FlightBooked]):
    """Take a seat."""

    to = "flights"
    trip_id: Name
    flight: Name


class CancelFlight(Command[None]):
    """Undoes BookFlight: the seat is free again."""

    to = "flights"
    trip_id: Name


class RoomBooked(Message):
    """A room is taken."""

    voucher: str


class NoRoom(Refusal):
    """The hotel is full, or does not exist."""

    hotel: str


class BookRoom(Command[RoomBooked]):
    """Take a room."""

    to = "rooms"
    trip_id: Name
    hotel: Name


class CancelRoom(Command[None]):
    """Undoes BookRoom: the room is free again."""

    to = "rooms"
    trip_id: Name


class CarBooked(Message):
    """A car is taken."""

    contract: str


class NoCar(Refusal):
    """There is no car of this class."""

    car: str


class BookCar(Command[CarBooked]):
    """Take a car."""

    to = "cars"
    trip_id: Name
    car: Name


class CancelCar(Command[None]):
    """Undoes BookCar: the car is free again."""

    to = "cars"
    trip_id: Name


# ── money and paper ──────────────────────────────────────────────────────────────────────────────


class TripPaid(Message):
    """The money has been taken."""

    payment: str


class WalletEmpty(Refusal):
    """There is not enough money in the traveller's wallet."""

    traveller: str


class PayTrip(Command[TripPaid]):
    """Take the money out of the traveller's wallet, for good."""

    to = "wallet"
    trip_id: Name
    traveller: Name
    pence: Pence


class ItineraryPrinted(Message):
    """The traveller has the papers."""

    document: str


class PrintItinerary(Command[ItineraryPrinted]):
    """Put what was booked on paper."""

    to = "documents"
    trip_id: Name
    ticket: Name
    voucher: Name
    contract: Name
