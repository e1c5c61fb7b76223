"""A money transfer between two banks."""

from domain.transfer.participants import giver, receipts, taker
from domain.transfer.saga import transfer
from es_saga import App

app = App("transfer", sagas=[transfer], participants=[giver, taker, receipts])

__all__ = ["app", "transfer"]
