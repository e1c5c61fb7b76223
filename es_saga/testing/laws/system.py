"""Laws that take more than one saga, or what was kept and told of them, to see."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from es_saga.testing.laws.law import Law, law
from es_saga.testing.laws.reading import Reading
from es_saga.testing.story import System

SystemFound = tuple[str, int | None, str]
"""Saga id (empty: no single one), index of an event or None, and why."""


class Overview(NamedTuple):
    """A system, and each of its stories read."""

    system: System
    readings: Sequence[Reading]
    """In the order of the stories."""

    def children(self, reading: Reading) -> Iterator[Reading]:
        """The sagas that one runs."""
        for other in self.readings:
            if other.parent is not None and other.parent.saga_id == reading.saga_id:
                yield other


SystemLaw = Law[Overview, SystemFound]


def log_seen(seen: Overview) -> object:
    """The log was observed."""
    return seen.system.log is not None


def alerts_seen(seen: Overview) -> object:
    """The monitor's alerts were observed."""
    return seen.system.alerts is not None


def rebuild_seen(seen: Overview) -> object:
    """Messages during a rebuild were observed."""
    return seen.system.rebuilding is not None


def views_seen(seen: Overview) -> object:
    """The audit trail, or a view and its rebuilt copy, were observed."""
    return seen.system.audit is not None or None not in (seen.system.status, seen.system.rebuilt)


def settled(seen: Overview) -> object:
    """The faults are over, and time enough has passed."""
    return seen.system.settled


def poisoned(seen: Overview) -> object:
    """Some saga was sent what nobody can read."""
    return seen.system.poisoned


@law("L33", alerts_seen)
def each_stuck_saga_has_one_alert(seen: Overview) -> Iterator[SystemFound]:
    """Each needs-human state opens exactly one alert and its resolution closes it (R040, R082)."""
    told: dict[str, list[bool]] = defaultdict(list)
    for alert in seen.system.alerts or ():
        if alert.kind == "stuck":
            told[alert.saga_id].append(alert.opened)
    for reading in seen.readings:
        opened, stuck = told[reading.saga_id], reading.stuck_before(reading.length)
        if opened != [number % 2 == 0 for number in range(len(opened))]:
            yield reading.saga_id, None, "an alert was opened or closed twice"
        elif opened.count(True) > len(reading.stuck):
            times = f"{opened.count(True)} alerts for {len(reading.stuck)} times"
            yield reading.saga_id, None, f"{times} that it was stuck"
        elif (bool(opened) and opened[-1]) != stuck or (reading.stuck and not opened):
            state = "is stuck" if stuck else "is not stuck"
            last = "none" if not opened else "open" if opened[-1] else "closed"
            yield reading.saga_id, None, f"it {state}, and its last alert is {last}"


@law("L39", rebuild_seen)
def rebuilding_sends_nothing(seen: Overview) -> Iterator[SystemFound]:
    """Rebuilding issues no command, timer or message (ES)."""
    for envelope in seen.system.rebuilding or ():
        yield envelope.sagaid or "", None, f"{envelope.id} was published by a rebuild"


@law("L47", log_seen)
def versions_have_neither_gap_nor_twin(seen: Overview) -> Iterator[SystemFound]:
    """Two reactions on one saga never both commit one version, and versions have no gap (R059).

    The same holds for the positions of a part.
    """
    versions: Counter[str] = Counter()
    positions: Counter[int] = Counter()
    events: dict[str, list[object]] = defaultdict(list)
    for row in seen.system.log or ():
        versions[row.saga_id] += 1
        positions[row.part] += 1
        events[row.saga_id].append(row.event)
        if row.version != versions[row.saga_id]:
            found = f"version {row.version} where {versions[row.saga_id]} was expected"
            yield row.saga_id, row.version - 1, found
        if row.position != positions[row.part]:
            found = f"position {row.position} where {positions[row.part]} was expected"
            yield row.saga_id, row.version - 1, f"part {row.part} has {found}"
    for story in seen.system.stories:
        if events[story.saga_id] != list(story.history):
            yield story.saga_id, None, "its history is not what was committed"


@law("L50", poisoned, settled)
def poison_stops_no_other_saga(seen: Overview) -> Iterator[SystemFound]:
    """A poison instance does not stop any other, and no event queued behind it is lost (ES)."""
    for reading in seen.readings:
        if reading.saga_id not in seen.system.poisoned and _unfinished(seen, reading):
            who = ", ".join(sorted(seen.system.poisoned))
            yield reading.saga_id, None, f"it did not come to its end; poisoned was {who}"


def _unfinished(seen: Overview, reading: Reading) -> bool:
    """Neither closed nor waiting for a human, its own or that of a saga which it runs.

    A child that is held waits as long as its parent does.
    """
    end = reading.length
    rests = reading.stuck_before(end) or reading.held_before(end) or _stuck_below(seen, reading)
    return reading.closed is None and not rests


def _stuck_below(seen: Overview, reading: Reading) -> bool:
    """Whether it waits for a saga that waits for a human."""
    met, waiting = {reading.saga_id}, [reading]
    while waiting:
        for child in seen.children(waiting.pop()):
            if child.closed is not None or child.saga_id in met:
                continue
            if child.stuck_before(child.length):
                return True
            met.add(child.saga_id)  # nonsense may have a saga run itself
            waiting.append(child)
    return False


@law("L53", settled)
def every_saga_closes_or_is_visibly_stuck(seen: Overview) -> Iterator[SystemFound]:
    """Under fair participants and finitely many faults every saga closes, or is seen stuck."""
    for reading in seen.readings:
        if _unfinished(seen, reading):
            yield reading.saga_id, None, "it is neither closed nor stuck"
        elif reading.stuck_before(reading.length) and seen.system.status is not None:
            shown = seen.system.status.get(reading.saga_id, {}).get("status", "missing")
            if shown != "stuck":
                yield reading.saga_id, None, f"it is stuck, and its status is shown as {shown}"


@law("L54", views_seen)
def views_tell_what_the_log_tells(seen: Overview) -> Iterator[SystemFound]:
    """A view rebuilt from zero equals the live one, and the audit has one row per event (R077)."""
    if seen.system.status is not None and seen.system.rebuilt is not None:
        for saga_id in sorted({*seen.system.status, *seen.system.rebuilt}):
            live, rebuilt = seen.system.status.get(saga_id), seen.system.rebuilt.get(saga_id)
            if live != rebuilt:
                yield saga_id, None, f"its row is {live}, and rebuilt it is {rebuilt}"
    if seen.system.audit is not None:
        rows = Counter(seen.system.audit)
        of_saga = Counter(saga_id for saga_id, _, _ in seen.system.audit)
        for story in seen.system.stories:
            for index, event in enumerate(story.history):
                times = rows[story.saga_id, index + 1, type(event).__name__]
                if times != 1:
                    yield story.saga_id, index, f"the audit has {times} rows of this event"
            if of_saga[story.saga_id] > len(story.history):
                yield story.saga_id, None, f"the audit has {of_saga[story.saga_id]} rows of it"
