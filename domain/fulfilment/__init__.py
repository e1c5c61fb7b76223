"""Order fulfilment without a conductor: four services that react to each other's events."""

from domain.fulfilment.events import OrderCreated
from domain.fulfilment.flow import fulfilment
from domain.fulfilment.participants import carrier, orders, payments, place, stock
from es_saga import App

app = App("fulfilment", sagas=[fulfilment], participants=[orders, payments, stock, carrier])
openings = {OrderCreated: place}
"""How a flow begins, for `es-saga check` and tests."""

__all__ = ["app", "fulfilment", "openings"]
