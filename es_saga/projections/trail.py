"""The audit trail as it is read: every event of a saga with its payload, sensitive values hidden.

What is read is checked, each event against the chain that was made when it was written.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from es_saga.core.errors import CorruptHistory, InvalidInput
from es_saga.core.messages import PARTS, Direction, as_written
from es_saga.core.nested import is_for_saga
from es_saga.core.sensitive import SensitiveFields
from es_saga.projections.audit import AUDIT
from es_saga.projections.chain import GENESIS, Damage, Kept, Stored, first_damage
from es_saga.projections.definitions import DEFINITIONS
from es_saga.projections.listing import MAX_PAGE
from es_saga.projections.status import STATUS
from es_saga.projections.waiting import unanswered

EVENTS: Final = sa.table(
    "es_events",
    sa.column("part", sa.Integer),
    sa.column("position", sa.BigInteger),
    sa.column("originator_id", sa.Text),
    sa.column("originator_version", sa.Integer),
    sa.column("topic", sa.Text),
    sa.column("state", sa.LargeBinary),
)
_TRACKING: Final = sa.table(
    "es_tracking",
    sa.column("name", sa.Text),
    sa.column("part", sa.Integer),
    sa.column("position", sa.BigInteger),
)
_SAME_EVENT: Final = sa.and_(
    EVENTS.c.originator_id == AUDIT.c.saga_id, EVENTS.c.originator_version == AUDIT.c.version
)
_SENDING: Final = {Direction.DO: "StepStarted", Direction.UNDO: "CompensationIssued"}
_SETTLING: Final = ("OperatorSkipped", "OperatorResolved")


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One event as the audit trail has it."""

    saga_id: str
    version: int
    kind: str
    step: str | None
    at: float
    """Seconds since the epoch."""
    cause: str | None
    actor: str | None
    payload: dict[str, Any]
    trace: str | None = None
    """W3C traceparent of the saga's start."""
    hash: str = ""
    """Of this event and of everything before it, see `es_saga.projections.chain`."""


