"""The operator's hands: a verb on one saga, or on each of many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Header
from pydantic import BaseModel, Field, model_validator
from starlette.responses import Response

from es_saga.core.errors import InvalidInput
from es_saga.core.messages import Direction, Outcome
from es_saga.engine.client import MAX_BULK
from es_saga.engine.requests import Operated, VerbName, VerbRequest
from es_saga.projections.listing import MAX_PAGE, OPEN, STATUSES
from es_saga.projections.queries import Cursor, Queries, SagaFilter
from es_saga.web import faults
from es_saga.web.access import Caller
from es_saga.web.api.answers import Json, Summary
from es_saga.web.api.errors import error
from es_saga.web.api.inputs import (
    ID_PATTERN,
    MAX_NAME_CHARS,
    MAX_REASON_CHARS,
    Input,
    Missing,
    Name,
    Payload,
    SagaId,
    Status,
    Words,
)
from es_saga.web.callers import Here, Operator
from es_saga.web.faults import Fault

router = APIRouter(tags=["operations"])


MAX_PAGES: Final = 100
"""Pages of the list that are looked through for what matches."""


class Verb(Input):
    """What every verb takes. Who asks is the token's name."""

    reason: Words = Field(
        min_length=1,
        max_length=MAX_REASON_CHARS,
        description="Why; goes into the audit trail.",
        examples=["The carrier is back."],
    )
    dry_run: bool = Field(
        default=False,
        strict=True,
        description="Only tell what it would append and send; nothing is done.",
    )


class OneVerb(Verb):
    """A verb that concerns a whole saga."""

    expected_version: int | None = Field(
        default=None,
        ge=1,
        lt=2**31,
        strict=True,
        description="The version it was decided on; `If-Match` says the same.",
        examples=[7],
    )


Step = Annotated[Words, Field(min_length=1, max_length=MAX_NAME_CHARS, examples=["ship"])]


class AnyStep(OneVerb):
    """A verb that may name a step; without one it concerns all that it fits."""

    step: Step | None = None


class ThatStep(OneVerb):
    """A verb that has to name a step."""

    step: Step


class Settlement(ThatStep):
    """What became of work that a saga is stuck at."""

    direction: Direction = Field(
        default=Direction.DO, description="The step's own work, or its undo."
    )
    outcome: Literal[Outcome.SUCCEEDED, Outcome.REFUSED] = Outcome.SUCCEEDED
    reply: Payload | None = Field(default=None, description="What it answered.")


BODIES: Final[Mapping[VerbName, type[OneVerb]]] = {
    "cancel": OneVerb,
    "compensate": OneVerb,
    "retry": AnyStep,
    "resume": AnyStep,
    "resend": AnyStep,
    "skip": ThatStep,
    "resolve": Settlement,
}
"""What each verb takes."""

WORDS: Final[Mapping[VerbName, str]] = {
    "cancel": "Undo a saga that has not passed its pivot; after it, record that it was refused.",
    "compensate": "Turn a saga back that has not passed its pivot.",
    "retry": "Try again what a stuck saga is stuck at.",
    "resume": "Have a saga go on now with what waits for its next attempt.",
    "resend": "Send again what is in flight, without waiting for its answer any longer.",
    "skip": "Waive a step after the pivot, or an undo that keeps failing.",
    "resolve": "Say what became of work that a saga is stuck at.",
}


class Done(BaseModel):
    """What became of a verb, or would become."""

    saga: Summary
    dry_run: bool
    events: list[Json] | None = Field(
        description="Of a dry run: what would be appended, each with its `topic`."
    )
    commands: list[Json] | None = Field(description="Of a dry run: what would be sent.")


class Matching(Input):
    """Sagas by what they have in common; all that is given must hold."""

    status: list[Status] = Field(
        default_factory=list[Status],
        max_length=len(STATUSES),
        description="Any of these; none: any saga that is not closed.",
        examples=[["stuck"]],
    )
    type: Name | None = Field(default=None, examples=["order"])
    business_id: Name | None = None
    step: Name | None = Field(default=None, description="In progress at this step, or stuck at it.")
    reason: Name | None = Field(default=None, description="Part of the reason.")
    search: Name | None = Field(default=None, description="How id or business id begins.")
    since: float | None = Field(default=None, allow_inf_nan=False)
    until: float | None = Field(default=None, allow_inf_nan=False)

    @model_validator(mode="after")
    def _says_something(self) -> Matching:
        if not self.model_dump(exclude_defaults=True):
            raise ValueError("that would be every saga there is")
        return self

    def filter(self) -> SagaFilter:
        """As the queries take it."""
        given = self.model_dump(exclude={"status"}, exclude_none=True)
        return SagaFilter(status=tuple(self.status) or OPEN, **given)


