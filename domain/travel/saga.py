"""A trip: flight beside room beside car, then pay, then the itinerary.

The three bookings start together, and what was booked is cancelled again when another one is not to
be had. Paying is the pivot: once the money is taken, the trip is on, and the itinerary is printed
however often it has to be tried.
"""

from __future__ import annotations

from domain.pace import PATIENCE
from domain.travel.contracts import (
    BookCar,
    BookFlight,
    BookRoom,
    BookTrip,
    CancelCar,
    CancelFlight,
    CancelRoom,
    CarBooked,
    FlightBooked,
    PayTrip,
    PrintItinerary,
    RoomBooked,
)
from es_saga import START, Saga

trip = Saga("trip", BookTrip)


@trip.step(after=START, timeout=PATIENCE)
def flight(t: BookTrip) -> BookFlight:
    """Take a seat."""
    return BookFlight(trip_id=t.trip_id, flight=t.flight)


@flight.compensation
def cancel_flight(t: BookTrip) -> CancelFlight:
    return CancelFlight(trip_id=t.trip_id)


@trip.step(after=START, timeout=PATIENCE)
def room(t: BookTrip) -> BookRoom:
    """Take a room."""
    return BookRoom(trip_id=t.trip_id, hotel=t.hotel)


@room.compensation
def cancel_room(t: BookTrip) -> CancelRoom:
    return CancelRoom(trip_id=t.trip_id)


@trip.step(after=START, timeout=PATIENCE)
def car(t: BookTrip) -> BookCar:
    """Take a car."""
    return BookCar(trip_id=t.trip_id, car=t.car)


@car.compensation
def cancel_car(t: BookTrip) -> CancelCar:
    return CancelCar(trip_id=t.trip_id)


@trip.pivot(after=(flight, room, car), timeout=PATIENCE)
def pay(t: BookTrip) -> PayTrip:
    """Take the money; from here on the trip takes place."""
    return PayTrip(trip_id=t.trip_id, traveller=t.traveller, pence=t.pence)


@trip.step(timeout=PATIENCE)
def itinerary(
    t: BookTrip, flight: FlightBooked, room: RoomBooked, car: CarBooked
) -> PrintItinerary:
    """Put it all on paper."""
    return PrintItinerary(
        trip_id=t.trip_id, ticket=flight.ticket, voucher=room.voucher, contract=car.contract
    )
