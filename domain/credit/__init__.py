"""Buying on credit: the smallest business here, two services and two steps."""

from domain.credit.participants import credit, merchant
from domain.credit.saga import purchase
from es_saga import App

app = App("credit", sagas=[purchase], participants=[credit, merchant])

__all__ = ["app", "purchase"]
