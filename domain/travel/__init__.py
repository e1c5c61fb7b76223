"""The travel agency.

trip     flight, room and car side by side, then pay, then the papers
stay     a room for the night
getaway  a flight, then a room in one hotel or else in another
"""

from domain.travel.getaway import getaway
from domain.travel.one_night import stay
from domain.travel.participants import cars, documents, flights, rooms, wallet
from domain.travel.saga import trip
from es_saga import App

app = App(
    "travel",
    sagas=[trip, stay, getaway],
    participants=[flights, rooms, cars, wallet, documents],
)

__all__ = ["app", "getaway", "stay", "trip"]
