"""What the endpoints answer with."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from es_saga.projections.ending import Ending, ending
from es_saga.projections.queries import SagaRow

Json = dict[str, Any]


class Answer(BaseModel):
    """Made from a row of a read model, attribute by attribute."""

    model_config = ConfigDict(from_attributes=True, frozen=True)


class SagaLine(Answer):
    """A saga, on one line."""

    saga_id: str = Field(examples=["order-7"])
    type: str = Field(examples=["order"])
    definition: int = Field(description="Version of its definition.", examples=[1])
    status: str = Field(examples=["completed"])
    business_id: str | None = Field(description="The key it was started under.", examples=["7"])
    current: list[str] = Field(description="Steps in progress.", examples=[["ship"]])
    version: int = Field(description="Number of its events.", examples=[13])
    reason: str | None = Field(description="Why it does not complete.", examples=["CardDeclined"])
    reason_step: str | None = Field(examples=["charge"])
    created: float
    updated: float
    closed: float | None


class SagaPage(BaseModel):
    """Sagas, the most recently changed first."""

    items: list[SagaLine]
    next: str | None = Field(description="Cursor of the next page; null: there is nothing more.")


class Work(BaseModel):
    """One direction of one step."""

    model_config = ConfigDict(extra="allow", frozen=True)

    status: str = Field(examples=["succeeded"])
    attempt: int = Field(examples=[1])
    started: float
    ended: float | None = None
    due: float | None = None
    reply: Json | None = None
    error: str | None = None


class Step(Work):
    """A step: its forward work, and its undo once one was issued."""

    undo: Work | None = None


class Owed(BaseModel):
    """An undo that a closed saga still owes, or that somebody waived."""

    model_config = ConfigDict(extra="allow", frozen=True)

    step: str
    error: str


class Saga(SagaLine):
    """Everything that the status view has of a saga."""

    ending: Ending = Field(description="How it ended, for whoever started it.")
    steps: dict[str, Step]
    payload: Json = Field(description="Its input; sensitive fields are hidden.")
    next_due: float | None = Field(description="When time alone will change something.")
    deadline: float | None
    exceptions: list[Owed]

    @classmethod
    def of(cls, row: SagaRow) -> Saga:
        """Out of its row."""
        line = SagaLine.model_validate(row)
        return cls(
            **line.model_dump(),
            ending=ending(row),
            steps={name: Step.model_validate(step) for name, step in row.steps.items()},
            payload=row.payload,
            next_due=row.next_due,
            deadline=row.deadline,
            exceptions=[Owed.model_validate(one) for one in row.exceptions],
        )


class Outcome(Answer):
    """How a saga ended: what whoever started it needs to know."""

    saga_id: str = Field(examples=["order-7"])
    ending: Ending
    code: int = Field(description="The status of this answer.", examples=[200])
    status: str = Field(examples=["completed"])
    type: str = Field(examples=["order"])
    business_id: str | None = Field(examples=["7"])
    reason: str | None = Field(examples=["CardDeclined"])
    reason_step: str | None = Field(examples=["charge"])
    version: int = Field(examples=[13])
    closed: float | None
    replies: dict[str, Json | None] = Field(description="What each step that was done answered.")


class Summary(BaseModel):
    """A saga as the process manager tells it."""

    model_config = ConfigDict(extra="allow", frozen=True)

    saga_id: str = Field(examples=["order-7"])
    type: str = Field(examples=["order"])
    key: str | None = Field(default=None, examples=["7"])
    status: str = Field(examples=["running"])
    version: int = Field(examples=[2])
    reason: str | None = None
    reason_step: str | None = None


class Started(Summary):
    """A saga that was asked for."""

    created: bool = Field(description="It began now, and not at an earlier, equal request.")
