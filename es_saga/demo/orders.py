"""The shop's orders: what becomes of them when all goes well, and when it does not."""

from __future__ import annotations

from es_saga.demo.scenario import (
    COMPENSATED,
    COMPLETED,
    CONDUCTOR,
    Fate,
    Kill,
    Scenario,
    Totals,
)

PENCE = 1_999

SOLD: Totals = {
    "orders": {"placed": 1},
    "payments": {"taken": PENCE, "in_accounts": -PENCE},
    "stock": {"reserved": 1, "noted": 1, "on_hand": -1},
    "shipping": {"posted": 1},
}
CANCELLED: Totals = {"orders": {"cancelled": 1}}
"""It stays in the book; all else is as it was."""

HAPPY = Fate("all goes well", COMPLETED, SOLD)
REFUSED = Fate("the card is declined", COMPENSATED, CANCELLED, {"card": "prepaid"})
SOLD_OUT = Fate(
    "the shelf is empty, the card is refunded", COMPENSATED, CANCELLED, {"sku": "unicorn"}
)
LOST = Fate(
    "no answer comes from the stock, ever", COMPENSATED, CANCELLED, {"sku": "teapot!garbled"}
)
FLAKY = Fate("the carrier answers at the second attempt", COMPLETED, SOLD, {"town": "Leeds!flaky"})
CRASHED = Fate("payments die before they commit", COMPLETED, SOLD, {"card": "visa!crash"})
KILLED = Fate(
    "the conductor is killed on the way", COMPLETED, SOLD, cues={"create": Kill(CONDUCTOR)}
)


def _of(about: str, *fates: Fate) -> Scenario:
    return Scenario(
        about=about,
        app="domain.orders:app",
        saga="order",
        data={
            "customer": "ada",
            "sku": "teapot",
            "pence": PENCE,
            "card": "visa",
            "town": "Leeds",
        },
        key="order_id",
        fates=fates,
        totals="domain.orders.participants:totals",
        alone=("payments",),
        sagas=12,
        projection="projections.order_board:board",
    )


ORDERS = {
    "mix": _of("orders of all kinds", HAPPY, REFUSED, SOLD_OUT, LOST, CRASHED, KILLED),
    "happy": _of("orders that go well", HAPPY),
    "refuse": _of("a declined card, an empty shelf", REFUSED, SOLD_OUT),
    "timeout": _of("answers that come late, or never", LOST, FLAKY),
    "crash": _of("a service dies, and the conductor", CRASHED, KILLED, HAPPY),
    "chaos": _of(
        "everything at once", HAPPY, SOLD_OUT, LOST, CRASHED, KILLED, REFUSED, FLAKY, KILLED
    ),
}
