"""Mark both plots, sign, and change places. Until it is signed everything can be called off."""

from __future__ import annotations

from datetime import timedelta

from domain.plots.contracts import Exchange, Mark, Marked, Sign, Swap, Unmark
from es_saga import Retry, Saga, of

PATIENCE = Retry(first=timedelta(seconds=1), attempts=30, jitter=0.0)
"""How long a plot that others are exchanging is waited for."""

exchange = Saga("exchange", Exchange)


@exchange.step(retry=PATIENCE)
def one(e: Exchange) -> Mark:
    return Mark(plot=e.one)


@one.compensation
def unmark_one(e: Exchange) -> Unmark:
    return Unmark(plot=e.one)


@exchange.step(retry=PATIENCE)
def other(e: Exchange, marked: Marked = of(one)) -> Mark:
    return Mark(plot=e.other)


@other.compensation
def unmark_other(e: Exchange) -> Unmark:
    return Unmark(plot=e.other)


@exchange.pivot
def sign(e: Exchange, marked: Marked = of(other)) -> Sign:
    return Sign(one=e.one, other=e.other)


@exchange.step
def swap(e: Exchange) -> Swap:
    return Swap(one=e.one, other=e.other)
