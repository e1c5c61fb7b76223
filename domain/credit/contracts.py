"""What is said when something is bought on credit."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from es_saga import Command, Message, Refusal

Name = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Pence = Annotated[int, Field(ge=1, le=100_000_000)]


class BuyOnCredit(Message):
    """A customer buys something, and pays later. The lender knows the examples."""

    purchase_id: Name
    customer: Name = Field(examples=["ada", "spendthrift"])
    shop: Name = Field(examples=["bookshop"])
    pence: Pence


class CreditApproved(Message):
    """That much of the customer's limit is spoken for."""

    approval: str


class LimitExceeded(Refusal):
    """The customer owes too much already, or is unknown."""

    customer: str


class ApproveCredit(Command[CreditApproved]):
    """Set aside a part of the customer's limit."""

    to = "credit"
    purchase_id: Name
    customer: Name
    pence: Pence


class FreeCredit(Command[None]):
    """Undoes ApproveCredit."""

    to = "credit"
    purchase_id: Name


class ShopPaid(Message):
    """The shop has its money."""

    payment: str


class ShopClosed(Refusal):
    """The shop takes no payment from us."""

    shop: str


class PayShop(Command[ShopPaid]):
    """Pay the shop on the customer's behalf."""

    to = "merchant"
    purchase_id: Name
    shop: Name
    pence: Pence
