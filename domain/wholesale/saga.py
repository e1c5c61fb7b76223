"""An order of many lines: reserve each, write one invoice, ship each.

How many steps it has is known when it begins. A line that is not to be had gives all others back,
and a line that is slow holds up only those that come after it in its lane.
"""

from __future__ import annotations

from domain.pace import PATIENCE
from domain.wholesale.contracts import (
    MOST_LINES,
    BulkOrder,
    Invoice,
    Line,
    ReleaseLine,
    Reserved,
    ReserveLine,
    ShipLine,
)
from es_saga import Saga

AT_ONCE = 3
"""Lines of one order that the warehouse works on at a time."""

wholesale = Saga("wholesale", BulkOrder)


@wholesale.step(each=lambda o: o.lines, most=MOST_LINES, at_once=AT_ONCE, timeout=PATIENCE)
def reserve(o: BulkOrder, line: Line) -> ReserveLine:
    """Set a line aside."""
    return ReserveLine(sku=line.sku, pieces=line.pieces)


@reserve.compensation
def release(o: BulkOrder, line: Line) -> ReleaseLine:
    return ReleaseLine(sku=line.sku, pieces=line.pieces)


@wholesale.pivot(timeout=PATIENCE)
def invoice(o: BulkOrder, reserved: list[Reserved]) -> Invoice:
    """Have the shop owe it: from here on it is delivered."""
    return Invoice(order_id=o.order_id, shop=o.shop, pence=sum(one.pence for one in reserved))


@wholesale.step(each=lambda o: o.lines, most=MOST_LINES, at_once=AT_ONCE, timeout=PATIENCE)
def ship(o: BulkOrder, line: Line) -> ShipLine:
    """Send what was set aside."""
    return ShipLine(sku=line.sku, pieces=line.pieces)
