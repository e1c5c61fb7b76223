"""What participants hold for sagas (laws L74 and L75)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from es_saga.core.events import StepSucceeded
from es_saga.testing.laws.law import law
from es_saga.testing.laws.reading import Reading
from es_saga.testing.laws.system import Overview, SystemFound
from es_saga.testing.laws.tcc import confirms

RELEASE_SECONDS: Final = 60.0
"""How late an expired hold may be released: a participant may have been down when it expired."""


def reservations_seen(seen: Overview) -> object:
    """What participants held was observed."""
    return seen.system.reservations is not None


def totals_seen(seen: Overview) -> object:
    """What must never change was observed."""
    return seen.system.totals is not None


@law("L74", reservations_seen)
def what_has_expired_is_released_and_stays_so(seen: Overview) -> Iterator[SystemFound]:
    """An expired reservation is released and a later confirm is refused (TCC)."""
    readings = {reading.saga_id: reading for reading in seen.readings}
    for kept in seen.system.reservations or ():
        saga_id, _, rest = kept.hold.partition("/")
        if kept.status == "held" and kept.seen_at - kept.expires_at > RELEASE_SECONDS:
            late = f"{kept.seen_at - kept.expires_at:g} s after it expired"
            yield saga_id, None, f"{kept.participant} holds {kept.hold}, {late}"
        elif kept.status == "confirmed" and (kept.settled_at or 0.0) > kept.expires_at:
            late = f"{(kept.settled_at or 0.0) - kept.expires_at:g} s after it expired"
            yield saga_id, None, f"{kept.participant} confirmed {kept.hold}, {late}"
        elif kept.status == "expired" and saga_id in readings:
            index = _confirmed(readings[saga_id], rest.partition("/")[0])
            if index is not None:
                yield saga_id, index, f"{kept.hold} had expired, and was confirmed"


def _confirmed(reading: Reading, hold: str) -> int | None:
    """The event by which a participant said that it had confirmed a hold."""
    for name, confirm in confirms(reading):
        for index, event in confirm.answers:
            if name == hold and isinstance(event, StepSucceeded):
                return index
    return None


@law("L75", totals_seen)
def what_is_reserved_is_neither_made_nor_lost(seen: Overview) -> Iterator[SystemFound]:
    """Reserved + available + consumed is constant throughout (TCC)."""
    for name, (first, *others) in (seen.system.totals or {}).items():
        for other in others:
            if other != first:
                yield "", None, f"{name} was {first} in the beginning, and came to be {other}"
                break
