"""Orders and their delivery: two services that check each other's work, and take it back."""

from domain.delivery.events import OrderPlaced
from domain.delivery.flow import delivery
from domain.delivery.participants import deliveries, orders, place
from es_saga import App

app = App("delivery", sagas=[delivery], participants=[orders, deliveries])
openings = {OrderPlaced: place}
"""How a flow begins, for `es-saga check` and tests."""

__all__ = ["app", "delivery", "openings"]
