"""Procurement: conditions, approvals, lapses and invoices that fall due, days apart."""

from __future__ import annotations

import pytest

from domain.procurement import procurement
from domain.procurement.contracts import (
    DEAR_PENCE,
    Approval,
    Earmark,
    Pay,
    PlaceOrder,
    Release,
    Request,
)
from domain.procurement.saga import TO_APPROVE, TO_PAY
from es_saga.testing import given, judge
from es_saga.testing.scenes import Scene

A_CHAIR = PlaceOrder(request_id="1", item="chair", approved_by=None)


def earmarked(pence: int) -> Scene:
    """The money is kept."""
    return (
        given(procurement, Request(request_id="1", item="chair", pence=pence))
        .expect(Earmark(pence=pence))
        .reply()
    )


def test_what_is_cheap_is_ordered_at_once_and_paid_when_it_is_due() -> None:
    ordered = earmarked(DEAR_PENCE - 1).expect(A_CHAIR).reply()
    not_yet = ordered.wait(TO_PAY.total_seconds() - 1).nothing_sent()
    done = not_yet.wait(1).expect(Pay(pence=DEAR_PENCE - 1)).reply().completed()
    assert not judge(done.story).violations


@pytest.mark.parametrize("days_later", [0, 1])
def test_what_is_dear_waits_for_whoever_approves_of_it(days_later: float) -> None:
    waiting = earmarked(DEAR_PENCE).nothing_sent().wait(days_later * 86_400)
    waiting.signal(Approval(by="ada")).expect(A_CHAIR.model_copy(update={"approved_by": "ada"}))


def test_what_nobody_approves_of_lapses_and_the_money_is_free_again() -> None:
    lapsed = earmarked(DEAR_PENCE).wait(TO_APPROVE.total_seconds())
    done = lapsed.expect(Release(pence=DEAR_PENCE)).reply().compensated()
    assert not judge(done.story).violations
