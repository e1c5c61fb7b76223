"""The travel agency: a trip whose parts are booked side by side, and a single night."""

from domain.travel.one_night import stay
from domain.travel.participants import cars, documents, flights, rooms, wallet
from domain.travel.saga import trip
from es_saga import App

app = App("travel", sagas=[trip, stay], participants=[flights, rooms, cars, wallet, documents])

__all__ = ["app", "stay", "trip"]
