"""Two journeys side by side, then pay.

A journey is a saga of its own, with its own undo. It is held until the money is taken: who finds
the other one's flight full does not go either.
"""

from __future__ import annotations

from domain.pace import PATIENCE
from domain.together.contracts import BookJourney, TravelTogether
from domain.travel.contracts import BookFlight, BookRoom, CancelFlight, CancelRoom, PayTrip
from es_saga import START, Saga

journey = Saga("journey", BookJourney)


@journey.step(timeout=PATIENCE)
def flight(j: BookJourney) -> BookFlight:
    """Take a seat."""
    return BookFlight(trip_id=j.trip_id, flight=j.flight)


@flight.compensation
def cancel_flight(j: BookJourney) -> CancelFlight:
    return CancelFlight(trip_id=j.trip_id)


@journey.step(timeout=PATIENCE)
def room(j: BookJourney) -> BookRoom:
    """Take a room."""
    return BookRoom(trip_id=j.trip_id, hotel=j.hotel)


@room.compensation
def cancel_room(j: BookJourney) -> CancelRoom:
    return CancelRoom(trip_id=j.trip_id)


together = Saga("together", TravelTogether)


@together.saga(journey, after=START)
def first(t: TravelTogether) -> BookJourney:
    """The journey of the one."""
    return BookJourney(trip_id=f"{t.trip_id}-1", flight=t.first_flight, hotel=t.hotel)


@together.saga(journey, after=START)
def second(t: TravelTogether) -> BookJourney:
    """The journey of the other."""
    return BookJourney(trip_id=f"{t.trip_id}-2", flight=t.second_flight, hotel=t.hotel)


@together.pivot(after=(first, second), timeout=PATIENCE)
def pay(t: TravelTogether) -> PayTrip:
    """Take the money for both; from here on both go."""
    return PayTrip(trip_id=t.trip_id, traveller=t.traveller, pence=t.pence)