def rows(connection: sa.Connection, saga_id: str, after: int, limit: int) -> list[AuditRow]:
    """The trail of one saga from the event after number `after`.

    Raises:
        InvalidInput: a limit out of range.
        CorruptHistory: the log and the trail do not fit.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidInput(f"A page has 1 to {MAX_PAGE} rows, not {limit}.")
    stretch = stretches(connection, [saga_id], after=after, limit=limit).get(saga_id)
    if stretch is None:
        return []
    damage = stretch.damage(saga_id)
    if damage is not None:
        raise CorruptHistory(
            f"{damage}.",
            hint="Do not repair it by hand: restore it from a backup. `es-saga audit verify` "
            "finds what else is damaged.",
        )
    hidden = _hidden(connection, saga_id)
    return [
        _row(saga_id, kept, event, hidden)
        for kept, event in zip(stretch.trail, stretch.events, strict=True)
    ]


class Stretch(NamedTuple):
    """Some events of a saga, and what the trail says of them."""

    events: Sequence[Stored]
    trail: Sequence[Kept]
    before: Kept | None
    """The row before the first; None at the beginning."""
    after: int
    """The number of the event before the first."""

    def damage(self, saga_id: str) -> Damage | None:
        """The first event that is not right."""
        return first_damage(
            saga_id,
            self.events,
            self.trail,
            after=self.after,
            previous=self.before.hash if self.before else GENESIS,
            trace=self.before.trace if self.before else None,
        )


def stretches(
    connection: sa.Connection, saga_ids: Sequence[str], *, after: int, limit: int
) -> dict[str, Stretch]:
    """The next events of sagas and their rows, as they were at one moment; up to `limit` of each.

    Events that the trail has not come to yet are left out.
    """
    known = _checkpoints(connection)  # first: it must not be newer than the events
    stored: dict[str, list[Stored]] = {}
    kept: dict[str, list[Kept]] = {}
    for row in connection.execute(_both(saga_ids, after, limit)):
        columns: tuple[Any, ...] = tuple(row)
        saga_id, of_trail, version, part, position, topic, payload, *more = columns
        if of_trail:
            kept.setdefault(saga_id, []).append(Kept(version, part, position, topic, *more))
        else:
            # SQLite stores text in a column of bytes, if somebody writes it there.
            state = payload if isinstance(payload, bytes) else str(payload).encode()
            event = Stored(version, part, position, topic, state)
            stored.setdefault(saga_id, []).append(event)
    found: dict[str, Stretch] = {}
    for saga_id in stored.keys() | kept.keys():
        own = sorted(kept.get(saga_id, ()))
        before = own.pop(0) if after and own and own[0].version == after else None
        events = sorted(stored.get(saga_id, ()), key=lambda event: event.version)
        last = own[-1].version if own else after
        events = [e for e in events if e.version <= last or e.position <= known.get(e.part, 0)]
        if events or own:
            found[saga_id] = Stretch(events[:limit], own[:limit], before, after)
    return found


def _both(saga_ids: Iterable[str], after: int, limit: int) -> sa.CompoundSelect[Any]:
    """Events and rows of the trail in one statement, and so in one snapshot."""
    ids, nothing = list(saga_ids), sa.null()
    events = sa.select(
        EVENTS.c.originator_id,
        sa.literal(0),
        EVENTS.c.originator_version,
        EVENTS.c.part,
        EVENTS.c.position,
        EVENTS.c.topic,
        EVENTS.c.state,
        sa.cast(nothing, sa.Text),
        sa.cast(nothing, sa.Double),
        *[sa.cast(nothing, sa.Text)] * 4,
    ).where(
        EVENTS.c.originator_id.in_(ids),
        EVENTS.c.originator_version > after,
        EVENTS.c.originator_version <= after + limit,
    )
    trail = sa.select(
        AUDIT.c.saga_id,
        sa.literal(1),
        AUDIT.c.version,
        AUDIT.c.part,
        AUDIT.c.position,
        AUDIT.c.kind,
        sa.cast(nothing, sa.LargeBinary),
        AUDIT.c.step,
        AUDIT.c.at,
        AUDIT.c.cause,
        AUDIT.c.actor,
        AUDIT.c.trace,
        AUDIT.c.hash,
    ).where(AUDIT.c.saga_id.in_(ids), AUDIT.c.version >= after, AUDIT.c.version <= after + limit)
    return sa.union_all(events, trail)


def _checkpoints(connection: sa.Connection) -> dict[int, int]:
    """How far the trail has come in each part of the log."""
    query = sa.select(_TRACKING.c.part, _TRACKING.c.position).where(_TRACKING.c.name == "audit")
    return {row.part: row.position for row in connection.execute(query.limit(PARTS))}


def settled_by(connection: sa.Connection, saga_id: str) -> Mapping[str, str]:
    """Of each step whose undo somebody settled by hand: who did."""
    query = (
        sa.select(AUDIT.c.kind, AUDIT.c.step, AUDIT.c.actor, EVENTS.c.state)
        .join(EVENTS, _SAME_EVENT)
        .where(AUDIT.c.saga_id == saga_id, AUDIT.c.kind.in_(_SETTLING))
        .order_by(AUDIT.c.version)
    )
    return {
        step: actor
        for kind, step, actor, state in connection.execute(query)
        if kind == "OperatorSkipped" or json.loads(state).get("direction") == Direction.UNDO
    }


def asked(connection: sa.Connection, saga_id: str, steps: Mapping[str, Any]) -> dict[str, str]:
    """Of each step, as it was written, that a service has not answered: which one was asked.

    Args:
        steps: of the saga, as its status row has them.
    """
    one_each = {as_written(name): (name, direction) for name, direction, _ in unanswered(steps)}
    query = (
        sa.select(EVENTS.c.state)
        .join(AUDIT, _SAME_EVENT)
        .where(AUDIT.c.saga_id == saga_id)
        .order_by(AUDIT.c.version.desc())
        .limit(1)
    )
    found: dict[str, str] = {}
    for step, (name, direction) in one_each.items():
        of_it = query.where(AUDIT.c.kind == _SENDING[direction], AUDIT.c.step == name)
        sent = json.loads(connection.execute(of_it).scalar() or "{}")
        if sent.get("to") and not sent.get("expected") and not is_for_saga(sent["to"]):
            found[step] = sent["to"]
    return found


def fanned_out(
    connection: sa.Connection, saga_ids: Sequence[str]
) -> Mapping[str, Mapping[str, int]]:
    """Of each saga: the steps over a list that it ever began, and how many items those had."""
    query = (
        sa.select(AUDIT.c.saga_id, AUDIT.c.step, EVENTS.c.state)
        .join(EVENTS, _SAME_EVENT)
        .where(AUDIT.c.saga_id.in_(saga_ids), AUDIT.c.kind == "StepFannedOut")
    )
    found: dict[str, dict[str, int]] = {}
    for saga_id, step, state in connection.execute(query):
        found.setdefault(saga_id, {})[step] = json.loads(state)["count"]
    return found


def _hidden(connection: sa.Connection, saga_id: str) -> SensitiveFields:
    same = sa.and_(
        DEFINITIONS.c.type == STATUS.c.type, DEFINITIONS.c.version == STATUS.c.definition
    )
    query = sa.select(DEFINITIONS.c.sensitive).join(STATUS, same)
    found = connection.execute(query.where(STATUS.c.saga_id == saga_id)).scalar()
    return SensitiveFields(json.loads(found or "{}"))


def _row(saga_id: str, kept: Kept, event: Stored, hidden: SensitiveFields) -> AuditRow:
    return AuditRow(
        saga_id=saga_id,
        version=kept.version,
        kind=kept.kind,
        step=kept.step,
        at=kept.at,
        cause=kept.cause,
        actor=kept.actor,
        payload=hidden.changed(kept.kind, json.loads(event.payload)),
        trace=kept.trace,
        hash=kept.hash,
    )
