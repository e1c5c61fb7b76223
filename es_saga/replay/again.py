"""Deciding again: whether today's code takes the decisions that a history tells of (law L51).

Every reaction's input is made out from the events it led to, and given to `react` at the time that
stands in them. Nothing is written and nothing is sent.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any, Final, NamedTuple, TypeGuard, cast

from es_saga.core.compiled import Definition
from es_saga.core.decide import Decided, react
from es_saga.core.errors import InvalidInput, SagaError
from es_saga.core.events import CompensationFailed, Json, SagaEvent, SagaStuck, StepFailed
from es_saga.core.inputs import Input, Reply
from es_saga.core.messages import Outcome
from es_saga.core.sensitive import SensitiveFields
from es_saga.core.state import SagaState
from es_saga.replay.changes import NOTHING, Change, changes_of_json, told
from es_saga.replay.reactions import Reaction
from es_saga.replay.replaying import Replay

NEVER: Final = -1.0
"""How a participant says that it need not be asked again."""

_TRACES: Final[dict[type[SagaEvent], frozenset[str]]] = {SagaStuck: frozenset({"detail"})}
"""Fields that tell where code stands, not what it decides."""


class Divergence(NamedTuple):
    """Where today's code first decides otherwise."""

    version: int
    """Number of the event, counted from 1."""
    what: str
    """What was decided on."""
    recorded: SagaEvent | None
    """What the history has; None: it ends here."""
    today: SagaEvent | None
    """What today's code decides; None: nothing."""
    changes: tuple[Change, ...] = ()
    """Where both are events of one kind: fields that differ, from the history to today."""
    why: str = ""
    """Why today's code decides nothing, where it says."""

    def __str__(self) -> str:
        lines = [f"event {self.version} ({self.what}): the history has {name_of(self.recorded)}, "]
        lines[0] += f"today's code decides {name_of(self.today)}{self.why and f': {self.why}'}"
        lines += [
            f"  {change.path}: {told(change.before)} in the history, {told(change.after)} today"
            for change in self.changes
        ]
        return "\n".join(lines)

    def hiding(self, fields: SensitiveFields) -> Divergence:
        """The same with sensitive values hidden."""
        recorded = self.recorded and fields.event(self.recorded)
        today = self.today and fields.event(self.today)
        changes = tuple(
            change._replace(before=_at(recorded, change.path), after=_at(today, change.path))
            for change in self.changes
        )
        return self._replace(recorded=recorded, today=today, changes=changes)


def _at(event: SagaEvent | None, path: str) -> Any:
    """What stands at a path; what is hidden as a whole hides what is in it."""
    value: Any = None if event is None else event.model_dump(mode="json")
    for name in path.split("."):
        if not isinstance(value, dict):
            return value
        value = cast(Json, value).get(name)
    return value


class Again(NamedTuple):
    """A history, decided again as far as it goes the same way."""

    inputs: tuple[Input, ...]
    """What was decided on, reaction by reaction."""
    version: int
    """So many events were decided again."""
    assumed: tuple[str, ...]
    """What the history does not say, and what must have been for it to be right."""
    divergence: Divergence | None


def diverges(definition: Definition, replay: Replay) -> Divergence | None:
    """The first event that today's code decides otherwise; None: it decides everything again.

    How long a participant asked to wait after a failure is not in the log. Where a wait is longer
    than the policy's, or none follows, it is taken for the participant's wish; see `decide_again`.

    Raises:
        InvalidInput: the history is of another saga type, or of another version of it.
    """
    return decide_again(definition, replay).divergence


def decide_again(definition: Definition, replay: Replay) -> Again:
    """Like `diverges`, with what else was found out."""
    check_version(definition, replay)
    inputs: list[Input] = []
    assumed: list[str] = []
    done = 0
    while done < len(replay):
        tried = _reaction_again(definition, replay, done)
        if isinstance(tried, Divergence):
            return Again(tuple(inputs), done, tuple(assumed), tried)
        inputs.append(tried.input)
        if tried.assumption:
            assumed.append(f"event {done + 1}: {tried.assumption}")
        done += tried.events
    return Again(tuple(inputs), done, tuple(assumed), None)


def check_version(definition: Definition, replay: Replay) -> None:
    """A history is read by the version that it began with.

    Raises:
        InvalidInput: this is another one.
    """
    origin = replay.state.origin
    if (origin.saga_type, origin.definition) != (definition.name, definition.version):
        raise InvalidInput(
            f"Saga {replay.saga_id} began with {origin.saga_type} v{origin.definition}; "
            f"this is {definition.name} v{definition.version}.",
            hint="Keep the old version in the app for as long as its sagas matter.",
        )


