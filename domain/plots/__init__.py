"""Allotments: two gardeners exchange their plots, and so may others with the same plots at a time.

What is marked for an exchange is under a semantic lock until the exchange is signed or called off.
Who meets a lock waits; those who wait for each other in a circle are found, and one gives way.
"""

from domain.plots.participants import plots, registrar
from domain.plots.saga import exchange
from es_saga import App

app = App("plots", sagas=[exchange], participants=[plots, registrar])

__all__ = ["app", "exchange"]
