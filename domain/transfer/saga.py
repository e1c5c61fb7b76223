"""A transfer: validate it, withdraw here, deposit there, send the receipt.

Validating is a check: it only reads, so there is nothing to undo. What it found may have changed by
the time the money is withdrawn, and so Withdraw looks again and may refuse all the same.
"""

from __future__ import annotations

from domain.pace import PATIENCE
from domain.transfer.contracts import (
    Deposit,
    Deposited,
    PutBack,
    SendMoney,
    SendReceipt,
    TakeBack,
    ValidateTransfer,
    VoidReceipt,
    Withdraw,
    Withdrawn,
)
from es_saga import Saga

transfer = Saga("transfer", SendMoney)


@transfer.check(timeout=PATIENCE)
def validate(m: SendMoney) -> ValidateTransfer:
    """Ask whether it is allowed."""
    return ValidateTransfer(sender=m.sender, pence=m.pence)


@transfer.step(timeout=PATIENCE)
def withdraw(m: SendMoney) -> Withdraw:
    """Take the money from the sender."""
    return Withdraw(transfer_id=m.transfer_id, sender=m.sender, pence=m.pence)


@withdraw.compensation
def put_back(m: SendMoney) -> PutBack:
    return PutBack(transfer_id=m.transfer_id)


@transfer.step(timeout=PATIENCE)
def deposit(m: SendMoney) -> Deposit:
    """Give it to the recipient."""
    return Deposit(transfer_id=m.transfer_id, recipient=m.recipient, pence=m.pence)


@deposit.compensation
def take_back(m: SendMoney) -> TakeBack:
    return TakeBack(transfer_id=m.transfer_id)


@transfer.step(timeout=PATIENCE)
def receipt(m: SendMoney, out: Withdrawn, into: Deposited) -> SendReceipt:
    """Put it in writing."""
    return SendReceipt(
        transfer_id=m.transfer_id, recipient=m.recipient, debit=out.debit, credit=into.credit
    )


@receipt.compensation
def void(m: SendMoney) -> VoidReceipt:
    return VoidReceipt(transfer_id=m.transfer_id)
