"""A getaway: the flight is booked once, whichever hotel it is in the end."""

from __future__ import annotations

from domain.travel import getaway
from domain.travel.contracts import (
    BookFlight,
    BookGetaway,
    BookRoom,
    CancelFlight,
    CancelRoom,
    FlightBooked,
    NoRoom,
    PayTrip,
    RoomBooked,
    WalletEmpty,
)
from es_saga.testing import given, judge
from es_saga.testing.scenes import Asked

A_GETAWAY = BookGetaway(
    trip_id="1", traveller="ada", flight="BA117", hotel="Ritz", other_hotel="Inn", pence=9
)
RITZ, INN = (BookRoom(trip_id="1", hotel=hotel) for hotel in ("Ritz", "Inn"))
A_ROOM = RoomBooked(voucher="v-1")


def flown() -> Asked[RoomBooked]:
    flight = given(getaway, A_GETAWAY).expect(BookFlight).reply(FlightBooked(ticket="t-1"))
    return flight.expect(RITZ)


def test_where_the_first_hotel_is_full_the_other_one_is_asked_and_the_flight_stays() -> None:
    paying = flown().refuse(NoRoom(hotel="Ritz")).expect(INN).reply(A_ROOM).expect(PayTrip)
    done = paying.refuse(WalletEmpty(traveller="ada")).expect(CancelRoom).reply()
    done = done.expect(CancelFlight).reply().compensated()
    assert not judge(done.story).violations


def test_what_comes_after_the_save_point_is_undone_before_the_other_way() -> None:
    refused = flown().reply(A_ROOM).expect(PayTrip).refuse(WalletEmpty(traveller="ada"))
    refused.expect(CancelRoom).reply().expect(INN)


def test_where_both_are_full_the_flight_is_cancelled() -> None:
    full = flown().refuse(NoRoom(hotel="Ritz")).expect(INN).refuse(NoRoom(hotel="Inn"))
    full.expect(CancelFlight).reply().compensated()
