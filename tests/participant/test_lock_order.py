"""What is prepared side by side is warned of; what is held in a row, or not locked, is not."""

from __future__ import annotations

from datetime import timedelta

import pytest

from domain.checkout import app, participants, two_phase
from domain.checkout.contracts import Cart, HoldFunds, HoldSeats
from domain.checkout.saga import checkout
from es_saga import Participant, Tcc
from es_saga.participant.lock_order import unordered

KEPT = timedelta(hours=1)

in_a_row = Tcc("checkout", Cart)


@in_a_row.hold(expires=KEPT)
def seats(c: Cart) -> HoldSeats:
    return HoldSeats(show=c.show, seats=c.seats)


@in_a_row.hold(expires=KEPT)
def funds(c: Cart) -> HoldFunds:
    return HoldFunds(card=c.card, pence=c.pence)


def test_holds_that_are_prepared_side_by_side_are_warned_of() -> None:
    (warning,) = unordered(checkout.definition, two_phase.app.participants.values())
    assert "'seats' and 'funds'" in warning
    assert "one after the other" in warning


@pytest.mark.parametrize(
    ("tcc", "cast"),
    [
        (in_a_row, two_phase.app.participants.values()),
        (checkout, app.participants.values()),
        (checkout, [two_phase.bank, participants.box_office]),
        (checkout, []),
    ],
    ids=["in a row", "reserved", "one of them is prepared", "served elsewhere"],
)
def test_what_cannot_be_waited_for_in_a_circle_is_not(
    tcc: Tcc[Cart], cast: list[Participant]
) -> None:
    assert list(unordered(tcc.definition, cast)) == []
