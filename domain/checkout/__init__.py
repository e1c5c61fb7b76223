"""A checkout: seats and money are held side by side, then both confirmed, or both given back."""

from domain.checkout.participants import bank, box_office
from domain.checkout.saga import checkout
from es_saga import App

app = App("checkout", sagas=[checkout], participants=[box_office, bank])

__all__ = ["app", "checkout"]
