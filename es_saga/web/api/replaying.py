"""Time travel: a saga at any of its events, decided again, and forked."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, Field

from es_saga.core.compiled import Definition
from es_saga.core.errors import NotFound
from es_saga.core.events import SagaEvent
from es_saga.core.sensitive import SensitiveFields
from es_saga.replay import Again, Change, Fork, Moment, Replay, compare, decide_again, what_if
from es_saga.replay import scene as scene_of
from es_saga.testing.history import plain
from es_saga.web.api.answers import Json
from es_saga.web.api.inputs import ID_PATTERN, Input, Payload, SagaId, Words
from es_saga.web.callers import Here, Reader
from es_saga.web.desk import Desk

MAX_ANSWERS: Final = 100
"""Steps that one fork may have answered otherwise."""

router = APIRouter(tags=["replay"])


class Event(BaseModel):
    """One event, with sensitive values hidden."""

    version: int = Field(description="Its number, counted from 1.", examples=[3])
    kind: str = Field(examples=["StepSucceeded"])
    at: float
    fields: Json


class Changed(BaseModel):
    """One field that is not what it was; null: it was not, or is not, there."""

    path: str = Field(examples=["steps.charge.do.status"])
    before: Any
    after: Any


class Command(BaseModel):
    """What would be sent. It never is."""

    id: str = Field(examples=["order-7/charge/do/1"])
    subject: str
    type: str = Field(examples=["ChargeCard"])
    step: str | None
    attempt: int
    data: Any


class Version(BaseModel):
    """A saga right after one of its events, and what that event came of and led to."""

    saga_id: str
    version: int
    of: int = Field(description="Events that the saga has.")
    event: Event
    input: str = Field(description="What was decided on.", examples=["charge is done"])
    input_kind: str = Field(examples=["reply"])
    together: list[int] = Field(
        description="First and last event of the same decision.", examples=[[3, 5]]
    )
    changes: list[Changed]
    commands: list[Command]
    state: Json


class Differs(BaseModel):
    """Where today's code first decides otherwise."""

    version: int
    input: str
    recorded: Event | None = Field(description="Null: the history ends here.")
    today: Event | None = Field(description="Null: it decides nothing.")
    paths: list[str] = Field(description="Fields that differ.")
    why: str


class Check(BaseModel):
    """A history, decided again."""

    saga_id: str
    same: bool
    decided: int = Field(description="So many events were decided again, alike.")
    of: int
    assumed: list[str] = Field(description="What the history does not say.")
    divergence: Differs | None


class WhatIf(Input):
    """How some participants answer, instead of what they did."""

    answers: dict[Words, Words | Payload] = Field(
        min_length=1,
        max_length=MAX_ANSWERS,
        description="By step: a refusal's name, a reply, `done`, `fail` or `timeout`.",
        examples=[{"charge": "CardDeclined"}],
    )


class Ended(BaseModel):
    """A history as it would have gone on."""

    saga_id: str
    status: str
    reason: str | None
    reason_step: str | None
    forked_at: int | None = Field(description="First event that tells another story; null: none.")
    notes: list[str] = Field(description="What was made up, and what had no place any more.")
    events: list[Event]


class Runs(BaseModel):
    """Two runs, aligned attempt by attempt."""

    a: Json
    b: Json
    input: list[Changed] = Field(description="Where their inputs differ.")
    first: Json | None = Field(description="Where they part.")
    rows: list[Json]


@router.get("/sagas/{saga_id}/versions/{version}")
async def version(
    saga_id: SagaId,
    version: Annotated[int, Path(ge=1, lt=2**31, description="An event's number.", examples=[3])],
    desk: Here,
    _caller: Reader,
) -> Version:
    """A saga as it was after one of its events: state, what changed, what would be sent."""
    replay = await desk.replay(saga_id)
    if version > len(replay):
        raise NotFound(
            f"Saga {saga_id} has no event {version}.", hint=f"It has events 1 to {len(replay)}."
        )
    return await desk.think(_version, replay, version)


@router.get("/sagas/{saga_id}/check")
async def check(saga_id: SagaId, desk: Here, _caller: Reader) -> Check:
    """Decide a saga's history again with today's code, and name the first difference."""
    replay, definition = await _with_code(desk, saga_id)
    again = await desk.think(decide_again, definition, replay)
    return _check(definition, replay, again)


