"""A verified saga definition: what the interpreter runs, made by `es_saga.core.verify`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

from pydantic import ValidationError

from es_saga.core.compiled_step import (
    Await,
    Bind,
    Condition,
    Fan,
    Join,
    Meaning,
    Nothing,
    Observed,
    OnNothing,
    OnUnknown,
    Opening,
    StepDefinition,
    StepKind,
    Told,
    UndoDefinition,
    UndoOrder,
    Way,
    misfits,
    shape_of,
    told_by,
)
from es_saga.core.correlation import Correlation
from es_saga.core.errors import InvalidInput
from es_saga.core.events import Json, SagaEvent
from es_saga.core.messages import (
    Command,
    Direction,
    Message,
    Outcome,
    names_of_each,
    of_each,
)
from es_saga.core.policy import OnFailedUndo
from es_saga.core.sensitive import sensitive_paths
from es_saga.core.state import SagaState, WorkStatus

C = TypeVar("C", bound=Command[Any])


@dataclass(frozen=True)
class Definition:
    """A verified saga definition: what the interpreter runs."""

    name: str
    version: int
    data: type[Message]
    steps: Mapping[str, StepDefinition]
    deadline: float | None
    on_failed_undo: OnFailedUndo
    undo_order: UndoOrder = "reverse"
    openings: Mapping[Told, Opening] = field(default_factory=dict[Told, Opening])
    """The events that begin it."""
    correlations: Mapping[Told, Correlation] = field(default_factory=dict[Told, Correlation])
    """Every event that is heard for its sagas, and how it names the one that it belongs to."""
    fans: Mapping[str, int] = field(default_factory=dict[str, int])
    """Steps over a list that were unfolded, and into how many; see `es_saga.core.unfolding`."""
    ways: tuple[tuple[str, int], ...] = ()
    """The save-points that were gone on from anew; likewise."""
    written: Definition | None = None
    """What it was before its lists were unfolded, or our rules put in the place of others."""
    decide: Callable[..., Sequence[SagaEvent]] | None = None
    """What stands in for our rules; see `es_saga.core.by_hand`."""

    @cached_property
    def pivot(self) -> str | None:
        """Name of the pivot, if there is one."""
        steps = self.steps.values()
        return next((s.name for s in steps if s.kind is StepKind.PIVOT and not s.past), None)

    @cached_property
    def shape(self) -> Json:
        """What makes two definitions the same: steps, kinds, edges, command names."""
        if self.written is not None:
            return self.written.shape
        shape: Json = {"name": self.name, "steps": [shape_of(one) for one in self.steps.values()]}
        if self.undo_order != "reverse":
            shape["undo_order"] = self.undo_order
        if self.decide is not None:
            shape["by_hand"] = True
        return shape

    @cached_property
    def conducted(self) -> bool:
        """Whether it asks anybody for anything: a choreography only watches."""
        return all(step.observed is None for step in self.steps.values())

    @cached_property
    def meanings(self) -> Mapping[Told, Meaning]:
        """What each event of a choreography tells."""
        found: dict[Told, Meaning] = {}
        for step in self.steps.values():
            if step.observed is None:
                continue
            seen = step.observed
            done = Meaning(step.name, Direction.DO, Outcome.SUCCEEDED)
            found[told_by(seen.done)] = done
            for event in seen.refused:
                found[told_by(event)] = done._replace(outcome=Outcome.REFUSED)
            if seen.undone is not None:
                undone = done._replace(direction=Direction.UNDO)
                found[told_by(seen.undone)] = undone
        return found

    def waits_for(self, message: str) -> StepDefinition | None:
        """The step that waits for a message of this name."""
        waits = (s for s in self.steps.values() if s.wait and s.wait.message and not s.past)
        return next((step for step in waits if step.asks == message), None)

    def wanted(self, step: StepDefinition, state: SagaState) -> bool:
        """Call the step's condition on what is known so far; without one, it is wanted.

        To make something final, if it was done.

        Raises:
            TypeError: it returned something else than a bool.
            Exception: whatever the condition raises.
        """
        if step.confirms is not None:
            return state.steps[step.confirms].do.status is WorkStatus.SUCCEEDED
        if step.when is None:
            return True
        data = self.data.model_validate(state.origin.data)
        found = step.when.fn(data, **self._bound(step.when.binds, state))
        if not isinstance(found, bool):
            raise TypeError(f"its condition returned {type(found).__name__}, not bool")
        return found

    @cached_property
    def by_our_rules(self) -> Definition:
        """The same without what stands in for them."""
        return replace(self, decide=None, written=self.written or self)

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of the shape's SHA-256."""
        canonical = json.dumps(self.shape, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    @cached_property
    def sensitive(self) -> Json:
        """Which fields of its messages are sensitive: what `SensitiveFields` is made of."""
        found: Json = {"input": sensitive_paths(self.data)}
        for step in self.steps.values():
            models = {
                "command": step.command,
                "reply": step.reply,
                "undo": step.undo.command if step.undo else None,
            }
            all_of_it = {what: sensitive_paths(model) for what, model in models.items() if model}
            own = {what: paths for what, paths in all_of_it.items() if paths}
            if own:
                found.setdefault("steps", {})[step.name] = own
            if step.wait is not None and "reply" in own:
                found.setdefault("signals", {})[step.asks] = own["reply"]
        return found if any(found.values()) else {}

    def check_input(self, data: object) -> Json:
        """The input as it goes into the log.

        Raises:
            InvalidInput: it does not fit the model.
        """
        try:
            return self.data.model_validate(data).model_dump(mode="json")
        except ValidationError as error:
            raise InvalidInput(
                f"The input of saga {self.name!r} does not fit {self.data.__name__}: "
                f"{misfits(error)}.",
                hint="Correct the input and start it again; nothing was written.",
            ) from error

    def next_steps(self, step: str) -> tuple[str, ...]:
        """The steps that wait for `step` directly (R018)."""
        return tuple(s.name for s in self.steps.values() if step in s.after)

    def previous_steps(self, step: str) -> tuple[str, ...]:
        """The steps that `step` waits for directly (R018)."""
        return self.steps[step].after

    def build_command(self, step: StepDefinition, state: SagaState) -> Command[Any]:
        """Call the step function on what is known so far.

        Raises:
            TypeError: it returned something else than its annotation says.
            Exception: whatever the function raises.
        """
        given = self._given(step, state)
        return _as_promised(step.fn(*given, **self._bound(step.binds, state)), step.command)

    def build_undo(self, step: StepDefinition, state: SagaState) -> Command[Any]:
        """Call the undo function; the step's own reply may be unknown. Raises as above."""
        undo = step.undo
        assert undo is not None
        arguments = self._bound(undo.binds, state)
        if undo.reply is not None:
            arguments[undo.reply] = self._one_reply(step.name, state)
        given = self._given(step, state)
        return _as_promised(undo.fn(*given, **arguments), undo.command)

    def items(self, step: StepDefinition, state: SagaState) -> Sequence[object]:
        """The list that a step goes over.

        Raises:
            TypeError: its function returned no list.
            ValueError: it is longer than was declared, or than it was when the step began.
            Exception: whatever the function raises.
        """
        assert step.each is not None, "it goes over a list"
        data = self.data.model_validate(state.origin.data)
        found = step.each.items(data, **self._bound(step.each.binds, state))
        if not isinstance(found, list | tuple):
            raise TypeError(f"its list is a {type(found).__name__}")
        if len(found) > step.each.most:
            raise ValueError(f"its list has {len(found)} items; most={step.each.most}")
        return found

    def _given(self, step: StepDefinition, state: SagaState) -> tuple[object, ...]:
        """What a step's functions are given first: the input, and its item of a list."""
        data = self.data.model_validate(state.origin.data)
        if step.item is None:
            return (data,)
        items, began = self.items(step, state), state.fans[of_each(step.name)]
        if len(items) != began:
            raise ValueError(f"its list has {len(items)} items, and had {began} when it began")
        return (data, items[step.item])

    def _bound(self, binds: tuple[Bind, ...], state: SagaState) -> dict[str, object]:
        return {bind.parameter: self._reply(bind.source, state) for bind in binds}

    def _reply(self, step: str, state: SagaState) -> Message | list[Message | None] | None:
        """What a step was answered; None: nothing, or a quorum is reached before it is over."""
        if step in self.fans:
            items = names_of_each(step, self.fans[step])
            if any(one not in state.steps or state.steps[one].do.open for one in items):
                return None
            return [self._one_reply(one, state) for one in items]
        if self.steps[step].each is not None:
            return [] if step in state.steps else None
        return self._one_reply(step, state)

    def _one_reply(self, step: str, state: SagaState) -> Message | None:
        own = state.steps.get(step)
        model, data = self.steps[step].reply, own and own.do.reply
        return None if model is None or data is None else model.model_validate(data)


def _as_promised(made: object, promised: type[C]) -> C:
    """The reply is read by the promised command's model, so nothing else may be sent."""
    if not isinstance(made, promised):
        raise TypeError(f"it returned {type(made).__name__}, not {promised.__name__}")
    return made


__all__ = [
    "Await",
    "Bind",
    "Condition",
    "Definition",
    "Fan",
    "Join",
    "Meaning",
    "Nothing",
    "Observed",
    "OnNothing",
    "OnUnknown",
    "Opening",
    "StepDefinition",
    "StepKind",
    "Told",
    "UndoDefinition",
    "UndoOrder",
    "Way",
    "misfits",
    "told_by",
]
