"""What is said about something that a colleague wants to have bought."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from es_saga import Command, Message, Refusal

DEAR_PENCE = 100_000
"""From here on somebody has to approve of it."""

MOST_PENCE = 100_000_000

Name = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Pence = Annotated[int, Field(ge=1, le=MOST_PENCE)]


class Request(Message):
    """What is wanted. We know the examples."""

    request_id: Name
    item: Name = Field(examples=["chair"])
    pence: Pence = Field(examples=[20_000, DEAR_PENCE])


class Approval(Message):
    """Somebody who may has looked at it: `es-saga signal` sends it, or any client."""

    by: Name


class OverBudget(Refusal):
    """There is not so much money left."""


class Earmark(Command[None]):
    """Keep the money for it."""

    to = "budget"
    pence: Pence


class Release(Command[None]):
    """Undoes Earmark."""

    to = "budget"
    pence: Pence


class Pay(Command[None]):
    """Spend what was kept."""

    to = "budget"
    pence: Pence


class PlaceOrder(Command[None]):
    """Buy it."""

    to = "supplier"
    request_id: Name
    item: Name
    approved_by: Name | None
