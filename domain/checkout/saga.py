"""A checkout: hold the seats beside the money; with both in hand, take both.

While they are held nobody else can have them; nobody is charged for seats he does not get. A hold
that the checkout leaves alone is released after a quarter of an hour.
"""

from __future__ import annotations

from datetime import timedelta

from domain.checkout.contracts import Cart, HoldFunds, HoldSeats
from domain.pace import PATIENCE
from es_saga import START, Tcc

RESERVATION = timedelta(minutes=15)
"""How long seats and money are kept for a customer who does not come back."""

checkout = Tcc("checkout", Cart)


@checkout.hold(expires=RESERVATION, timeout=PATIENCE)
def seats(c: Cart) -> HoldSeats:
    """Set the seats aside."""
    return HoldSeats(show=c.show, seats=c.seats)


@checkout.hold(expires=RESERVATION, after=START, timeout=PATIENCE)
def funds(c: Cart) -> HoldFunds:
    """Set the money aside."""
    return HoldFunds(card=c.card, pence=c.pence)
