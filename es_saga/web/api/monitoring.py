"""How the sagas are doing: counts and durations, alerts, what waits for whom, what went wrong."""

from __future__ import annotations

import time
from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from es_saga.core.messages import Direction
from es_saga.engine.alerts import AlertKind
from es_saga.projections.queries import Cursor
from es_saga.web.api.answers import Answer
from es_saga.web.api.inputs import Limit, Missing, Name, OptionalId
from es_saga.web.api.sagas import Place
from es_saga.web.callers import Here, Reader

MAX_WITHIN_SECONDS: Final = 366 * 86_400.0
"""How far back one may ask."""

router = APIRouter(tags=["monitoring"])

Within = Annotated[float, Query(gt=0, le=MAX_WITHIN_SECONDS, description="Seconds back from now.")]
Type = Annotated[Name | Missing, Query(description="Only sagas of this type.")]
OptionalPlace = Annotated[Place | Missing, Query(description="`next` of the page before.")]


class Durations(Answer):
    """How long something took, in seconds; off by 5 % at most."""

    number: int
    p50: float | None
    p95: float | None


class StepHealth(Answer):
    """One direction of one step."""

    type: str = Field(examples=["order"])
    step: str = Field(examples=["charge"])
    direction: Direction
    sent: int = Field(description="Attempts.")
    succeeded: int
    refused: int
    failed: int
    timed_out: int
    took: Durations


class TypeHealth(Answer):
    """One saga type."""

    type: str = Field(examples=["order"])
    sagas: dict[str, int] = Field(description="By status: open now, and ever closed.")
    counts: dict[str, int] = Field(description="What happened within the time.")
    completed: Durations
    compensated: Durations


class Number(Answer):
    """How many there are, as far as they were counted."""

    number: int
    more: bool = Field(description="There are at least as many.")


class Health(Answer):
    """How the sagas are doing."""

    since: float = Field(description="The minute at which the counts begin.")
    seconds: float
    types: list[TypeHealth]
    steps: list[StepHealth]
    stuck: Number = Field(description="Sagas that have been stuck for longer than the threshold.")
    owed: int = Field(description="Undos that were given up and are still owed.")


class Alert(Answer):
    """Something that needs a human, or did."""

    saga_id: str = Field(examples=["order-7"])
    type: str = Field(examples=["order"])
    kind: AlertKind
    step: str | None
    why: str
    opened: float
    opened_version: int = Field(description="The event that opened it.")
    closed: float | None = Field(description="Null: it is open.")
    closed_version: int | None


class Alerts(BaseModel):
    """Alerts, those opened last first."""

    items: list[Alert]
    next: str | None


class Incident(Answer):
    """Sagas that failed at the same step for the same cause."""

    type: str
    step: str | None
    cause: str = Field(description="The reason without what differs from saga to saga.")
    reason: str = Field(description="The latest one in full.")
    count: int
    open: int
    stuck: int
    first: float
    last: float
    examples: list[str]


class Incidents(BaseModel):
    """Failures grouped by cause, those that changed last first."""

    items: list[Incident]


class PendingWork(Answer):
    """One direction of one step that has no outcome yet."""

    saga_id: str
    type: str
    step: str
    direction: Direction
    in_flight: bool = Field(description="Sent and not answered; else the next attempt waits.")
    attempt: int
    since: float
    due: float | None
    error: str | None


class Pending(BaseModel):
    """What is in flight or waiting, the longest unchanged first."""

    items: list[PendingWork]
    next: str | None


class Handled(Answer):
    """One command of a participant."""

    command: str
    vitals: StepHealth
    open: int = Field(description="Sagas that wait for it now.")


class Participant(Answer):
    """A service, as the sagas know it."""

    service: str = Field(examples=["payments"])
    open: int
    sent: int
    refused: int
    failed: int
    timed_out: int
    commands: list[Handled]


class Participants(BaseModel):
    """Every service that was ever asked for anything."""

    items: list[Participant]


@router.get("/health")
async def health(
    desk: Here,
    _caller: Reader,
    within: Within = 3_600.0,
    stuck_for: Annotated[
        float,
        Query(ge=0, le=MAX_WITHIN_SECONDS, description="Seconds for which a saga may be stuck."),
    ] = 900.0,
) -> Health:
    """Counts by type and status, rates and durations, what is stuck for too long, undos owed."""
    found = await desk.think(desk.queries.vitals, within=within, stuck_for=stuck_for)
    return Health.model_validate(found)


@router.get("/alerts")
async def alerts(
    desk: Here,
    _caller: Reader,
    open: Annotated[bool, Query(description="Only those that are open.")] = True,
    kind: Annotated[AlertKind | Missing, Query(description="Only of this kind.")] = None,
    saga: Annotated[OptionalId, Query(description="Only of this saga.")] = None,
    cursor: OptionalPlace = None,
    limit: Limit = 50,
) -> Alerts:
    """What needs a human: sagas that are stuck, idle or late, and undos that are owed."""
    after = Cursor.read(cursor) if cursor is not None else None
    page = await desk.ask(
        desk.queries.alerts, open_only=open, kind=kind, saga_id=saga, after=after, limit=limit
    )
    return Alerts(
        items=[Alert.model_validate(row) for row in page.rows],
        next=page.next.written() if page.next else None,
    )


@router.get("/incidents")
async def incidents(
    desk: Here, _caller: Reader, within: Within = 86_400.0, type: Type = None
) -> Incidents:
    """Failures of sagas that changed within the time, grouped by cause."""
    since = time.time() - within
    found = await desk.think(desk.queries.incidents, since=since, saga_type=type)
    return Incidents(items=[Incident.model_validate(row) for row in found.rows])


@router.get("/pending")
async def pending(
    desk: Here,
    _caller: Reader,
    type: Type = None,
    step: Annotated[Name | Missing, Query(description="Only at this step.")] = None,
    cursor: OptionalPlace = None,
    limit: Limit = 50,
) -> Pending:
    """What is in flight or waiting, of the sagas first that have not changed for longest."""
    after = Cursor.read(cursor) if cursor is not None else None
    page = await desk.ask(desk.queries.pending, saga_type=type, step=step, after=after, limit=limit)
    return Pending(
        items=[PendingWork.model_validate(row) for row in page.rows],
        next=page.next.written() if page.next else None,
    )


@router.get("/participants")
async def participants(desk: Here, _caller: Reader, within: Within = 3_600.0) -> Participants:
    """Every service that was ever asked for anything, and how it did within the time."""
    found = await desk.think(desk.queries.participants, within=within)
    return Participants(items=[Participant.model_validate(one) for one in found])
