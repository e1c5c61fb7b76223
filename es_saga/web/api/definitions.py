"""The saga types that the log knows, with and without their code."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from es_saga.projections.definitions import DefinitionRow
from es_saga.web.api.answers import Json
from es_saga.web.api.inputs import Name
from es_saga.web.callers import Here, Reader
from es_saga.web.desk import Desk

router = APIRouter(tags=["definitions"])

TypeName = Annotated[Name, Path(examples=["order"], description="A saga type.")]
TypeVersion = Annotated[
    int, Path(ge=1, lt=2**31, examples=[1], description="A version of its definition.")
]


class StepShape(BaseModel):
    """A step, as the log remembers it."""

    name: str = Field(examples=["charge"])
    kind: str = Field(examples=["pivot"])
    after: list[str]
    command: str = Field(examples=["ChargeCard"])
    undo: str | None = Field(description="Name of the undo's command.")


class Definition(BaseModel):
    """One version of a saga type."""

    type: str = Field(examples=["order"])
    version: int = Field(examples=[1])
    fingerprint: str
    first_seen: float
    open: int = Field(description="Sagas on it that are not closed.")
    code: bool = Field(description="Its code is here: its sagas can be decided again.")
    steps: list[StepShape]
    input: Json | None = Field(description="JSON Schema of its input, where its code is here.")


class Definitions(BaseModel):
    """Every version of every saga type."""

    items: list[Definition]


_STEP: Final = ("name", "kind", "after", "command", "undo")


@router.get("/definitions")
async def definitions(desk: Here, _caller: Reader) -> Definitions:
    """The saga types that the log knows, by type, the latest version first."""
    rows = await desk.ask(desk.queries.definitions)
    return Definitions(items=[_definition(desk, row) for row in rows])


@router.get("/definitions/{saga_type}/{version}")
async def definition(
    saga_type: TypeName, version: TypeVersion, desk: Here, _caller: Reader
) -> Definition:
    """One version of a saga type."""
    return _definition(desk, await desk.ask(desk.queries.definition, saga_type, version))


def _definition(desk: Desk, row: DefinitionRow) -> Definition:
    code = desk.code.get((row.type, row.version))
    return Definition(
        type=row.type,
        version=row.version,
        fingerprint=row.fingerprint,
        first_seen=row.first_seen,
        open=row.open,
        code=code is not None,
        steps=[
            StepShape.model_validate({name: step[name] for name in _STEP})
            for step in row.shape["steps"]
        ],
        input=None if code is None else code.data.model_json_schema(),
    )
