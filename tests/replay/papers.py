"""Sagas that wait for papers: what comes before, in time, too late, or never."""

from __future__ import annotations

from datetime import timedelta

from es_saga import START, Message, Saga
from tests.core.sagas import Do, Trip, add, do

PATIENCE = timedelta(minutes=1)


class Paper(Message):
    """Comes from outside."""

    page: int = 1


def _mail(trip: Trip, paper: Paper) -> Do:
    return Do(step=f"mail page {paper.page}", who=trip.who)


_mail.__name__ = "mail"

posted: Saga[Trip] = Saga("posted", Trip)
"""`hold`, the pivot `pay`, then a paper that nobody gives up before an operator does; `mail`."""
add(posted, "hold")
posted.pivot(do("pay"))
posted.wait(Paper, timeout=PATIENCE)
posted.step(_mail)

beside: Saga[Trip] = Saga("beside", Trip)
"""A paper beside `hold`."""
beside.wait(Paper, timeout=PATIENCE, after=START)
add(beside, "hold", after=())

optional: Saga[Trip] = Saga("optional", Trip)
"""A paper that it also does without; then `hold`."""
optional.wait(Paper, timeout=PATIENCE, on_timeout="go-on")
add(optional, "hold")
