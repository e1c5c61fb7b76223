"""A night: book the room, then pay. Who cannot pay does not keep the room."""

from __future__ import annotations

from domain.pace import PATIENCE
from domain.travel.contracts import BookRoom, BookStay, CancelRoom, PayTrip
from es_saga import Saga

stay = Saga("stay", BookStay)


@stay.step(timeout=PATIENCE)
def room(s: BookStay) -> BookRoom:
    """Take a room."""
    return BookRoom(trip_id=s.trip_id, hotel=s.hotel)


@room.compensation
def cancel_room(s: BookStay) -> CancelRoom:
    return CancelRoom(trip_id=s.trip_id)


@stay.pivot(timeout=PATIENCE)
def pay(s: BookStay) -> PayTrip:
    """Take the money."""
    return PayTrip(trip_id=s.trip_id, traveller=s.traveller, pence=s.pence)
