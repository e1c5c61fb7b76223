"""A flow of events with two branches that join, for the tests."""

from __future__ import annotations

from es_saga.core.choreography import Choreography
from es_saga.core.messages import Event
from tests.core.fulfilment import MINUTE


class TripEvent(Event):
    about = "trip_id"
    trip_id: str


class TripPlanned(TripEvent):
    by = "desk"


class TripDropped(TripEvent):
    by = "desk"


class FlightBooked(TripEvent):
    by = "airline"


class FlightFull(TripEvent):
    by = "airline"


class FlightCancelled(TripEvent):
    by = "airline"


class HotelBooked(TripEvent):
    by = "hotel"


class HotelFull(TripEvent):
    by = "hotel"


class HotelCancelled(TripEvent):
    by = "hotel"


class TripPaid(TripEvent):
    by = "bank"


class TripUnpaid(TripEvent):
    by = "bank"


def trip() -> Choreography[TripPlanned]:
    """Flight and hotel beside each other, then the payment."""
    flow = Choreography("trip", TripPlanned)
    flow.expects(FlightBooked, after=TripPlanned, within=MINUTE, unless=FlightFull)
    flow.expects(HotelBooked, after=TripPlanned, within=MINUTE, unless=HotelFull)
    flow.expects(TripPaid, after=(FlightBooked, HotelBooked), within=MINUTE, unless=TripUnpaid)
    flow.undoes(FlightCancelled, FlightBooked, after=(HotelFull, TripUnpaid), within=MINUTE)
    flow.undoes(HotelCancelled, HotelBooked, after=(FlightFull, TripUnpaid), within=MINUTE)
    every = (FlightFull, HotelFull, TripUnpaid)
    flow.undoes(TripDropped, TripPlanned, after=every, within=MINUTE)
    return flow
