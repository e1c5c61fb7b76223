"""One answer out of several: where a saga stands, and what participants know, by one deadline.

Requirement R084. Whoever does not answer in time, or cannot, is named as missing; the others are
told nevertheless. What they say is of about the same moment, and no more: there is no snapshot over
several databases.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import from_json, to_json

from es_saga.core.errors import InvalidInput, SagaError, Unavailable
from es_saga.core.events import Json
from es_saga.core.messages import MAX_PAYLOAD_BYTES, Query, Subjects
from es_saga.engine.ports import Questions

MAX_QUESTIONS: Final = 16
"""Questions that one composition may ask."""

MAX_TOLD_BYTES: Final = 64 * 1024
"""What is taken in of one answer, in bytes of JSON."""

COMPOSE_SECONDS: Final = 2.0
"""How long a composition waits for its answers, by default."""

MAX_COMPOSE_SECONDS: Final = 30.0

S_co = TypeVar("S_co", covariant=True)


class Question(BaseModel):
    """A query without its class: for whoever has not the participant's code."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    service: str = Field(pattern=r"^[A-Za-z0-9_-]{1,200}$", examples=["stock"])
    query: str = Field(pattern=r"^[A-Za-z0-9_-]{1,200}$", examples=["StockLevel"])
    data: Json = Field(default_factory=dict, examples=[{"sku": "teapot"}])

    @classmethod
    def of(cls, query: Query[Any]) -> Question:
        """The same of a typed one."""
        return cls(service=query.to, query=type(query).__name__, data=query.model_dump(mode="json"))


@dataclass(frozen=True, slots=True)
class Told:
    """What came of one question."""

    service: str
    query: str
    answer: Literal["given", "missing", "failed"]
    """missing: nobody was there, or not in time. failed: the participant could not."""
    reply: Json | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Composition(Generic[S_co]):
    """A saga's status beside what participants answered."""

    saga: S_co
    answers: Mapping[str, Told]

    @property
    def partial(self) -> bool:
        """Whether a participant did not answer, or failed."""
        return any(told.answer != "given" for told in self.answers.values())


async def compose(
    saga: Awaitable[S_co],
    questions: Questions,
    asked: Mapping[str, Question | Query[Any]],
    *,
    tenant: str = "main",
    within: float = COMPOSE_SECONDS,
) -> Composition[S_co]:
    """Ask all participants at once; whatever they do, it takes no longer than `within` seconds.

    Args:
        saga: looks up where the saga stands.
        questions: the way to the participants.
        asked: by names of your own, which the answers carry, too.

    Raises:
        InvalidInput: too many questions, one that is too large, or a deadline out of range.
        NotFound: there is no such saga, as `saga` says.
    """
    row = await saga
    if len(asked) > MAX_QUESTIONS:
        raise InvalidInput(f"{len(asked)} questions are too many: {MAX_QUESTIONS} at a time.")
    if not 0 < within <= MAX_COMPOSE_SECONDS:
        raise InvalidInput(f"Wait more than 0 and at most {MAX_COMPOSE_SECONDS:g} s for answers.")
    subjects = Subjects(tenant)
    plain = {
        name: Question.of(one) if isinstance(one, Query) else one for name, one in asked.items()
    }
    bodies = {name: to_json(one.data) for name, one in plain.items()}
    for name, body in bodies.items():
        if len(body) > MAX_PAYLOAD_BYTES:
            raise InvalidInput(f"The question {name!r} takes more than {MAX_PAYLOAD_BYTES} bytes.")

    async def one(name: str) -> Told:
        question = plain[name]
        subject = subjects.query(question.service, question.query)
        try:
            reply = _read(await questions.ask(subject, bodies[name], timeout=within))
        except SagaError as error:
            # An outage is told as such by the participant, too: either way there is no answer yet.
            missing = isinstance(error, Unavailable)
            return Told(
                question.service,
                question.query,
                "missing" if missing else "failed",
                why=error.message,
            )
        return Told(question.service, question.query, "given", reply=reply)

    told = await asyncio.gather(*map(one, plain))
    return Composition(row, dict(zip(plain, told, strict=True)))


def _read(answer: bytes) -> Json:
    if len(answer) > MAX_TOLD_BYTES:
        raise InvalidInput(f"The answer has {len(answer)} bytes; {MAX_TOLD_BYTES} are read.")
    try:
        found = from_json(answer)
    except ValueError as error:
        raise InvalidInput(f"The answer is no JSON: {error}.") from error
    if not isinstance(found, dict):
        raise InvalidInput("The answer is no JSON object.")
    return cast(Json, found)
