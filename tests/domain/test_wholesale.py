"""A wholesaler's orders: every line by itself, all of them or none."""

from __future__ import annotations

from domain.wholesale import wholesale
from domain.wholesale.contracts import (
    BulkOrder,
    CreditRefused,
    Invoice,
    Line,
    OutOfStock,
    ReleaseLine,
    Reserved,
    ReserveLine,
    ShipLine,
)
from domain.wholesale.saga import AT_ONCE
from es_saga.testing import given, judge
from es_saga.testing.scenes import Scene

LINES = [Line(sku=f"thing-{n}", pieces=n) for n in range(1, AT_ONCE + 2)]
RESERVE = [ReserveLine(sku=line.sku, pieces=line.pieces) for line in LINES]
RELEASE = [ReleaseLine(sku=line.sku, pieces=line.pieces) for line in LINES]
SHIP = [ShipLine(sku=line.sku, pieces=line.pieces) for line in LINES]

AN_ORDER = BulkOrder(order_id="1", shop="ann's", lines=LINES)
ALL = Invoice(order_id="1", shop="ann's", pence=100 * len(LINES))
SET_ASIDE = Reserved(pence=100)


def under_way() -> Scene:
    """The first line is set aside, so the last one has its place."""
    first = given(wholesale, AN_ORDER).expect(*RESERVE[:AT_ONCE]).on(RESERVE[0]).reply(SET_ASIDE)
    return first.expect(RESERVE[-1]).reply(SET_ASIDE)


def invoiced() -> Scene:
    scene = under_way()
    for line in RESERVE[1:AT_ONCE]:
        scene = scene.on(line).reply(SET_ASIDE)
    return scene


def test_every_line_is_reserved_invoiced_together_and_shipped() -> None:
    shipping = invoiced().expect(ALL).reply().expect(*SHIP[:AT_ONCE]).on(SHIP[0]).reply()
    shipping = shipping.expect(SHIP[-1]).reply()
    for line in SHIP[1:AT_ONCE]:
        shipping = shipping.on(line).reply()
    assert not judge(shipping.completed().story).violations


def test_a_line_that_is_not_to_be_had_gives_the_others_back() -> None:
    refused = under_way().on(RESERVE[1]).refuse(OutOfStock(sku="thing-2"))
    back = refused.on(RESERVE[2]).reply(SET_ASIDE).expect(RELEASE[2], RELEASE[-1])
    back = back.on(RELEASE[2]).reply().on(RELEASE[-1]).reply()
    done = back.expect(RELEASE[0]).reply().compensated()
    assert not judge(done.story).violations


def test_without_credit_every_line_is_given_back() -> None:
    back = invoiced().expect(ALL).refuse(CreditRefused(pence=400)).expect(*RELEASE[1:])
    for line in RELEASE[1:]:
        back = back.on(line).reply()
    back.expect(RELEASE[0]).reply().compensated()
