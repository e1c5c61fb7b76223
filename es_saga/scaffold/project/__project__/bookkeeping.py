"""What must be true of all the services' books together, once every saga has ended or is stuck.

`es-saga check` and the tests ask it after every schedule of failures that they play.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from __project__.participants import (
    OPENING_BALANCES,
    OPENING_STOCK,
    cards,
    charges,
    parcels,
    reservations,
    shelf,
)

if TYPE_CHECKING:
    from es_saga.testing import Books, Sagas


def invariant(books: Books, sagas: Sagas) -> None:
    """No piece and no penny is lost, and whatever was paid is sent."""
    stock, payments, shipping = books["stock"], books["payments"], books["shipping"]
    on_shelf = stock.scalar(sa.select(sa.func.sum(shelf.c.pieces))) or 0
    laid_aside = len(stock.execute(sa.select(reservations)).all())
    assert on_shelf + laid_aside == sum(OPENING_STOCK.values())

    in_accounts = payments.scalar(sa.select(sa.func.sum(cards.c.pence))) or 0
    taken = payments.scalar(sa.select(sa.func.sum(charges.c.pence))) or 0
    assert in_accounts + taken == sum(OPENING_BALANCES.values())

    paid = set(payments.scalars(sa.select(charges.c.order_id)))
    sent = set(shipping.scalars(sa.select(parcels.c.order_id)))
    assert sent <= paid, "nobody gets a parcel for nothing"
    if not any(saga.status == "stuck" for saga in sagas.values()):
        assert sent == paid, "nobody pays for nothing"
