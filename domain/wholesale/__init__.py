"""A wholesaler: an order has many lines, each reserved, given back and shipped by itself."""

from domain.wholesale.participants import accounts, warehouse
from domain.wholesale.saga import wholesale
from es_saga import App

app = App("wholesale", sagas=[wholesale], participants=[warehouse, accounts])

__all__ = ["app", "wholesale"]
