"""What endpoints take: types whose limits hold before anybody is asked."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Literal, TypeAlias

from fastapi import Path, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from es_saga.core.messages import MAX_PAYLOAD_BYTES
from es_saga.engine import requests

API: Final = "/api/v1"
"""What the paths of the API begin with."""

MAX_REASON_CHARS: Final = 1_000
MAX_NAME_CHARS: Final = 200

ID_PATTERN: Final = "^[A-Za-z0-9_-]{1,64}$"
"""What a saga's id looks like, see `es_saga.core.messages.check_id`."""


class Input(BaseModel):
    """A body: what it does not know is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _payload(value: dict[str, Any]) -> dict[str, Any]:
    """JSON that can travel: with no number that is none, and no half characters."""
    try:
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        size = len(text.encode())
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except UnicodeEncodeError:
        raise ValueError("a text has half of a character") from None
    if size > MAX_PAYLOAD_BYTES:
        raise ValueError(f"takes {size} bytes; {MAX_PAYLOAD_BYTES} are allowed")
    return value


def _telling(value: str) -> str:
    if not value.strip():
        raise ValueError("says nothing")
    return value


Status = Literal[
    "running",
    "waiting",
    "compensating",
    "stuck",
    "completed",
    "compensated",
    "compensated-with-exceptions",
]
"""See `es_saga.core.state.SagaStatus`."""

Payload = Annotated[dict[str, Any], AfterValidator(_payload)]
"""A JSON object of a size that travels."""

Words = Annotated[requests.Words, AfterValidator(_telling)]
"""Text for people that is not blank."""

SagaId = Annotated[str, Path(pattern=ID_PATTERN, examples=["order-7"], description="A saga's id.")]

Missing: TypeAlias = SkipJsonSchema[None]
"""Of a parameter that may be left out: it is not there, rather than null."""

Name = Annotated[
    str, Field(min_length=1, max_length=MAX_NAME_CHARS, pattern=r"^[^\x00-\x1f\x7f]+$")
]
"""A name that people chose, as of a saga type."""

OptionalId = Annotated[str, Field(pattern=ID_PATTERN)] | Missing
"""A saga's id, where it may be left out."""

Limit = Annotated[int, Query(ge=1, le=1_000, description="Rows at most.")]
