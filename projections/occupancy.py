"""Occupancy: how many seats, rooms and cars the agency's trips hold, place by place.

    SELECT place, held, sold FROM occupancy WHERE kind = 'room' ORDER BY held + sold DESC

A place is held from when it is booked until the trip is through, and then sold; if the trip is
called off, it is released. Sagas side by side change the same row, and so it is only added to.
"""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from domain.travel import stay, trip
from es_saga import Add, Change, Recorded, SagaState, events, projection
from projections.deeds import deed, was_done

KINDS = {"flight": ("seat", "flight"), "room": ("room", "hotel"), "car": ("car", "car")}
"""By step: what it books, and the field of the trip that says where."""

occupancy = sa.Table(
    "occupancy",
    sa.MetaData(),
    sa.Column("kind", sa.Text, primary_key=True, comment="seat, room or car."),
    sa.Column("place", sa.Text, primary_key=True, comment="Flight, hotel, or class of car."),
    sa.Column(
        "held",
        sa.BigInteger,
        nullable=False,
        server_default="0",
        comment="Booked for trips that are not through yet, or whose cancelling is still owed.",
    ),
    sa.Column(
        "sold",
        sa.BigInteger,
        nullable=False,
        server_default="0",
        comment="Booked for trips that are through.",
    ),
    sa.Column(
        "released",
        sa.BigInteger,
        nullable=False,
        server_default="0",
        comment="Cancelled again, ever.",
    ),
    comment="What trips hold, one row for each place; a view of the saga log.",
)


@projection(occupancy, of=[trip, stay])
def places(recorded: Recorded, saga: SagaState) -> Iterator[Change]:
    """A booking, its end, or the sale of all that a trip holds."""
    if isinstance(recorded.event, events.SagaCompleted):
        for step in KINDS:
            if was_done(saga, step):
                yield Add(**_place(saga, step), held=-1, sold=1)
        return
    found = deed(recorded, saga)
    if found is None or found.step not in KINDS:
        return
    if found.undone:
        yield Add(**_place(saga, found.step), held=-1, released=1)
    else:
        yield Add(**_place(saga, found.step), held=1)


def _place(saga: SagaState, step: str) -> dict[str, str]:
    kind, field = KINDS[step]
    return {"kind": kind, "place": saga.origin.data[field]}
