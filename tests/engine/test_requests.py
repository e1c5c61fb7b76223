"""How requests and their answers travel."""

from __future__ import annotations

import pytest

from es_saga.core.errors import (
    ConflictError,
    IllegalOperation,
    InvalidInput,
    NotFound,
    SagaError,
    Unavailable,
)
from es_saga.core.messages import Envelope
from es_saga.engine.requests import VERB_TYPE, Answer, failed, read_verb


@pytest.mark.parametrize(
    "error",
    [
        ConflictError("it has moved on", hint="look again"),
        IllegalOperation("it is closed", hint="look again"),
        InvalidInput("no such step", hint="look again"),
        NotFound("no such saga", hint="look again"),
        Unavailable("the log is away", retry_after=2.5, hint="wait"),
    ],
    ids=lambda error: error.code,
)
def test_an_error_arrives_as_it_was_raised(error: SagaError) -> None:
    sent = failed(error).model_dump_json()

    with pytest.raises(type(error)) as caught:
        Answer.model_validate_json(sent).result()

    came = caught.value
    assert (came.message, came.hint) == (error.message, error.hint)
    assert getattr(came, "retry_after", None) == getattr(error, "retry_after", None)


@pytest.mark.parametrize("field", ["actor", "reason"])
@pytest.mark.parametrize("text", ["a\0b", "\x1b[2J", ""])
def test_who_and_why_are_text_that_every_database_keeps(field: str, text: str) -> None:
    asked = {"verb": "cancel", "actor": "ada", "reason": "she said so", field: text}

    with pytest.raises(InvalidInput, match=field):
        read_verb(Envelope(id="m-1", source="cli", type=VERB_TYPE, data=asked))
