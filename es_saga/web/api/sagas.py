"""Looking at sagas: lists, one saga, its history, its audit trail."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from es_saga.projections.queries import Cursor, SagaFilter
from es_saga.web.api.answers import AuditEntry, AuditPage, HistoryEvent, HistoryPage, Saga, SagaLine
from es_saga.web.api.answers import SagaPage as Sagas
from es_saga.web.api.inputs import Limit, Missing, Name, SagaId, Status
from es_saga.web.callers import Here, Reader

router = APIRouter(tags=["sagas"])

Place = Annotated[str, Field(pattern=r"^[0-9.e+-]{1,32}~[A-Za-z0-9_-]{0,64}$")]
"""A place in a list, see `es_saga.projections.listing.Cursor`."""

OptionalName = Annotated[Name | Missing, Query()]
Time = Annotated[
    float | Missing, Query(allow_inf_nan=False, description="Seconds since the epoch.")
]
After = Annotated[int, Query(ge=0, lt=2**31, description="Only events behind this number.")]
EventLimit = Annotated[int, Query(ge=1, le=1_000, description="Events at most.")]


@router.get("/sagas")
async def sagas(
    desk: Here,
    _caller: Reader,
    status: Annotated[list[Status], Query(description="Any of these.", max_length=7)] = [],  # noqa: B006
    type: OptionalName = None,
    business_id: OptionalName = None,
    step: Annotated[
        Name | Missing, Query(description="In progress at this step, or stuck at it.")
    ] = None,
    reason: Annotated[Name | Missing, Query(description="Part of the reason.")] = None,
    search: Annotated[Name | Missing, Query(description="How id or business id begins.")] = None,
    since: Time = None,
    until: Time = None,
    created_since: Time = None,
    created_until: Time = None,
    cursor: Annotated[Place | Missing, Query(description="`next` of the page before.")] = None,
    limit: Limit = 50,
) -> Sagas:
    """Sagas that fit, the most recently changed first.

    A page may have fewer than `limit` sagas and still not be the last: go on while `next` is given.
    """
    wanted = SagaFilter(
        status=tuple(status),
        type=type,
        business_id=business_id,
        step=step,
        reason=reason,
        search=search,
        since=since,
        until=until,
        created_since=created_since,
        created_until=created_until,
    )
    after = Cursor.read(cursor) if cursor is not None else None
    page = await desk.ask(desk.queries.page, wanted, after=after, limit=limit)
    return Sagas(
        items=[SagaLine.model_validate(row) for row in page.rows],
        next=page.next.written() if page.next else None,
        looked_back_to=page.looked_back_to,
    )


@router.get("/sagas/{saga_id}")
async def saga(saga_id: SagaId, desk: Here, _caller: Reader, response: Response) -> Saga:
    """Where one saga stands, what is still to be done, and what is owed.

    Its version is the `ETag`, for `If-Match` of a verb.
    """
    standing = await desk.ask(desk.queries.standing, saga_id)
    response.headers["ETag"] = f'"{standing.saga.version}"'
    return Saga.of(standing)


@router.get("/sagas/{saga_id}/history")
async def history(
    saga_id: SagaId, desk: Here, _caller: Reader, after: After = 0, limit: EventLimit = 200
) -> HistoryPage:
    """Everything that happened to one saga, in order; sensitive values are hidden."""
    rows = await desk.ask(desk.queries.history, saga_id, after=after, limit=limit)
    return HistoryPage(
        saga_id=saga_id,
        items=[HistoryEvent.model_validate(row) for row in rows],
        next=rows[-1].version if len(rows) == limit else None,
    )


@router.get("/sagas/{saga_id}/audit")
async def audit(
    saga_id: SagaId, desk: Here, _caller: Reader, after: After = 0, limit: EventLimit = 200
) -> AuditPage:
    """The audit trail of one saga: who or what led to each event, chained by hashes."""
    rows = await desk.ask(desk.queries.history, saga_id, after=after, limit=limit)
    return AuditPage(
        saga_id=saga_id,
        items=[AuditEntry.model_validate(row) for row in rows],
        next=rows[-1].version if len(rows) == limit else None,
    )
