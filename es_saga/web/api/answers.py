"""What the endpoints answer with."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from es_saga.projections.ending import Ending, ending
from es_saga.projections.ledger import Done, Undo
from es_saga.projections.queries import Standing

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
    looked_back_to: float | None = Field(
        description="The page ended early: what changed before that was not looked at yet."
    )


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


class LedgerEntry(Answer):
    """One step that can be undone: done, undo issued, undo confirmed or owed."""

    step: str = Field(examples=["reserve"])
    command: str = Field(description="Name of the undo's command.", examples=["ReleaseStock"])
    done: Done
    undo: Undo
    attempt: int | None = Field(description="Of the undo, once it was issued.")
    due: float | None = Field(description="When the undo counts as unanswered, or is sent again.")
    why: str | None = Field(description="What the undo came to grief at.")
    by: str | None = Field(description="Who waived it, or said that it is done.")


class Awaited(Answer):
    """A message, an event or a time that a saga waits for."""

    what: str = Field(description="The type of the message; of a sleep, the step.")
    until: float | None


class UnderWay(Answer):
    """A list that a saga is going over."""

    step: str = Field(examples=["pick"])
    done: int = Field(description="Items that are.", examples=[7])
    begun: int
    items: int = Field(examples=[50])


class Saga(SagaLine):
    """Everything that the status view has of a saga."""

    ending: Ending = Field(description="How it ended, for whoever started it.")
    steps: dict[str, Step]
    payload: Json = Field(description="Its input; sensitive values are hidden.")
    next_due: float | None = Field(description="When time alone will change something.")
    deadline: float | None
    exceptions: list[Owed]
    age: float = Field(description="Seconds from its start to its end, or to now.")
    remaining: list[str] | None = Field(
        description="Steps, or on the way back undos, that are still to be done; null: unknown."
    )
    ledger: list[LedgerEntry] | None = Field(description="What is done, undone and owed.")
    parent: str | None = Field(description="The saga that runs it.")
    children: dict[str, str] = Field(
        description="The sagas that it runs, by the steps that do.",
        examples=[{"ship": "order-1--ship"}],
    )
    waits_for: list[Awaited] = Field(description="What it waits for, while it asks nobody.")
    asked: dict[str, str] = Field(
        description="The services that it waits for, by the steps that asked them.",
        examples=[{"charge": "payments"}],
    )
    lists: list[UnderWay] = Field(description="The lists that it is going over.")
    way: str | None = Field(
        description="Which way from its save-points it is on; null: it has come to none.",
        examples=["2 of 2, from held"],
    )

    @classmethod
    def of(cls, standing: Standing) -> Saga:
        """Out of its row, and what its definition says."""
        row = standing.saga
        return cls(
            **SagaLine.model_validate(row).model_dump(),
            ending=ending(row),
            steps={name: Step.model_validate(step) for name, step in row.steps.items()},
            payload=row.payload,
            next_due=row.next_due,
            deadline=row.deadline,
            exceptions=[Owed.model_validate(one) for one in row.exceptions],
            age=standing.age,
            remaining=None if standing.remaining is None else list(standing.remaining),
            ledger=None
            if standing.ledger is None
            else [LedgerEntry.model_validate(entry) for entry in standing.ledger],
            parent=standing.parent,
            children=dict(standing.children),
            waits_for=[Awaited.model_validate(one) for one in standing.waits_for],
            asked=dict(standing.asked),
            lists=[UnderWay.model_validate(one) for one in standing.lists],
            way=standing.way,
        )


class HistoryEvent(Answer):
    """One event of a saga."""

    version: int = Field(description="Its number, counted from 1.", examples=[3])
    kind: str = Field(examples=["StepSucceeded"])
    step: str | None = Field(examples=["charge"])
    at: float
    cause: str | None = Field(description="Message that led to it; null: a timer.")
    actor: str | None = Field(description="Who intervened, if somebody did.")
    payload: Json = Field(description="Its fields; sensitive values are hidden.")


class HistoryPage(BaseModel):
    """Events of one saga, the oldest first."""

    saga_id: str
    items: list[HistoryEvent]
    next: int | None = Field(description="`after` of the next page; null: there is no more.")


class AuditEntry(HistoryEvent):
    """One row of the audit trail."""

    trace: str | None = Field(description="W3C traceparent of the saga's start.")
    hash: str = Field(description="Of this event and of everything before it.")


class AuditPage(BaseModel):
    """The audit trail of one saga, the oldest first."""

    saga_id: str
    items: list[AuditEntry]
    next: int | None = Field(description="`after` of the next page; null: there is no more.")


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
