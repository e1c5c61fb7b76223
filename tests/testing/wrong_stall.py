"""An app whose undo gives back one too many, and beside it what must be true of its data."""

from __future__ import annotations

from es_saga import App
from tests.testing import stall
from tests.testing.swapped import right

app = App(
    "wrong_stall", sagas=[right], participants=[stall.stock(free=stall.free_two), stall.PAYMENTS]
)

shut = App(
    "shut", sagas=[right], participants=[stall.stock(hold=stall.hold_then_refuse), stall.PAYMENTS]
)

choosy = App(
    "choosy", sagas=[right], participants=[stall.stock(hold=stall.hold_for_nobody), stall.PAYMENTS]
)

invariant = stall.nothing_is_lost