# ── one reaction ─────────────────────────────────────────────────────────────────────────────────


class _Same(NamedTuple):
    """A reaction that today's code decides as the history has it."""

    input: Input
    events: int
    assumption: str


def _reaction_again(definition: Definition, replay: Replay, done: int) -> _Same | Divergence:
    reaction = replay.at(done + 1).reaction
    recorded = replay.events[done:]
    if reaction.first != done + 1:  # today's code stopped short of its end
        return Divergence(done + 1, reaction.what, recorded[0], None)
    if reaction.input is None:
        why = "nothing in this release leads to it"
        return Divergence(done + 1, reaction.what, recorded[0], None, why=why)
    state = replay.state_at(done)
    try:
        given, decided, assumption = _decided(definition, state, reaction, recorded[0])
    except SagaError as error:
        return Divergence(done + 1, reaction.what, recorded[0], None, why=error.message)
    divergence = _compared(reaction, recorded, decided.events)
    return divergence or _Same(given, len(decided.events), assumption)


def _decided(
    definition: Definition, state: SagaState | None, reaction: Reaction, recorded: SagaEvent
) -> tuple[Input, Decided, str]:
    """What the input leads to today, and what had to be assumed of it."""
    given = reaction.input
    assert given is not None, "it is known"
    decided = react(definition, state, given, reaction.at)
    today = decided.events[0] if decided.events else None
    if not (isinstance(given, Reply) and given.outcome is Outcome.FAILED and _failed(today)):
        return given, decided, ""
    assert isinstance(recorded, StepFailed | CompensationFailed), "a failure became of it"
    for wish, assumption in _wishes(recorded, today.retry_at):
        wished = given._replace(retry_after=wish)
        again = react(definition, state, wished, reaction.at)
        if again.events[0] == recorded:
            return wished, again, assumption
    return given, decided, ""


def _failed(event: SagaEvent | None) -> TypeGuard[StepFailed | CompensationFailed]:
    return isinstance(event, StepFailed | CompensationFailed)


def _wishes(
    recorded: StepFailed | CompensationFailed, today: float | None
) -> Iterator[tuple[float, str]]:
    """What the participant may have asked for, where the policy alone would wait less, or wait."""
    if today is None or recorded.retry_at == today:
        return
    if recorded.retry_at is None:
        yield NEVER, f"who served {recorded.step} asked never to be asked again"
    elif recorded.retry_at > today:
        wait = recorded.retry_at - recorded.at
        assumption = f"who served {recorded.step} asked to wait {wait:g} s"
        # A difference of two floats need not add up again: the nearest ones are tried, too.
        near = (math.nextafter(wait, math.inf), math.nextafter(wait, 0.0))
        for wish in (wait, *(round(wait, digits) for digits in (9, 6, 3)), *near):
            yield wish, assumption


def _compared(
    reaction: Reaction, recorded: Sequence[SagaEvent], today: Sequence[SagaEvent]
) -> Divergence | None:
    """The first event that is not the same."""
    if not today:
        return Divergence(reaction.first, reaction.what, recorded[0], None)
    for number, (had, have) in enumerate(
        zip_longest(recorded[: len(today)], today), reaction.first
    ):
        differing = tuple(_differing(had, have)) if type(had) is type(have) else ()
        if type(had) is not type(have) or differing:
            return Divergence(number, reaction.what, had, have, differing)
    return None


def differ(recorded: SagaEvent, today: SagaEvent) -> bool:
    """Whether two events say different things; where code stands that raised makes none."""
    return type(recorded) is not type(today) or any(_differing(recorded, today))


def _differing(recorded: SagaEvent | None, today: SagaEvent | None) -> Iterator[Change]:
    """Where two events of one kind say different things; objects are looked into."""
    if recorded is None or today is None or recorded == today:
        return
    silent = _TRACES.get(type(recorded), frozenset[str]())
    before, after = recorded.model_dump(mode="json"), today.model_dump(mode="json")
    for name in before:
        if name not in silent:
            yield from changes_of_json(before[name], after[name], name)


def name_of(event: SagaEvent | None) -> str:
    """An event in a sentence: its kind, and the step it is about."""
    if event is None:
        return NOTHING
    step: str | None = getattr(event, "step", None)
    return f"{type(event).__name__}({step})" if step else type(event).__name__
