"""Answers that a participant might have given, as people write them.

CardDeclined                    a refusal, by the name of its type
CardDeclined {"card": "visa"}   the same with its data
{"charge": "ch-1"}              done, with this reply
done                            done, with a reply that is made up
fail, fail*2                    every attempt fails, or so many
timeout, timeout*2              no attempt is answered, or so many are not

Of a wait can be said what comes, done, or timeout; of a sleep and a save-point nothing but done.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast, get_args, get_type_hints

from pydantic import ValidationError

from es_saga.core.compiled import Definition, StepDefinition
from es_saga.core.errors import InvalidInput
from es_saga.core.events import Json
from es_saga.core.messages import MAX_PAYLOAD_BYTES, Message, Outcome, Refusal
from es_saga.replay.inputs import DONE
from es_saga.testing.examples import example

if TYPE_CHECKING:
    from es_saga.participant.kit import Participant

FAILURE: Final = "Unavailable"
"""The error that a made-up failure tells."""

_ANSWER: Final = re.compile(
    r"(?P<name>[A-Za-z_]\w*)\s*(?:\*\s*(?P<times>\d{1,5})\s*)?(?P<data>\{.*)?", re.S
)
_FORMS: Final = "Write a refusal's name, a reply as JSON, done, fail or timeout."

Refusals = Mapping[str, type[Refusal]]
"""By the name of its type."""


class Answer(NamedTuple):
    """What a participant says, or does not say, to a step's command."""

    outcome: Outcome | None
    """None: nothing."""
    type: str = ""
    data: Any = None
    times: int | None = None
    """To how many attempts; None: to all of them."""


def answer_of(
    step: StepDefinition, told: str | Json, refusals: Refusals, data: Json | None = None
) -> Answer:
    """What was written, checked against the step.

    Args:
        data: what is known of the saga, for answers that are made up.

    Raises:
        InvalidInput: it is no answer, or the step cannot be answered so.
    """
    text = told.strip() if isinstance(told, str) else ""
    if step.wait is not None and step.wait.message is None and text != "done":
        raise InvalidInput(
            f"{step.name} asks nobody and waits for nothing but its time: nobody answers it.",
            hint="Leave it out.",
        )
    if isinstance(told, dict):
        return _reply(step, told)
    if step.wait is not None and text not in ("done", "timeout") and not text.startswith("{"):
        raise InvalidInput(
            f"{step.name} asks nobody: what it waits for comes, or does not.",
            hint=f"Write {step.name}=done, {step.name}=timeout, or its content as JSON.",
        )
    if text.startswith("{"):
        return _reply(step, _object(step, text))
    match = _ANSWER.fullmatch(text)
    if match is None:
        raise InvalidInput(f"{step.name}: {text[:80]!r} is no answer.", hint=_FORMS)
    name, times, given = match["name"], match["times"], match["data"] or ""
    known = data or {}
    if name in ("fail", "timeout") and not given:
        return _no_outcome(step, name, None if times is None else int(times))
    if times is not None:
        raise InvalidInput(f"{step.name}: only fail and timeout can be said so many times.")
    if name == "done" and not given:
        return Answer(Outcome.SUCCEEDED, DONE, made_up(step, known))
    return _refusal(step, name, given, refusals, known)


def made_up(step: StepDefinition, known: Json) -> Json | None:
    """A reply that the step's participant might give; what is called the same is the same.

    Raises:
        InvalidInput: none could be made; the message says how to give one.
    """
    if step.reply is None:
        return None
    hint = f"Give one yourself: {step.name}={{…}}, the JSON of a {step.reply.__name__}."
    return likely(step, step.reply, known, hint)


def refusals_of(
    definition: Definition, participants: Iterable[Participant] = ()
) -> dict[str, type[Refusal]]:
    """The refusals that handlers are annotated with, and those that stand beside the commands."""
    found: dict[str, type[Refusal]] = {}
    modules = {
        command.__module__
        for step in definition.steps.values()
        for command in (step.command, step.undo and step.undo.command)
        if command is not None
    }
    beside = (value for name in sorted(modules) for value in vars(sys.modules[name]).values())
    for value in (*beside, *_annotated(participants)):
        if isinstance(value, type) and issubclass(value, Refusal) and value is not Refusal:
            found.setdefault(value.__name__, value)
    return found


def _annotated(participants: Iterable[Participant]) -> Iterable[object]:
    for participant in participants:
        for handling in participant.commands.values():
            try:
                answer: Any = get_type_hints(handling.fn).get("return", NoneType)
            except Exception:  # an annotation may be any expression; it is no use to us then
                continue
            yield from get_args(answer) or (answer,)


# ── forms ────────────────────────────────────────────────────────────────────────────────────────


def _reply(step: StepDefinition, data: Json) -> Answer:
    return Answer(Outcome.SUCCEEDED, DONE, step.check_reply(data))


def _no_outcome(step: StepDefinition, name: str, times: int | None) -> Answer:
    if times is None and step.retry.attempts is None:
        raise InvalidInput(
            f"{step.name} is tried again until it is done, so this would never end.",
            hint=f"Say how often: {step.name}={name}*3.",
        )
    if times == 0:
        raise InvalidInput(f"{step.name}: {name} at least once.")
    if name == "timeout":
        return Answer(None, times=times)
    return Answer(Outcome.FAILED, FAILURE, {"error": FAILURE, "detail": ""}, times)


def _refusal(
    step: StepDefinition, name: str, given: str, refusals: Refusals, known: Json
) -> Answer:
    kind, data = refusals.get(name), _object(step, given) if given else None
    if kind is None:
        return Answer(Outcome.REFUSED, name, data or {})
    if data is None:
        hint = f"Give it yourself: {step.name}={name} {{…}}."
        return Answer(Outcome.REFUSED, name, likely(step, kind, known, hint))
    try:
        kind.model_validate(data)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        )
        raise InvalidInput(f"{step.name}: that is no {name}: {faults}.") from error
    return Answer(Outcome.REFUSED, name, data)


def likely(step: StepDefinition, kind: type[Message], known: Json, hint: str) -> Json:
    """An example of a message, in which what is called the same is the same.

    Raises:
        InvalidInput: none could be made; `hint` says what to do then.
    """
    try:
        made = example(kind).model_dump(mode="json")
    except InvalidInput as error:
        raise InvalidInput(f"{step.name}: {error.message}", hint=hint) from error
    likely = {**made, **{name: known[name] for name in made.keys() & known.keys()}}
    try:
        return kind.model_validate(likely).model_dump(mode="json")
    except ValidationError:  # it was called the same, and is something else
        return made


def _object(step: StepDefinition, text: str) -> Json:
    if len(text.encode()) > MAX_PAYLOAD_BYTES:
        raise InvalidInput(f"{step.name}: an answer has {MAX_PAYLOAD_BYTES} bytes at most.")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(
            f"{step.name}: {text[:80]!r} is no JSON: {error}.", hint=_FORMS
        ) from error
    if not isinstance(data, dict):
        raise InvalidInput(f"{step.name}: {text[:80]!r} is no JSON object.", hint=_FORMS)
    return cast(Json, data)
