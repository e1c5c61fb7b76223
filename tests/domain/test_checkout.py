"""The checkout: nothing reserved, available or consumed is made or lost, whatever goes wrong."""

from __future__ import annotations

import pytest

from domain.checkout import app, checkout, two_phase
from domain.checkout.contracts import HoldSeats
from domain.checkout.participants import accounts, bank, box_office, shows
from domain.transfer import transfer
from es_saga import App, DefinitionError, Participant
from es_saga.testing.check import check_saga
from es_saga.testing.invariants import Books


def every_seat(books: Books) -> int:
    found: int = books["box_office"].execute(shows.everything()).scalar_one()
    return found


def every_penny(books: Books) -> int:
    found: int = books["bank"].execute(accounts.everything()).scalar_one()
    return found


@pytest.mark.requirement("R085")
@pytest.mark.law("L71", "L72", "L73", "L74", "L75")
def test_a_checkout_survives_everything() -> None:
    seen = check_saga(
        checkout,
        participants=[box_office, bank],
        constant=[every_seat, every_penny],
        residue=(),
        examples=100,
    )
    assert {"L71", "L72", "L73", "L74", "L75"} <= seen.laws


@pytest.mark.requirement("R086")
@pytest.mark.law("L71", "L72", "L73", "L74", "L75")
def test_a_checkout_by_two_phases_survives_everything() -> None:
    """The same saga and the same questions; what is held is prepared."""
    seen = check_saga(
        checkout,
        participants=two_phase.app.participants.values(),
        constant=[every_seat, every_penny],
        residue=(),
        examples=20,
    )
    assert {"L71", "L72", "L73", "L74", "L75"} <= seen.laws
    assert seen.played == ("box_office", "bank")
    assert {"L71", "L72", "L73"} <= seen.exploration.laws
    assert seen.exploration.complete


def test_an_app_says_what_its_participants_do_not_hold() -> None:
    half, plain = Participant("box_office"), Participant("bank")
    half.tries(HoldSeats)(lambda cmd, tx: None)  # type: ignore[arg-type,return-value]
    with pytest.raises(DefinitionError) as caught:
        App("checkout", sagas=[checkout], participants=[half, plain]).definitions()
    assert caught.value.faults == (
        "checkout has funds held, and there is no @bank.tries(HoldFunds)",
        "HoldSeats is held by 'box_office', which never confirms it: "
        "write @box_office.confirms(HoldSeats)",
        "HoldSeats is held by 'box_office', which never cancels it: "
        "write @box_office.cancels(HoldSeats)",
    )
    assert len(app.definitions()) == 1


def test_an_app_says_what_its_participants_have_no_handler_for() -> None:
    """Of what its sagas ask; a service that is not of this app may well serve it."""
    with pytest.raises(DefinitionError) as caught:
        App("transfer", sagas=[transfer], participants=[Participant("taker")]).definitions()
    assert caught.value.faults == (
        "transfer has Deposit done, and there is no @taker.handles(Deposit)",
        "transfer has TakeBack done, and there is no @taker.handles(TakeBack)",
    )
