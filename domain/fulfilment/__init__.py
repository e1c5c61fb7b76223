"""Order fulfilment without a conductor: four services that react to each other's events."""

from domain.fulfilment.flow import fulfilment
from domain.fulfilment.participants import carrier, orders, payments, stock
from es_saga import App

app = App("fulfilment", sagas=[fulfilment], participants=[orders, payments, stock, carrier])

__all__ = ["app", "fulfilment"]
