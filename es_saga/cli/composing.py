"""What participants answer, beside a saga's status: `es-saga status ID --with …`."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from es_saga.cli.console import Output, say, short, show

if TYPE_CHECKING:
    from es_saga.config import Settings
    from es_saga.engine.composition import Composition, Question
    from es_saga.projections.queries import Standing

UNSERVED_SECONDS: Final = 1.0
"""How long the broker may take to say who takes commands."""


def composed(
    settings: Settings, standing: Standing, asked: Sequence[str], timeout: float
) -> Composition[Standing]:
    """Ask the participants of the app that runs.

    Raises:
        InvalidInput: a question cannot be read, or there are too many.
        NotFound, Unavailable: the app's broker is not found, or out of reach.
    """
    import asyncio

    from es_saga.cli import compose
    from es_saga.cli.running import located
    from es_saga.engine.composition import compose as join

    questions = {text.partition("=")[0]: _question(text) for text in asked}
    settings = located(settings)

    async def ask() -> Composition[Standing]:
        assert settings.nats is not None, "located"
        async with compose.transport(settings, settings.nats, "es-saga-cli") as pipe:
            return await join(
                _known(standing), pipe, questions, tenant=settings.tenant, within=timeout
            )

    return asyncio.run(ask())


async def _known(standing: Standing) -> Standing:
    return standing


def unserved(settings: Settings, services: Collection[str]) -> Collection[str] | None:
    """Those of these services whose commands nobody takes now; None: it cannot be known, or not
    soon."""
    import asyncio

    from es_saga.cli import compose
    from es_saga.cli.running import located
    from es_saga.core.errors import SagaError

    async def ask() -> Collection[str]:
        here = located(settings)
        assert here.nats is not None, "located"
        async with asyncio.timeout(UNSERVED_SECONDS), compose.streams(here, here.nats) as streams:
            return await streams.unserved(services)

    try:
        return asyncio.run(ask()) if services else ()
    except (SagaError, TimeoutError):  # a look at the log needs no broker
        return None


def _question(text: str) -> Question:
    from pydantic import ValidationError

    from es_saga.cli.starting import read_object
    from es_saga.core.errors import InvalidInput
    from es_saga.engine.composition import Question

    name, _, data = text.partition("=")
    service, _, query = name.partition(".")
    try:
        return Question(service=service, query=query, data=read_object(data or "{}"))
    except ValidationError as error:
        raise InvalidInput(
            f"{name[:80]!r} is no question.", hint="Write SERVICE.QUERY or SERVICE.QUERY=JSON."
        ) from error


def flat_answers(found: Composition[Standing]) -> dict[str, Any]:
    """As JSON has it."""
    answers = {name: asdict(told) for name, told in found.answers.items()}
    return {"partial": found.partial, "answers": answers}


def show_answers(found: Composition[Standing]) -> None:
    """A row for each question."""
    from es_saga.cli.table import Column

    rows: list[dict[str, Any]] = [
        {
            "question": name,
            "answer": told.answer,
            "told": short(told.why or json.dumps(told.reply, ensure_ascii=False)),
        }
        for name, told in found.answers.items()
    ]
    show(rows, Output.TABLE, ("question", "answer", Column("told", folds=True)))
    if found.partial:
        say("not everybody has answered")
