"""Orders and their delivery: two services that check each other's work, and take it back."""

from domain.delivery.flow import delivery
from domain.delivery.participants import deliveries, orders
from es_saga import App

app = App("delivery", sagas=[delivery], participants=[orders, deliveries])

__all__ = ["app", "delivery"]
