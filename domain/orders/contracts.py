"""What is said in the shop: the customer's order, and what the four services ask and answer.

A command names the service it goes to and the reply it is answered with. A refusal is a service's
business *no*. An undo names the order alone: it must do even where the answer to what it undoes
never came.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from es_saga import Command, Message, Query, Refusal, Sensitive

MOST_PENCE = 100_000_000
"""The dearest order: a million pounds."""

MOST_PIECES = 1_000
"""The largest order, in pieces."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Pence = Annotated[int, Field(ge=1, le=MOST_PENCE)]
Pieces = Annotated[int, Field(ge=1, le=MOST_PIECES)]


class PlaceOrder(Message):
    """A customer's order: where every saga of the shop begins. A new shop knows the examples."""

    order_id: Name
    customer: Name = Field(examples=["ada", "mallory"])
    sku: Name = Field(examples=["teapot", "vase", "unicorn"])
    quantity: Pieces = 1
    pence: Pence
    """The price of the whole order."""
    card: Sensitive[Name] = Field(examples=["visa", "prepaid"])
    town: Name = Field(examples=["Bath", "Atlantis"])


# ── orders ───────────────────────────────────────────────────────────────────────────────────────


class OrderCreated(Message):
    """The order is in the book."""

    order_id: str


class OrderRejected(Refusal):
    """This order is not taken."""

    reason: str


class CreateOrder(Command[OrderCreated]):
    """Enter the order in the book."""

    to = "orders"
    order_id: Name
    customer: Name
    sku: Name
    quantity: Pieces
    pence: Pence


class CancelOrder(Command[None]):
    """Undoes CreateOrder: the entry stays, marked as cancelled."""

    to = "orders"
    order_id: Name


# ── payments ─────────────────────────────────────────────────────────────────────────────────────


class CardCharged(Message):
    """The money has been taken."""

    charge: str


class CardDeclined(Refusal):
    """The card is unknown, or there is not enough money behind it."""

    card: Sensitive[str]


class ChargeCard(Command[CardCharged]):
    """Take the money."""

    to = "payments"
    order_id: Name
    card: Sensitive[Name]
    pence: Pence


class RefundCard(Command[None]):
    """Undoes ChargeCard: the money goes back to the card it came from."""

    to = "payments"
    order_id: Name


# ── stock ────────────────────────────────────────────────────────────────────────────────────────


class StockReserved(Message):
    """The goods lie aside for the order."""

    reservation: str


class OutOfStock(Refusal):
    """There are not as many on the shelf."""

    sku: str


class ReserveStock(Command[StockReserved]):
    """Lay the goods aside."""

    to = "stock"
    order_id: Name
    sku: Name
    quantity: Pieces


class ReleaseStock(Command[None]):
    """Undoes ReserveStock: the goods go back on the shelf."""

    to = "stock"
    order_id: Name


class OnShelf(Message):
    """Pieces there are, and pieces laid aside."""

    sku: str
    on_hand: int
    reserved: int


class StockLevel(Query[OnShelf]):
    """How many are there?"""

    to = "stock"
    sku: Name


# ── shipping ─────────────────────────────────────────────────────────────────────────────────────


class ParcelShipped(Message):
    """The parcel is on its way."""

    parcel: str


class AddressUnknown(Refusal):
    """We do not deliver there."""

    town: str


class ShipParcel(Command[ParcelShipped]):
    """Hand what was reserved to the carrier."""

    to = "shipping"
    order_id: Name
    reservation: Name
    quantity: Pieces
    town: Name


class RecallParcel(Command[None]):
    """Undoes ShipParcel: the carrier brings it back."""

    to = "shipping"
    order_id: Name