class ManyVerbs(Verb):
    """A verb on each of many sagas: of these, or of all that match."""

    verb: VerbName
    sagas: list[Annotated[str, Field(pattern=ID_PATTERN)]] = Field(
        default_factory=list[str],
        max_length=MAX_BULK,
        examples=[["order-7", "order-8"]],
    )
    matching: Matching | None = Field(
        default=None, description="Instead of `sagas`; what moves on meanwhile is left alone."
    )
    versions: dict[str, Annotated[int, Field(ge=1, lt=2**31, strict=True)]] = Field(
        default_factory=dict,
        max_length=MAX_BULK,
        description="By saga, the version it was decided on.",
        examples=[{"order-7": 7}],
    )
    step: Step | None = Field(default=None, description="Where the verb takes one.")
    direction: Direction | None = Field(default=None, description="Of `resolve`.")
    outcome: Literal[Outcome.SUCCEEDED, Outcome.REFUSED] | None = Field(
        default=None, description="Of `resolve`."
    )
    reply: Payload | None = Field(default=None, description="Of `resolve`.")

    @model_validator(mode="after")
    def _fits_the_verb(self) -> ManyVerbs:
        if bool(self.sagas) == (self.matching is not None):
            raise ValueError("give either sagas or matching")
        taken = BODIES[self.verb].model_fields
        for name in ("step", "direction", "outcome", "reply"):
            given = getattr(self, name) is not None
            if given and name not in taken:
                raise ValueError(f"{self.verb} takes no {name}")
            if not given and name in taken and taken[name].is_required():
                raise ValueError(f"{self.verb} needs to know the {name}")
        return self


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
    Annotated[str, Field(pattern=r'^(?:\*|(?:W/)?"?[1-9][0-9]{0,8}"?)$')] | Missing,
    Header(
        alias="If-Match",
        description="The version it was decided on: the `ETag` of the saga.",
    ),
]
Operation = Annotated[
    Annotated[str, Field(pattern=r'^"?[A-Za-z0-9_-]{1,64}"?$')] | Missing,
    Header(
        alias="Idempotency-Key",
        description="However often it is asked for under this name, a saga takes it once.",
    ),
]

_RACE: Final = error(409, "Not in this state of the saga, or not at the expected version any more.")

_RACE_WORDS: Final = """

Actor and reason are stored with it. With an expected version it is refused as a conflict if the
saga has moved on meanwhile. A dry run tells what it would append and send, and changes nothing.
"""


def _add(verb: VerbName, body_type: type[OneVerb]) -> None:
    """The endpoint of one verb: a path of its own, with what this verb takes."""

    async def operate(
        saga_id: SagaId,
        body: OneVerb,
        desk: Here,
        caller: Operator,
        if_match: Tag = None,
        idempotency_key: Operation = None,
    ) -> Response | Done:
        expected = _expected(body.expected_version, if_match)
        request = _request(verb, body, caller, idempotency_key, expected)
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

    operate.__annotations__["body"] = body_type  # FastAPI reads it from there
    router.add_api_route(
        f"/sagas/{{saga_id}}/{verb}",
        operate,
        methods=["POST"],
        name=verb,
        description=WORDS[verb] + _RACE_WORDS,
        response_model=Done,
        responses={409: _RACE},
    )


for _verb, _body in BODIES.items():
    _add(_verb, _body)


@router.post("/operations")
async def operate_all(
    body: ManyVerbs, desk: Here, caller: Operator, idempotency_key: Operation = None
) -> Items:
    """Carry out a verb on each of many sagas, or show what it would do to each.

    It goes on whatever becomes of one; the answer is 200 and says what became of each.
    """
    request = _request(body.verb, body, caller, idempotency_key)
    versions = dict(body.versions)
    if body.matching is not None:
        versions |= await desk.think(_matching, desk.queries, body.matching.filter())
    client = await desk.client()
    told = await client.operate_all(body.sagas or [*versions], request, versions=versions)
    items = [_item(one) for one in told]
    done = sum(one.ok for one in told)
    return Items(dry_run=body.dry_run, done=done, failed=len(items) - done, items=items)


def _matching(queries: Queries, wanted: SagaFilter) -> dict[str, int]:
    """The sagas that match, each with the version at which it was looked at.

    Raises:
        InvalidInput: there are too many, or too many to look through.
    """
    found: dict[str, int] = {}
    after: Cursor | None = None
    for _ in range(MAX_PAGES):
        page = queries.page(wanted, after=after, limit=MAX_PAGE)
        found |= {row.saga_id: row.version for row in page.rows}
        after = page.next
        if len(found) > MAX_BULK:
            raise InvalidInput(f"More than {MAX_BULK} sagas match.", hint="Choose fewer.")
        if after is None:
            return found
    raise InvalidInput("There are too many sagas to look through.", hint="Say which type or time.")


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


_PASSED_ON: Final = frozenset({"reason", "dry_run", "step", "direction", "outcome", "reply"})


def _request(
    verb: VerbName,
    body: OneVerb | ManyVerbs,
    caller: Caller,
    name: str | None,
    expected: int | None = None,
) -> VerbRequest:
    """As the process manager takes it."""
    return VerbRequest(
        verb=verb,
        actor=caller.name,
        operation=None if name is None else name.strip('"'),
        expected_version=expected,
        **body.model_dump(include=set(_PASSED_ON), exclude_none=True),
    )


def _expected(in_body: int | None, tag: str | None) -> int | None:
    number = "" if tag is None else tag.removeprefix("W/").strip('"* ')
    if not number:
        return in_body
    if in_body not in (None, int(number)):
        raise InvalidInput("If-Match and expected_version differ.", hint="Send one.")
    return int(number)
