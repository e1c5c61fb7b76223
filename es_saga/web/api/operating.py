"""The operator's hands: a verb on one saga, or on each of many."""

from __future__ import annotations

import re
from typing import Annotated, Final

from fastapi import APIRouter, Header
from pydantic import BaseModel, Field
from starlette.responses import Response

from es_saga.core.errors import InvalidInput
from es_saga.core.messages import Direction, Outcome
from es_saga.engine.client import MAX_BULK
from es_saga.engine.requests import Operated, VerbName, VerbRequest
from es_saga.web import faults
from es_saga.web.access import Caller
from es_saga.web.api.answers import Json, Summary
from es_saga.web.api.errors import error
from es_saga.web.api.inputs import (
    ID_PATTERN,
    MAX_NAME_CHARS,
    MAX_REASON_CHARS,
    Input,
    Payload,
    SagaId,
    Words,
)
from es_saga.web.callers import Here, Operator
from es_saga.web.faults import Fault

router = APIRouter(tags=["operations"])

_TAG: Final = re.compile(r'(?:W/)?"?(\d{1,9})"?')

_STEPS: Final = frozenset({"retry", "skip", "resolve", "resume", "resend"})
"""Verbs that take a step."""


class Verb(Input):
    """What is asked for, and why. Who asks is the token's name."""

    reason: Words = Field(
        min_length=1,
        max_length=MAX_REASON_CHARS,
        description="Goes into the audit trail.",
        examples=["The carrier is back."],
    )
    step: Words | None = Field(
        default=None,
        max_length=MAX_NAME_CHARS,
        description="Needed by `skip` and `resolve`; `retry`, `resume`, `resend` take it.",
        examples=["ship"],
    )
    direction: Direction = Field(
        default=Direction.DO, description="`resolve`: the step's own work, or its undo."
    )
    outcome: Outcome = Field(
        default=Outcome.SUCCEEDED, description="`resolve`: what became of the work."
    )
    reply: Payload | None = Field(default=None, description="`resolve`: what it answered.")
    dry_run: bool = Field(
        default=False, description="Only tell what it would append and send; nothing is done."
    )

    def request(
        self, verb: VerbName, caller: Caller, *, expected: int | None, operation: str | None
    ) -> VerbRequest:
        """As the process manager takes it.

        Raises:
            InvalidInput: the verb does not take what is given.
        """
        given = self.model_fields_set
        if self.step is not None and verb not in _STEPS:
            raise InvalidInput(f"{verb} concerns the whole saga: it takes no step.")
        if verb != "resolve" and given & {"direction", "outcome", "reply"}:
            raise InvalidInput(f"{verb} takes no direction, outcome or reply; `resolve` does.")
        if self.step is None and verb in ("skip", "resolve"):
            raise InvalidInput(f"{verb} needs to know the step.")
        return VerbRequest(
            verb=verb,
            actor=caller.name,
            reason=self.reason,
            step=self.step,
            direction=self.direction,
            outcome=self.outcome,
            reply=self.reply,
            expected_version=expected,
            dry_run=self.dry_run,
            operation=operation,
        )


class OneVerb(Verb):
    """A verb on one saga."""

    expected_version: int | None = Field(
        default=None,
        ge=1,
        lt=2**31,
        description="The version it was decided on; `If-Match` says the same.",
        examples=[7],
    )


class Done(BaseModel):
    """What became of a verb, or would become."""

    saga: Summary
    dry_run: bool
    events: list[Json] | None = Field(
        description="Of a dry run: what would be appended, each with its `topic`."
    )
    commands: list[Json] | None = Field(description="Of a dry run: what would be sent.")


class ManyVerbs(Verb):
    """A verb on each of many sagas."""

    verb: VerbName
    sagas: list[Annotated[str, Field(pattern=ID_PATTERN)]] = Field(
        min_length=1, max_length=MAX_BULK, examples=[["order-7", "order-8"]]
    )
    versions: dict[str, Annotated[int, Field(ge=1, lt=2**31)]] = Field(
        default_factory=dict,
        max_length=MAX_BULK,
        description="By saga, the version it was decided on.",
        examples=[{"order-7": 7}],
    )


class Item(BaseModel):
    """What became of one saga."""

    saga_id: str
    status: int = Field(description="As the verb alone would have been answered.", examples=[200])
    saga: Summary | None = None
    events: list[Json] | None = None
    commands: list[Json] | None = None
    error: Fault | None = None


class Items(BaseModel):
    """What became of each."""

    dry_run: bool
    done: int = Field(description="So many were carried out, or would be.")
    failed: int
    items: list[Item]


Tag = Annotated[
    str | None,
    Header(alias="If-Match", max_length=20, description="The version it was decided on."),
]
Operation = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r'^"?[A-Za-z0-9_-]{1,64}"?$',
        description="However often it is asked for under this name, a saga takes it once.",
    ),
]

_RACE: Final = error(409, "Not in this state of the saga, or not at the expected version any more.")


@router.post("/sagas/{saga_id}/{verb}", response_model=Done, responses={409: _RACE})
async def operate(
    saga_id: SagaId,
    verb: VerbName,
    body: OneVerb,
    desk: Here,
    caller: Operator,
    if_match: Tag = None,
    idempotency_key: Operation = None,
) -> Response | Done:
    """Carry out an operator's verb, or show what it would do.

    Actor and reason are stored with it. With an expected version it is refused as a conflict if
    the saga has moved on meanwhile.
    """
    expected = _expected(body.expected_version, if_match)
    request = body.request(verb, caller, expected=expected, operation=_name(idempotency_key))
    client = await desk.client()
    answer = await client.operate(saga_id, request)
    if answer.code is not None:
        return faults.answer_of(answer)
    return Done(
        saga=Summary.model_validate(answer.saga),
        dry_run=body.dry_run,
        events=answer.events,
        commands=answer.commands,
    )


@router.post("/operations")
async def operate_all(
    body: ManyVerbs, desk: Here, caller: Operator, idempotency_key: Operation = None
) -> Items:
    """Carry out a verb on each of many sagas, or show what it would do to each.

    It goes on whatever becomes of one; the answer is 200 and says what became of each.
    """
    request = body.request(body.verb, caller, expected=None, operation=_name(idempotency_key))
    client = await desk.client()
    told = await client.operate_all(body.sagas, request, versions=body.versions)
    items = [_item(one) for one in told]
    done = sum(one.ok for one in told)
    return Items(dry_run=body.dry_run, done=done, failed=len(items) - done, items=items)


def _item(one: Operated) -> Item:
    if one.code is None:
        return Item(
            saga_id=one.saga_id,
            status=200,
            saga=Summary.model_validate(one.saga),
            events=one.events,
            commands=one.commands,
        )
    fault = Fault(code=one.code, message=one.message, hint=one.hint)
    return Item(saga_id=one.saga_id, status=faults.status_of(one.code), error=fault)


def _expected(in_body: int | None, tag: str | None) -> int | None:
    if tag is None or tag.strip() == "*":
        return in_body
    match = _TAG.fullmatch(tag.strip())
    if match is None:
        raise InvalidInput("If-Match takes one version.", hint="Give back the ETag of the saga.")
    if in_body not in (None, int(match[1])):
        raise InvalidInput("If-Match and expected_version differ.", hint="Send one.")
    return int(match[1])


def _name(header: str | None) -> str | None:
    return None if header is None else header.strip('"')
