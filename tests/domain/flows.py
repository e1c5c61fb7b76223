"""Every flow of the reference business: its input, how each step is refused, what it leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from domain import activities, checkout, credit, orders, transfer, travel
from domain.activities import participants as courses
from domain.activities.contracts import RunCourse
from domain.checkout import participants as theatre
from domain.checkout.contracts import Cart
from domain.credit import participants as lending
from domain.credit.contracts import BuyOnCredit
from domain.orders.contracts import PlaceOrder
from domain.orders.participants import totals as shop_totals
from domain.totals import Counting
from domain.transfer import participants as banking
from domain.transfer.contracts import SendMoney
from domain.travel import participants as agency
from domain.travel.contracts import BookStay, BookTrip
from es_saga import App, Message, Saga
from tests.domain.driver import World

Totals = dict[str, int]


@dataclass(frozen=True)
class Flow:
    """A saga of the reference business, and what its tests need to know of it."""

    requirement: str
    app: App
    saga: Saga[Any]
    data: Message
    refusals: Mapping[str, Mapping[str, Any]]
    """For each step that can be refused: the change to the input that has it refused."""
    effect: Totals
    """How a completed saga changes the totals; those not named stay as they are."""
    totals: Callable[[World], Totals]
    conserved: tuple[tuple[str, ...], ...]
    """Totals whose sum never changes."""
    residuals: frozenset[str] = field(default=frozenset())
    """Tables that keep a record of what was undone, and totals that count it."""

    @property
    def name(self) -> str:
        return self.saga.name

    def refused_at(self, step: str) -> Message:
        """The input that is refused at this step."""
        return self.data.model_copy(update=dict(self.refusals[step]))


def _shop(world: World) -> Totals:
    return _counted(world, shop_totals)


def _travel(world: World) -> Totals:
    return _counted(world, agency.totals)


def _counted(world: World, counting: Mapping[str, Counting]) -> Totals:
    found: Totals = {}
    for service, count in counting.items():
        found |= _named(service, count(world.engines[service]))
    return found


def _banks(world: World) -> Totals:
    return {
        **_named("giver", banking.here.totals(world.engines["giver"])),
        **_named("taker", banking.there.totals(world.engines["taker"])),
        **_named("receipts", banking.receipt_totals(world.engines["receipts"])),
    }


def _checkout(world: World) -> Totals:
    return {
        **_named("shows", theatre.shows.totals(world.engines["box_office"])),
        **_named("accounts", theatre.accounts.totals(world.engines["bank"])),
    }


def _lending(world: World) -> Totals:
    return {
        **_named("credit", lending.credit_totals(world.engines["credit"])),
        **_named("merchant", lending.merchant_totals(world.engines["merchant"])),
    }


def _courses(world: World) -> Totals:
    tables = {"a": courses.by_a, "b": courses.by_b, "c": courses.by_c}
    return {
        f"{name}.performed": courses.totals(world.engines[name], table)["performed"]
        for name, table in tables.items()
    }


def _named(service: str, totals: Totals) -> Totals:
    return {f"{service}.{what}": number for what, number in totals.items()}


_ORDER = PlaceOrder(
    order_id="7", customer="ada", sku="teapot", quantity=2, pence=1_800, card="visa", town="York"
)
_REFUSALS: dict[str, dict[str, Any]] = {
    "create": {"customer": "mallory"},
    "charge": {"card": "prepaid"},
    "reserve": {"sku": "unicorn"},
    "ship": {"town": "Atlantis"},
}
_SOLD = {"payments.in_accounts": -1_800, "payments.taken": 1_800}
_RESERVED = {"stock.on_hand": -2, "stock.reserved": 2, "stock.noted": 2}
_SHOP_CONSERVES = (("payments.in_accounts", "payments.taken"), ("stock.on_hand", "stock.reserved"))
_SHOP_KEEPS = frozenset({"orders", "ledger", "parcels", "orders.cancelled", "shipping.recalled"})


def _shop_flow(requirement: str, saga: Saga[Any], effect: Totals) -> Flow:
    return Flow(
        requirement=requirement,
        app=orders.app,
        saga=saga,
        data=_ORDER,
        refusals={step.name: _REFUSALS[step.name] for step in saga.steps},
        effect=effect,
        totals=_shop,
        conserved=_SHOP_CONSERVES,
        residuals=_SHOP_KEEPS,
    )


_TRIP = BookTrip(
    trip_id="7", traveller="ada", flight="BA117", hotel="Savoy", car="compact", pence=90_000
)
_PAID = {"wallet.in_wallets": -90_000, "wallet.paid": 90_000}
_ROOM = {"rooms.free": -1, "rooms.taken": 1, "rooms.bookings": 1}
_TRAVEL_CONSERVES = (
    ("flights.free", "flights.taken"),
    ("rooms.free", "rooms.taken"),
    ("cars.free", "cars.taken"),
    ("wallet.in_wallets", "wallet.paid"),
)

FLOWS = [
    _shop_flow("R093", orders.collect, {"orders.placed": 1, **_SOLD, **_RESERVED}),
    _shop_flow("R094", orders.express, {"shipping.posted": 2, **_SOLD, **_RESERVED}),
    _shop_flow(
        "R095", orders.order, {"orders.placed": 1, "shipping.posted": 2, **_SOLD, **_RESERVED}
    ),
    _shop_flow("R096", orders.counter, {"orders.placed": 1, **_SOLD, **_RESERVED}),
    Flow(
        requirement="R097",
        app=transfer.app,
        saga=transfer.transfer,
        data=SendMoney(transfer_id="7", sender="ada", recipient="bob", pence=2_500),
        refusals={
            "validate": {"pence": banking.MOST_IN_ONE_GO + 1},
            "withdraw": {"sender": "poor"},
            "deposit": {"recipient": "nobody"},
            "receipt": {"recipient": "homeless"},
        },
        effect={
            "giver.balances": -2_500,
            "giver.moved": -2_500,
            "taker.balances": 2_500,
            "taker.moved": 2_500,
            "receipts.valid": 1,
        },
        totals=_banks,
        conserved=(("giver.balances", "taker.balances"),),
        residuals=frozenset({"giver_movements", "taker_movements", "receipts", "receipts.void"}),
    ),
    Flow(
        requirement="R098",
        app=travel.app,
        saga=travel.stay,
        data=BookStay(trip_id="7", traveller="ada", hotel="Savoy", pence=90_000),
        refusals={"room": {"hotel": "full"}, "pay": {"traveller": "tramp"}},
        effect={**_ROOM, **_PAID},
        totals=_travel,
        conserved=_TRAVEL_CONSERVES,
    ),
    Flow(
        requirement="R099",
        app=credit.app,
        saga=credit.purchase,
        data=BuyOnCredit(purchase_id="7", customer="ada", shop="bookshop", pence=1_500),
        refusals={"approve": {"customer": "spendthrift"}, "pay": {"shop": "casino"}},
        effect={"credit.open": -1_500, "credit.approved": 1_500, "merchant.paid": 1_500},
        totals=_lending,
        conserved=(("credit.open", "credit.approved"),),
    ),
    Flow(
        requirement="R100",
        app=activities.app,
        saga=activities.course,
        data=RunCourse(course_id="7"),
        refusals={"a": {"reject": "a"}, "b": {"reject": "b"}, "c": {"reject": "c"}},
        effect={"a.performed": 1, "b.performed": 1, "c.performed": 1},
        totals=_courses,
        conserved=(),
    ),
    Flow(
        requirement="R085",
        app=checkout.app,
        saga=checkout.checkout,
        data=Cart(cart_id="7", show="Hamlet", seats=2, card="visa", pence=9_000),
        refusals={"seats": {"show": "sold out"}, "funds": {"card": "prepaid"}},
        effect={
            "shows.available": -2,
            "shows.consumed": 2,
            "accounts.available": -9_000,
            "accounts.consumed": 9_000,
        },
        totals=_checkout,
        conserved=(
            ("shows.available", "shows.reserved", "shows.consumed"),
            ("accounts.available", "accounts.reserved", "accounts.consumed"),
        ),
    ),
    Flow(
        requirement="R042",
        app=travel.app,
        saga=travel.trip,
        data=_TRIP,
        refusals={
            "flight": {"flight": "full"},
            "room": {"hotel": "full"},
            "car": {"car": "limousine"},
            "pay": {"traveller": "tramp"},
        },
        effect={
            "flights.free": -1,
            "flights.taken": 1,
            "flights.bookings": 1,
            "cars.free": -1,
            "cars.taken": 1,
            "cars.bookings": 1,
            "documents.printed": 1,
            **_ROOM,
            **_PAID,
        },
        totals=_travel,
        conserved=_TRAVEL_CONSERVES,
    ),
]
