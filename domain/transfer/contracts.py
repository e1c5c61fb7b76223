"""What two banks say to each other when one customer sends money to another."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from es_saga import Command, Message, Refusal

MOST_PENCE = 100_000_000
"""The largest transfer: a million pounds."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Pence = Annotated[int, Field(ge=1, le=MOST_PENCE)]


class SendMoney(Message):
    """A customer of one bank pays a customer of another. The banks know the examples."""

    transfer_id: Name
    sender: Name = Field(examples=["ada", "poor"])
    recipient: Name = Field(examples=["bob", "homeless"])
    pence: Pence


class NotAllowed(Refusal):
    """The sender's account is unknown, or may not send as much."""

    reason: str


class ValidateTransfer(Command[None]):
    """May the sender send this? Changes nothing."""

    to = "giver"
    sender: Name
    pence: Pence


class Withdrawn(Message):
    """The money has left the sender's account."""

    debit: str


class NotEnoughMoney(Refusal):
    """There is less in the account than is to be sent."""

    sender: str


class Withdraw(Command[Withdrawn]):
    """Take the money out of the sender's account."""

    to = "giver"
    transfer_id: Name
    sender: Name
    pence: Pence


class PutBack(Command[None]):
    """Undoes Withdraw."""

    to = "giver"
    transfer_id: Name


class Deposited(Message):
    """The money is in the recipient's account."""

    credit: str


class AccountClosed(Refusal):
    """The recipient has no account there, or none that takes money."""

    recipient: str


class Deposit(Command[Deposited]):
    """Put the money into the recipient's account."""

    to = "taker"
    transfer_id: Name
    recipient: Name
    pence: Pence


class TakeBack(Command[None]):
    """Undoes Deposit, even where that overdraws the account."""

    to = "taker"
    transfer_id: Name


class ReceiptSent(Message):
    """Both customers have it in writing."""

    receipt: str


class NoPostalAddress(Refusal):
    """A receipt is required by law, and there is nowhere to send it."""

    recipient: str


class SendReceipt(Command[ReceiptSent]):
    """Put the transfer in writing."""

    to = "receipts"
    transfer_id: Name
    recipient: Name
    debit: Name
    credit: Name


class VoidReceipt(Command[None]):
    """Undoes SendReceipt: it stays on file, as void."""

    to = "receipts"
    transfer_id: Name
