"""Procurement: what is dear waits for an approval, and the invoice is paid when it falls due."""

from domain.procurement.participants import budget, supplier
from domain.procurement.saga import procurement
from es_saga import App

app = App("procurement", sagas=[procurement], participants=[budget, supplier])

__all__ = ["app", "procurement"]
