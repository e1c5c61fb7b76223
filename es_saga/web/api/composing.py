"""One saga beside what participants know."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from es_saga.engine.composition import (
    COMPOSE_SECONDS,
    MAX_COMPOSE_SECONDS,
    MAX_QUESTIONS,
    Question,
    compose,
)
from es_saga.web.api.answers import Answer, Json, Saga
from es_saga.web.api.inputs import Input, Name, SagaId
from es_saga.web.callers import Here, Reader

router = APIRouter(tags=["sagas"])


class Compose(Input):
    """What is wanted beside the saga's status."""

    questions: dict[Name, Question] = Field(
        max_length=MAX_QUESTIONS,
        description="By names of your own.",
        examples=[
            {"level": {"service": "stock", "query": "StockLevel", "data": {"sku": "teapot"}}}
        ],
    )
    within: float = Field(
        default=COMPOSE_SECONDS,
        gt=0,
        le=MAX_COMPOSE_SECONDS,
        description="Seconds that participants have to answer.",
    )


class Told(Answer):
    """What came of one question."""

    service: str = Field(examples=["stock"])
    query: str = Field(examples=["StockLevel"])
    answer: Literal["given", "missing", "failed"] = Field(
        description="missing: nobody was there, or not in time; failed: the participant could not."
    )
    reply: Json | None
    why: str | None


class Composed(BaseModel):
    """A saga, and what participants answered."""

    saga: Saga
    partial: bool = Field(description="A participant did not answer, or failed.")
    answers: dict[str, Told]


@router.post("/sagas/{saga_id}/composition")
async def composition(saga_id: SagaId, body: Compose, desk: Here, _caller: Reader) -> Composed:
    """A saga's status beside what participants answer, by one deadline.

    Whoever does not answer in time is named as missing; the others are told nevertheless.
    """
    found = await compose(
        desk.ask(desk.queries.standing, saga_id),
        await desk.line.questions(),
        body.questions,
        tenant=desk.line.tenant,
        within=body.within,
    )
    return Composed(
        saga=Saga.of(found.saga),
        partial=found.partial,
        answers={name: Told.model_validate(told) for name, told in found.answers.items()},
    )
