"""Telling a saga what it waits for."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from es_saga.web import faults
from es_saga.web.api.answers import Summary
from es_saga.web.api.errors import error
from es_saga.web.api.inputs import MAX_NAME_CHARS, Input, Payload, SagaId
from es_saga.web.callers import Here, Operator

router = APIRouter(tags=["sagas"])


class SignalSaga(Input):
    """A message from outside."""

    type: str = Field(min_length=1, max_length=MAX_NAME_CHARS, examples=["Approval"])
    data: Payload = Field(description="Its content.", examples=[{"by": "ada"}])


@router.post(
    "/sagas/{saga_id}/signals",
    responses={409: error(409, "The saga is closed, or being undone: it waits for nothing.")},
    response_model=Summary,
)
async def signal_saga(saga_id: SagaId, body: SignalSaga, desk: Here, _caller: Operator) -> Response:
    """Tell a saga what it waits for, or will wait for; the same type twice counts once."""
    client = await desk.client()
    answer = await client.signal(saga_id, body.type, body.data)
    if answer.code is not None:
        return faults.answer_of(answer)
    return JSONResponse(Summary.model_validate(answer.result()).model_dump(mode="json"))
