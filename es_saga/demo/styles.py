"""Every other style than the orders' own, each with a business that calls for it."""

from __future__ import annotations

from dataclasses import replace

from es_saga.demo.scenario import (
    COMPENSATED,
    COMPLETED,
    CONDUCTOR,
    Fate,
    Kill,
    Outage,
    Scenario,
    Skip,
    Tell,
    Totals,
)

# ── tcc ──────────────────────────────────────────────────────────────────────────────────────────

SEATS, PRICE = 2, 6_000

BOUGHT: Totals = {
    "box_office": {"available": -SEATS, "consumed": SEATS},
    "bank": {"available": -PRICE, "consumed": PRICE},
}

TCC = Scenario(
    about="try, confirm, cancel: seats and money are held, then taken",
    app="domain.checkout:app",
    saga="checkout",
    data={"show": "Hamlet", "seats": SEATS, "card": "visa", "pence": PRICE},
    key="cart_id",
    fates=(
        Fate("both are held, both confirmed", COMPLETED, BOUGHT),
        Fate(
            "the card is declined: the seats are free again", COMPENSATED, {}, {"card": "prepaid"}
        ),
        Fate("the house is full: the money is free again", COMPENSATED, {}, {"show": "sold out"}),
        Fate(
            "the bank is killed while it holds the money",
            COMPLETED,
            BOUGHT,
            {"show": "Macbeth", "card": "amex"},
            {"funds": Kill("bank")},
        ),
        Fate(
            "the seats expire while the bank is down",
            COMPLETED,
            {"bank": BOUGHT["bank"]},
            {"show": "Othello"},
            cues={"confirm_seats": Skip("refunded by hand")},
            outage=Outage("bank", "seats"),
        ),
    ),
    totals="domain.checkout.participants:totals",
    alone=("bank",),
    environment={"DOMAIN_PATIENCE_SECONDS": "4", "ES_SAGA_ALERT_LOGGED": "false"},
)

# ── two-phase ────────────────────────────────────────────────────────────────────────────────────

# What is prepared locks its rows. So those whose bank is down have a show of their own, and who has
# held the money a card, and no fate meets itself: two that wait for each other's rows would both
# give up in the end.

TWO_PHASE = replace(
    TCC,
    about="the same, strictly: holds are prepared transactions (PostgreSQL)",
    app="domain.checkout.two_phase:app",
    totals="domain.checkout.two_phase:totals",
    postgres_only=True,
    apart=True,
)

# ── choreography ─────────────────────────────────────────────────────────────────────────────────

PENCE = 999

SHIPPED: Totals = {
    "orders": {"shipped": 1},
    "payments": {"pence": PENCE},
    "stock": {"pieces": 1},
    "carrier": {"parcels": 1},
}
CANCELLED: Totals = {"orders": {"cancelled": 1}}

CHOREOGRAPHY = Scenario(
    about="services react to each other's events; the flow is watched",
    app="domain.fulfilment:app",
    saga="fulfilment",
    data={"card": "visa", "pence": PENCE, "sku": "teapot", "quantity": 1, "town": "York"},
    key="order_id",
    begins="domain.fulfilment.participants:place",
    fates=(
        Fate("everybody does his part", COMPLETED, SHIPPED),
        Fate("the card is declined: cancelled", COMPENSATED, CANCELLED, {"card": "prepaid"}),
        Fate(
            "too few in stock: refunded, then cancelled",
            COMPENSATED,
            CANCELLED,
            {"quantity": 1_001},
        ),
        Fate(
            "no parcel goes there: released, refunded, cancelled",
            COMPENSATED,
            CANCELLED,
            {"town": "Atlantis"},
        ),
    ),
    totals="domain.fulfilment.participants:totals",
)

# ── outbox and inbox ─────────────────────────────────────────────────────────────────────────────

OUTBOX = replace(
    CHOREOGRAPHY,
    about="who publishes is killed, and who listens: nothing lost, nothing twice",
    fates=(
        Fate("everybody does his part", COMPLETED, SHIPPED),
        Fate(
            "the orders service is killed with events in its outbox",
            COMPLETED,
            SHIPPED,
            cues={"payment_completed": Kill("orders")},
        ),
        Fate(
            "payments are killed while they listen",
            COMPLETED,
            SHIPPED,
            cues={"stock_reserved": Kill("payments")},
        ),
        Fate("too few in stock: refunded", COMPENSATED, CANCELLED, {"quantity": 1_001}),
    ),
    alone=("orders", "payments"),
    sagas=24,
)

# ── pipeline ─────────────────────────────────────────────────────────────────────────────────────

SETTLEMENT = 200_000
"""What the experts say in the middle."""

SETTLED: Totals = {
    "claims": {"settled": 1, "pence": SETTLEMENT},
    "treasury": {"pence": SETTLEMENT},
    "letters": {"sent": 1},
}
RETURNED: Totals = {"claims": {"returned": 1}, "letters": {"sent": 1}}

PIPELINE = Scenario(
    about="a router asks experts side by side, and takes what comes in time",
    app="domain.intake:app",
    saga="intake",
    data={"loss": "damage", "item": "car", "evidence": "photos", "pence": SETTLEMENT},
    key="claim_id",
    fates=(
        Fate("every expert answers", COMPLETED, SETTLED),
        Fate("one cannot tell", COMPLETED, SETTLED, {"evidence": "blurred"}),
        Fate(
            "too few can tell: it is sent back",
            COMPENSATED,
            RETURNED,
            {"evidence": "blurred", "pence": 50_000},
        ),
        Fate("one gives no answer in time", COMPLETED, SETTLED, {"evidence": "photos!garbled"}),
    ),
    totals="domain.intake.offices:totals",
    environment={"DOMAIN_PATIENCE_SECONDS": "3"},
)

