"""What is said about an exchange of plots."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from es_saga import Command, Message, Refusal

Name = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class Exchange(Message):
    """Whoever has the one plot shall have the other."""

    one: Name = Field(examples=["oak", "ash"])
    other: Name = Field(examples=["ash", "oak"])
    fee_pence: int = Field(default=0, ge=0, le=10_000)


class NoSuchPlot(Refusal):
    """There is no such plot, or it is to be exchanged for itself."""

    plot: str


class Marked(Message):
    """The plot is kept for the exchange."""

    gardener: str


class Mark(Command[Marked]):
    """Keep a plot for the exchange."""

    to = "plots"
    plot: Name


class Unmark(Command[None]):
    """Undoes Mark."""

    to = "plots"
    plot: Name


class NotSigned(Refusal):
    """The registrar will not."""

    why: str


class Sign(Command[None]):
    """Enter the exchange in the register: from here on it is final."""

    to = "registrar"
    one: Name
    other: Name


class Swap(Command[None]):
    """Have the gardeners change places."""

    to = "plots"
    exposes = "a gardener digs over what goes back to somebody else"
    one: Name
    other: Name
