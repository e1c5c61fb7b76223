"""Looking at sagas."""

from __future__ import annotations

from fastapi import APIRouter, Response

from es_saga.web.api.answers import Saga
from es_saga.web.api.inputs import SagaId
from es_saga.web.callers import Here, Reader

router = APIRouter(tags=["sagas"])


@router.get("/sagas/{saga_id}")
async def saga(saga_id: SagaId, desk: Here, _caller: Reader, response: Response) -> Saga:
    """Where one saga stands. Its version is the `ETag`, for `If-Match` of a verb."""
    found = Saga.of(await desk.ask(desk.queries.status, saga_id))
    response.headers["ETag"] = f'"{found.version}"'
    return found