# ── waiting ──────────────────────────────────────────────────────────────────────────────────────

CHEAP, DEAR = 20_000, 150_000

WAITING = Scenario(
    about="what is dear waits for an approval, what is due for its day",
    app="domain.procurement:app",
    saga="procurement",
    data={"item": "chair", "pence": DEAR},
    key="request_id",
    fates=(
        Fate(
            "cheap: nobody is asked",
            COMPLETED,
            {"budget": {"available": -CHEAP, "consumed": CHEAP}, "supplier": {"delivered": 1}},
            {"pence": CHEAP},
        ),
        Fate(
            "dear, and ada approves; the conductor is killed before it is due",
            COMPLETED,
            {
                "budget": {"available": -DEAR, "consumed": DEAR},
                "supplier": {"delivered": 1, "approved": 1},
            },
            cues={"approval": Tell("Approval", {"by": "ada"}), "due": Kill(CONDUCTOR)},
        ),
        Fate("dear, and nobody approves: the money is free again", COMPENSATED, {}),
        Fate("there is not so much money", COMPENSATED, {}, {"pence": 100_000_000}),
    ),
    totals="domain.procurement.participants:totals",
    environment={"DOMAIN_DAY_SECONDS": "1.5"},
)

# ── each ─────────────────────────────────────────────────────────────────────────────────────────

CUPS = [{"sku": "cup", "pieces": n} for n in range(1, 9)]
"""Lines of one order: 36 cups of 300 pence."""

DELIVERED: Totals = {
    "warehouse": {"available": -36, "consumed": 36},
    "accounts": {"pence": 10_800},
}

EACH = Scenario(
    about="a step over a list: all lines of an order, three at once",
    app="domain.wholesale:app",
    saga="wholesale",
    data={"shop": "ann's", "lines": CUPS},
    key="order_id",
    fates=(
        Fate("eight lines are reserved, invoiced and shipped", COMPLETED, DELIVERED),
        Fate(
            "the last line is sold out: seven are given back",
            COMPENSATED,
            {},
            {"lines": [*CUPS[:-1], {"sku": "unicorn", "pieces": 1}]},
        ),
        Fate(
            "no credit for so much: all lines are given back",
            COMPENSATED,
            {},
            {"lines": [{"sku": "pan", "pieces": 12}] * len(CUPS)},
        ),
        Fate(
            "the warehouse is killed between two lines",
            COMPLETED,
            DELIVERED,
            cues={"reserve-4": Kill("warehouse")},
        ),
    ),
    totals="domain.wholesale.participants:totals",
    alone=("warehouse",),
    environment={"DOMAIN_PATIENCE_SECONDS": "4"},
)

# ── nested ───────────────────────────────────────────────────────────────────────────────────────

FARE = 90_000

GONE: Totals = {
    "flights": {"taken": 2, "bookings": 2, "free": -2},
    "rooms": {"taken": 2, "bookings": 2, "free": -2},
    "wallet": {"paid": FARE, "in_wallets": -FARE},
}

NESTED = Scenario(
    about="a saga runs two others, and undoes what they have done",
    app="domain.together:app",
    saga="together",
    data={
        "traveller": "ada",
        "first_flight": "BA117",
        "second_flight": "BA117",
        "hotel": "Savoy",
        "pence": FARE,
    },
    key="trip_id",
    fates=(
        Fate("two journeys, and both go", COMPLETED, GONE),
        Fate("one flight is full: neither goes", COMPENSATED, {}, {"second_flight": "full"}),
        Fate("they cannot pay: both are undone", COMPENSATED, {}, {"traveller": "tramp"}),
        Fate(
            "the conductor is killed while both are under way",
            COMPLETED,
            GONE,
            cues={"first": Kill(CONDUCTOR)},
        ),
    ),
    totals="domain.travel.participants:totals",
)

# ── save-point ───────────────────────────────────────────────────────────────────────────────────

AWAY: Totals = {
    "flights": {"taken": 1, "bookings": 1, "free": -1},
    "rooms": {"taken": 1, "bookings": 1, "free": -1},
    "wallet": {"paid": FARE, "in_wallets": -FARE},
}

SAVE_POINT = Scenario(
    about="undone to a save-point, a saga goes on another way",
    app="domain.travel:app",
    saga="getaway",
    data={
        "traveller": "ada",
        "flight": "BA117",
        "hotel": "Savoy",
        "other_hotel": "Savoy",
        "pence": FARE,
    },
    key="trip_id",
    fates=(
        Fate("there is a room", COMPLETED, AWAY),
        Fate("there is none: the other hotel has one", COMPLETED, AWAY, {"hotel": "full"}),
        Fate(
            "there is none in either: the flight is cancelled",
            COMPENSATED,
            {},
            {"hotel": "full", "other_hotel": "full"},
        ),
        Fate(
            "the conductor is killed on the way, and finds the other",
            COMPLETED,
            AWAY,
            {"hotel": "full"},
            {"flight": Kill(CONDUCTOR)},
        ),
    ),
    totals="domain.travel.participants:totals",
)

STYLES = {
    "tcc": TCC,
    "two-phase": TWO_PHASE,
    "choreography": CHOREOGRAPHY,
    "outbox": OUTBOX,
    "pipeline": PIPELINE,
    "waiting": WAITING,
    "each": EACH,
    "save-point": SAVE_POINT,
    "nested": NESTED,
}
