"""The hash chain of an audit trail: each event's hash covers the one before it.

    hash = SHA-256(hash before, saga id, version, topic, payload as stored), in hexadecimal

Each saga has a chain of its own, made while its events are written. What was changed afterwards,
in the log or in the trail, does not fit any more, and the first event that does not is named. Who
changes both, and computes every later hash anew, is not found by this alone: keep the last hashes
elsewhere where that matters.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final, NamedTuple

from es_saga.core.events import EVENTS

GENESIS: Final = ""
"""The hash before a saga's first event."""


def link(previous: str, saga_id: str, version: int, topic: str, payload: bytes) -> str:
    """The hash of an event, given the hash of the event before it.

    >>> link(GENESIS, "order-1", 1, "SagaStarted", b"{}")[:16]
    '245bb7bd5638c9f0'
    """
    # Only the payload may hold a line's end, and it comes last: no two events read alike.
    about = f"{previous}\n{saga_id}\n{version}\n{topic}\n".encode()
    return sha256(about + payload).hexdigest()


class Stored(NamedTuple):
    """An event as the log has it."""

    version: int
    part: int
    position: int
    topic: str
    payload: bytes


class Kept(NamedTuple):
    """What the trail says of an event."""

    version: int
    part: int
    position: int
    kind: str
    step: str | None
    at: float
    cause: str | None
    actor: str | None
    trace: str | None
    hash: str


class Wrong(StrEnum):
    """What can be wrong with an event."""

    EDITED = "edited"
    """It is not what it was when the trail was written."""
    MISSING = "missing"
    """It is gone from the log."""
    INSERTED = "inserted"
    """It was added later: the trail knows nothing of it."""
    REORDERED = "reordered"
    """Another event of the same saga stands in its place."""
    TRAIL_CHANGED = "trail changed"
    """The event is as it was, but its row in the trail is not, or is gone."""


@dataclass(frozen=True, slots=True)
class Damage:
    """The first bad event of a saga."""

    saga_id: str
    version: int
    wrong: Wrong
    detail: str

    def __str__(self) -> str:
        return f"saga {self.saga_id!r}, event {self.version}: {self.wrong}: {self.detail}"


def first_damage(
    saga_id: str,
    events: Sequence[Stored],
    trail: Sequence[Kept],
    *,
    after: int = 0,
    previous: str = GENESIS,
    trace: str | None = None,
) -> Damage | None:
    """Compare a saga's events, or a stretch of them, with its trail; None: they fit.

    Both in order of their versions. An event that was moved is told from one that was edited as
    far as the rest of the stretch allows.

    Args:
        after: the number of the event before the first.
        previous: the hash of that event.
        trace: the saga's; where the stretch begins with its first event, that says it.
    """
    walk = _Walk(saga_id, events, trail)
    version = after
    for event, kept in _pairs(events, trail):
        version += 1
        damage = walk.missing(version, event, kept)
        if damage is None:
            assert event is not None, "or it would be missing"
            assert kept is not None, "or it would be missing"
            damage = walk.changed(event, kept, previous)
            if damage is None:
                data = _fields(event)
                trace = data.get("trace") if version == 1 else trace
                damage = _told_wrong(saga_id, event, kept, data, trace)
            previous = kept.hash
        if damage is not None:
            return damage
    return None


def _pairs(
    events: Sequence[Stored], trail: Sequence[Kept]
) -> Iterable[tuple[Stored | None, Kept | None]]:
    """Events and rows of the same version; None where there is only one of them."""
    stored = {event.version: event for event in events}
    kept = {row.version: row for row in trail}
    for version in sorted(stored.keys() | kept.keys()):
        yield stored.get(version), kept.get(version)


class _Walk:
    """One saga, as far as it takes to say what is wrong with an event of it."""

    def __init__(self, saga_id: str, events: Sequence[Stored], trail: Sequence[Kept]) -> None:
        self._saga_id = saga_id
        self._events = events
        self._trail = trail

    def missing(self, version: int, event: Stored | None, kept: Kept | None) -> Damage | None:
        there = event or kept
        assert there is not None, "one of them made the pair"
        if there.version != version:
            return self._damage(version, Wrong.MISSING, "neither the log nor the trail has it")
        if event is None:
            return self._damage(version, Wrong.MISSING, "the trail has it, the log does not")
        if kept is not None:
            return None
        if any(row.version > version for row in self._trail):
            return self._damage(version, Wrong.TRAIL_CHANGED, "its row is gone from the trail")
        return self._damage(version, Wrong.INSERTED, "the trail does not know it")

    def changed(self, event: Stored, kept: Kept, previous: str) -> Damage | None:
        """Whether an event is not the one that was hashed, and what became of it."""
        version = event.version
        found = self._link(previous, version, event)
        if found == kept.hash:
            return None
        if any(
            self._link(previous, version, other) == kept.hash
            for other in self._events
            if other.version != version
        ):
            if len(self._events) > len(self._trail):
                what = "the events from here on were moved to make room for it"
                return self._damage(version, Wrong.INSERTED, what)
            return self._damage(version, Wrong.REORDERED, "its place was taken by another event")
        following = [other for other in self._events if other.version == version + 1]
        later = [row for row in self._trail if row.version == version + 1]
        if following and later:
            built_on = {
                self._link(base, version + 1, following[0]): base for base in (found, kept.hash)
            }.get(later[0].hash)
            if built_on == found:
                what = "its hash in the trail was changed"
                return self._damage(version, Wrong.TRAIL_CHANGED, what)
        if len(self._events) < len(self._trail):
            what = "it was removed, and those behind it moved up"
            return self._damage(version, Wrong.MISSING, what)
        return self._damage(version, Wrong.EDITED, "it does not have the hash it had")

    def _link(self, previous: str, version: int, event: Stored) -> str:
        return link(previous, self._saga_id, version, event.topic, event.payload)

    def _damage(self, version: int, wrong: Wrong, detail: str) -> Damage:
        return Damage(self._saga_id, version, wrong, detail)


def _fields(event: Stored) -> Mapping[str, Any]:
    """The JSON of an event; nothing where it is none, which the hash does not rule out."""
    try:
        found = json.loads(event.payload)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}  # pyright: ignore[reportUnknownVariableType]


def _told_wrong(
    saga_id: str, event: Stored, kept: Kept, data: Mapping[str, Any], trace: str | None
) -> Damage | None:
    """What the trail says of an event that is right, against what the event says."""
    told: list[tuple[str, object, object]] = [
        ("part", kept.part, event.part),
        ("position", kept.position, event.position),
        ("trace", kept.trace, trace),
    ]
    if event.topic in EVENTS:  # an older one was lifted before the trail was written
        told.append(("kind", kept.kind, event.topic))
        told += [
            (name, getattr(kept, name), data.get(name)) for name in ("step", "at", "cause", "actor")
        ]
    for name, said, right in told:
        if said != right:
            what = f"its row says {name} {said!r}, the event {right!r}"
            return Damage(saga_id, event.version, Wrong.TRAIL_CHANGED, what)
    return None
