"""A getaway: a flight, then a room here or else there, then pay.

The flight is the dearest to come by, so it is booked once. What fails after it, the first hotel
above all, is undone down to the save-point, and tried on another way.
"""

from __future__ import annotations

from domain.pace import PATIENCE
from domain.travel.contracts import (
    BookFlight,
    BookGetaway,
    BookRoom,
    CancelFlight,
    CancelRoom,
    PayTrip,
)
from es_saga import Saga, Way

getaway = Saga("getaway", BookGetaway)


@getaway.step(timeout=PATIENCE)
def flight(g: BookGetaway) -> BookFlight:
    """Take a seat."""
    return BookFlight(trip_id=g.trip_id, flight=g.flight)


@flight.compensation
def cancel_flight(g: BookGetaway) -> CancelFlight:
    return CancelFlight(trip_id=g.trip_id)


getaway.save_point("landed", ways=2)


@getaway.step(timeout=PATIENCE)
def room(g: BookGetaway, way: Way) -> BookRoom:
    """Take a room, in the second hotel if there is no other way."""
    return BookRoom(trip_id=g.trip_id, hotel=g.hotel if way.number == 1 else g.other_hotel)


@room.compensation
def cancel_room(g: BookGetaway) -> CancelRoom:
    return CancelRoom(trip_id=g.trip_id)


@getaway.pivot(timeout=PATIENCE)
def pay(g: BookGetaway) -> PayTrip:
    """Take the money."""
    return PayTrip(trip_id=g.trip_id, traveller=g.traveller, pence=g.pence)
