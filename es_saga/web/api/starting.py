"""Starting a saga, and learning how it ended."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from es_saga.core.errors import InvalidInput
from es_saga.engine.requests import id_for
from es_saga.projections.ending import Ending, ending
from es_saga.projections.ending import outcome as outcome_of
from es_saga.projections.queries import SagaRow
from es_saga.web import faults
from es_saga.web.api.answers import Outcome, Started
from es_saga.web.api.errors import error
from es_saga.web.api.inputs import (
    API,
    ID_PATTERN,
    MAX_NAME_CHARS,
    Input,
    Missing,
    Payload,
    SagaId,
)
from es_saga.web.callers import Here, Operator, Reader
from es_saga.web.desk import Desk
from es_saga.web.faults import Fault

MAX_WAIT_SECONDS: Final = 60.0
"""How long one request may wait for a saga's end; ask again after that."""

router = APIRouter(tags=["sagas"])


class StartSaga(Input):
    """A saga to be started."""

    type: str = Field(min_length=1, max_length=MAX_NAME_CHARS, examples=["order"])
    data: Payload = Field(
        description="Its input.",
        examples=[
            {
                "order_id": "7",
                "customer": "ada",
                "sku": "teapot",
                "pence": 1999,
                "card": "visa",
                "town": "Leeds",
            }
        ],
    )
    key: str | None = Field(
        default=None,
        pattern=ID_PATTERN,
        description="Business key: one key is one saga. `Idempotency-Key` says the same.",
        examples=["7"],
    )


class Ended(Fault):
    """Why a saga did not complete, and how it ended."""

    outcome: Outcome


class Unsuccessful(BaseModel):
    """The body for a saga that did not complete."""

    error: Ended


@router.post(
    "/sagas",
    status_code=201,
    response_model=Started,
    responses={
        200: {"model": Started, "description": "The same was asked for before."},
        409: error(409, "The key was used with another input."),
    },
)
async def start_saga(
    body: StartSaga,
    desk: Here,
    _caller: Operator,
    idempotency_key: Annotated[
        Annotated[str, Field(pattern=r'^"?[A-Za-z0-9_-]{1,64}"?$')] | Missing,
        Header(
            description="The key, where it does not stand in the body.",
            examples=["7"],
        ),
    ] = None,
) -> Response:
    """Start a saga; asked again under the same key, it is the same one.

    With a key the request can be repeated without harm: after a 503, or when no answer came.
    """
    key = _key(body.key, idempotency_key)
    id_for(body.type, key)  # refused here rather than after a connection
    client = await desk.client()
    answer = await client.start(body.type, body.data, key=key)
    if answer.code is not None:
        return faults.answer_of(answer)
    started = Started.model_validate({**answer.result(), "created": answer.created})
    return JSONResponse(
        started.model_dump(mode="json"),
        201 if answer.created else 200,
        {"Location": f"{API}/sagas/{started.saga_id}"},
    )


def _key(in_body: str | None, in_header: str | None) -> str | None:
    if in_header is None:
        return in_body
    key = in_header.strip('"')  # as a structured field, or bare
    if in_body not in (None, key):
        raise InvalidInput("The body's key and the Idempotency-Key differ.", hint="Send one.")
    return key


@router.get(
    "/sagas/{saga_id}/outcome",
    responses={
        200: {"model": Outcome, "description": "It completed."},
        202: {"model": Outcome, "description": "It is not over yet: ask again."},
        409: {"model": Unsuccessful, "description": "It was refused, or cancelled, and undone."},
        500: {"model": Unsuccessful, "description": "It failed: by an error, or it is stuck."},
    },
    response_model=Outcome,
)
async def outcome(
    saga_id: SagaId,
    desk: Here,
    _caller: Reader,
    timeout: Annotated[
        float,
        Query(ge=0, le=MAX_WAIT_SECONDS, description="Seconds to wait for its end."),
    ] = 30.0,
) -> Response:
    """How a saga ended; if it has not, wait for its end.

    200 it completed; 409 a participant refused, or somebody cancelled it, and it was undone; 500 it
    was undone because of an error, still owes an undo, or is stuck and needs a human; 202 not yet.
    """
    row = await _ended(desk, saga_id, timeout)
    found = outcome_of(row)
    shown: dict[str, Any] = Outcome.model_validate(found).model_dump(mode="json")
    if found.ending is Ending.COMPLETED:
        return JSONResponse(shown)
    if found.ending is Ending.PENDING:
        return JSONResponse(shown, found.code, {"Retry-After": str(faults.RETRY_SECONDS)})
    return faults.answer(found.code, _why(row, found.ending), outcome=shown)


def _why(row: SagaRow, ended: Ending) -> Fault:
    where = f" at {row.reason_step}" if row.reason_step else ""
    why = f": {row.reason}{where}" if row.reason else ""
    stuck = row.status == "stuck"
    return Fault(
        code="stuck" if stuck else ended.value,
        message=f"Saga {row.saga_id} is {row.status}{why}.",
        hint="It needs a human." if stuck else "",
    )


async def _ended(desk: Desk, saga_id: str, timeout: float) -> SagaRow:
    """The saga once it has ended, or as it is after `timeout` seconds, or when we stop."""
    row = await desk.ask(desk.queries.status, saga_id)
    if ending(row) is not Ending.PENDING or not timeout:
        return row
    end = asyncio.get_running_loop().time() + timeout
    async with desk.feed.watching(saga_id) as changed:
        while True:
            changed.clear()
            row = await desk.ask(desk.queries.status, saga_id)
            left = end - asyncio.get_running_loop().time()
            if ending(row) is not Ending.PENDING or left <= 0 or desk.feed.closed:
                return row
            try:
                async with asyncio.timeout(left):
                    await changed.wait()
            except TimeoutError:
                pass