@router.post("/sagas/{saga_id}/what-if")
async def fork(saga_id: SagaId, body: WhatIf, desk: Here, _caller: Reader) -> Ended:
    """Fork a saga's history in memory where somebody answers otherwise; nothing is changed."""
    replay, definition = await _with_code(desk, saga_id)
    forked = await desk.think(partial(what_if, definition, replay, body.answers))
    return _ended(definition, forked)


@router.get(
    "/sagas/{saga_id}/scene",
    response_class=PlainTextResponse,
    responses={200: {"content": {"text/x-python": {"schema": {"type": "string"}}}}},
)
async def scene(saga_id: SagaId, desk: Here, _caller: Reader) -> PlainTextResponse:
    """A saga's history as a pytest scene that reproduces it."""
    replay = await desk.replay(saga_id)
    text = await desk.think(scene_of, _definition(desk, replay), replay)
    return PlainTextResponse(text, media_type="text/x-python")


Side = Annotated[str, Query(pattern=ID_PATTERN, examples=["order-7"], description="A saga's id.")]


@router.get("/compare")
async def runs(a: Side, b: Side, desk: Here, _caller: Reader) -> Runs:
    """Two runs side by side: attempt by attempt, and where they part."""
    one, other = await desk.replay(a), await desk.replay(b)
    return Runs.model_validate((await desk.think(compare, one, other)).plain())


# ── what is told ─────────────────────────────────────────────────────────────────────────────────


async def _with_code(desk: Desk, saga_id: str) -> tuple[Replay, Definition]:
    replay = await desk.history(saga_id)
    return replay, _definition(desk, replay)


def _definition(desk: Desk, replay: Replay) -> Definition:
    origin = replay.state.origin
    return desk.definition(origin.saga_type, origin.definition)


def _version(replay: Replay, number: int) -> Version:
    moment = replay.at(number)
    return Version(
        saga_id=replay.saga_id,
        version=number,
        of=len(replay),
        event=_event(number, moment.event),
        input=moment.reaction.what,
        input_kind=moment.reaction.kind.value,
        together=[moment.reaction.first, moment.reaction.last],
        changes=[_changed(change) for change in moment.changes],
        commands=_commands(moment),
        state=plain(moment.after),
    )


def _commands(moment: Moment) -> list[Command]:
    return [
        Command(
            id=envelope.id,
            subject=subject,
            type=envelope.type,
            step=envelope.step,
            attempt=envelope.attempt,
            data=envelope.data,
        )
        for subject, envelope, _ in moment.commands
    ]


def _check(definition: Definition, replay: Replay, again: Again) -> Check:
    found, hidden = again.divergence, SensitiveFields(definition.sensitive)
    return Check(
        saga_id=replay.saga_id,
        same=found is None,
        decided=again.version,
        of=len(replay),
        assumed=list(again.assumed),
        divergence=None
        if found is None
        else Differs(
            version=found.version,
            input=found.what,
            recorded=_hidden(found.version, found.recorded, hidden),
            today=_hidden(found.version, found.today, hidden),
            paths=[change.path for change in found.changes],
            why=found.why,
        ),
    )


def _ended(definition: Definition, forked: Fork) -> Ended:
    hidden = SensitiveFields(definition.sensitive)
    state = forked.replay.state
    return Ended(
        saga_id=state.saga_id,
        status=state.status.value,
        reason=state.failure.why if state.failure else None,
        reason_step=state.failure.step if state.failure else None,
        forked_at=forked.version,
        notes=list(forked.notes),
        events=[
            _event(number, hidden.event(event))
            for number, event in enumerate(forked.replay.events, 1)
        ],
    )


def _hidden(number: int, event: SagaEvent | None, hidden: SensitiveFields) -> Event | None:
    return None if event is None else _event(number, hidden.event(event))


def _event(number: int, event: SagaEvent) -> Event:
    fields = event.model_dump(mode="json", exclude_defaults=True)
    fields.pop("at", None)
    return Event(version=number, kind=type(event).__name__, at=event.at, fields=fields)


def _changed(change: Change) -> Changed:
    return Changed(path=change.path, before=change.before, after=change.after)
