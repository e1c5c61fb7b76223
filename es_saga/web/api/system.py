"""How the system is: its read models, and whether it is there at all."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from es_saga.web.api.answers import Answer
from es_saga.web.callers import Here, Reader

router = APIRouter(tags=["system"])


class Part(Answer):
    """How far a read model has come in one part of the log."""

    part: int
    position: int
    head: int


class Projection(Answer):
    """A read model: how far it is, and why it stands still if it does."""

    name: str = Field(examples=["status"])
    in_step: bool = Field(description="Written together with the log; else it follows behind.")
    position: int = Field(description="Events that it has taken in.")
    head: int = Field(description="Events there are.")
    behind: int
    seconds_behind: float
    error: str | None = Field(description="Why it stands still.")
    error_part: int | None
    error_position: int | None = Field(description="Of the event that it cannot take in.")
    failures: int
    error_at: float | None
    parts: list[Part]


class Projections(BaseModel):
    """Every read model."""

    items: list[Projection]


class Ready(BaseModel):
    """Whether questions can be answered."""

    status: str = Field(examples=["ready"])


@router.get("/projections")
async def projections(desk: Here, _caller: Reader) -> Projections:
    """How far each read model has come in the log, and why it stands still if it does."""
    found = await desk.ask(desk.progresses.of, list(desk.views))
    fields = (name for name in Projection.model_fields if name != "in_step")
    names = tuple(fields)
    return Projections(
        items=[
            Projection.model_validate(
                {name: getattr(one, name) for name in names} | {"in_step": desk.views[one.name]}
            )
            for one in found
        ]
    )


@router.get("/ready")
async def ready(desk: Here) -> Ready:
    """Whether the database answers; needs no token, and tells nothing more."""
    await desk.ask(desk.feed.news.end)
    return Ready(status="ready")


@router.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request, _caller: Reader) -> dict[str, Any]:
    """The OpenAPI document."""
    found: dict[str, Any] = request.app.openapi()
    return found
