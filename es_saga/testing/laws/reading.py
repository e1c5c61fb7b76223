"""What laws ask of a history: it is read once, for all of them together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

from es_saga.core.aggregate import evolve, start
from es_saga.core.compiled import StepKind
from es_saga.core.errors import CorruptHistory
from es_saga.core.events import (
    OperatorResolved,
    OperatorSkipped,
    Parent,
    SagaCompensated,
    SagaCompleted,
    SagaStarted,
)
from es_saga.core.messages import Direction, Envelope
from es_saga.core.policy import OnFailedUndo
from es_saga.core.state import SagaState, WorkStatus
from es_saga.core.unfolding import as_it_went
from es_saga.testing.laws.deed import Deed, Mark
from es_saga.testing.laws.notes import Notes
from es_saga.testing.story import Effect, Story


class Reading(Notes):
    """A story, ready to be judged."""

    def __init__(self, story: Story) -> None:
        super().__init__(as_it_went(story.definition, story.history), story.history)
        self.saga_id = story.saga_id
        self._story = story

    @property
    def length(self) -> int:
        """The number of events, and the index after the last one."""
        return len(self.history)

    @property
    def deeds(self) -> Iterator[Deed]:
        """All work, forward and back."""
        yield from self.do.values()
        yield from self.undo.values()

    @property
    def parent(self) -> Parent | None:
        """The step of another saga that it was begun by."""
        return self.started[0][1].parent if self.started else None

    @property
    def closed(self) -> int | None:
        """The first closing event."""
        return self.ends[0][0] if self.ends else None

    @property
    def end(self) -> SagaCompleted | SagaCompensated | None:
        """How it was closed."""
        return self.ends[0][1] if self.ends else None

    @property
    def first_undos(self) -> Iterator[tuple[int, Deed]]:
        """The first sending of each undo."""
        for deed in self.undo.values():
            if deed.sendings:
                yield deed.sendings[0][0], deed

    def held_before(self, index: int) -> bool:
        """Whether all its steps were done by then, and its parent had not decided."""
        return any(begin < index for begin in self.held) and not any(
            decided < index for decided, _ in self.decided
        )

    def pivots_at(self, index: int) -> Iterator[Mark]:
        """How the pivot stood when that event came, if it had begun on the way taken then."""
        for name, deed in self.do.items():
            mark = deed.before(index)
            pivot = deed.step.kind is StepKind.PIVOT
            if pivot and mark is not None and not self.went_past(name, index):
                yield mark

    def takes_back(self, name: str, index: int) -> bool:
        """Whether the saga was on a way back, when that event came, that takes this step back."""
        back = self.back_at(index)
        return back is not None and (
            back.back_to is None or back.back_to in self.definition.steps[name].ancestors
        )

    def stuck_before(self, index: int) -> bool:
        """Whether it took a human when that event came."""
        return any(begin < index and (end is None or index <= end) for begin, _, end in self.stuck)

    def owed(self, name: str, index: int) -> bool:
        """Whether a step would have to be undone when that event came."""
        deed = self.do[name]
        return deed.step.undo is not None and deed.maybe(index)

    def dependents(self, name: str) -> Iterator[str]:
        """The steps that come after this one, directly or not, and are undone before it."""
        if self.definition.undo_order == "parallel":
            return
        for other, step in self.definition.steps.items():
            if name in step.ancestors:
                yield other

    def overtook(self, step: str, dependent: str) -> bool:
        """Whether an undo was issued because that of a dependent step had been given up.

        Policies A and C go on (R037, R039), so an operator may still have the other one done later.
        """
        issued = self.undo[step].begun
        if issued is None or self.definition.on_failed_undo is OnFailedUndo.HALT:
            return False
        return self.undo[dependent].status(issued) in (WorkStatus.FAILED, WorkStatus.REFUSED)

    @cached_property
    def excused(self) -> frozenset[str]:
        """Steps whose undo the saga says it owes, and those a human settled or waived.

        And holds whose confirm was: what nobody confirms expires at its participant.
        """
        by_hand = {
            e.step for _, e in self.operators if isinstance(e, OperatorResolved | OperatorSkipped)
        }
        by_hand |= {
            deed.step.confirms
            for name, deed in self.do.items()
            if name in by_hand and deed.step.confirms is not None
        }
        exceptions = self.end.exceptions if isinstance(self.end, SagaCompensated) else ()
        return frozenset(by_hand | {exception.step for exception in exceptions})

    @cached_property
    def changing(self) -> Sequence[str]:
        """Steps whose effects can be held against the saga: no checks, and none excused."""
        return [
            name
            for name, deed in self.do.items()
            if deed.step.kind not in (StepKind.CHECK, StepKind.WAIT) and name not in self.excused
        ]

    @cached_property
    def waits(self) -> frozenset[str]:
        """Steps that ask nobody."""
        return frozenset(name for name, deed in self.do.items() if deed.step.wait is not None)

    @cached_property
    def effects(self) -> Mapping[tuple[str, Direction], Sequence[tuple[int, Effect]]] | None:
        """This saga's effects by step and direction, numbered in the order of their commits."""
        if self._story.effects is None:
            return None
        found: dict[tuple[str, Direction], list[tuple[int, Effect]]] = {}
        for number, effect in enumerate(self._story.effects):
            if effect.saga_id == self.saga_id:
                found.setdefault((effect.step, effect.direction), []).append((number, effect))
        return found

    def effects_of(self, step: str, direction: Direction) -> Sequence[tuple[int, Effect]]:
        """The effects of one direction of one step; none where they were not observed."""
        return (self.effects or {}).get((step, direction), ())

    def net(self, step: str) -> int:
        """How often a step took effect, less how often it was undone."""
        return len(self.effects_of(step, Direction.DO)) - len(self.effects_of(step, Direction.UNDO))

    @cached_property
    def sent(self) -> Sequence[Envelope] | None:
        """This saga's commands, as they were published."""
        sent = self._story.sent
        if sent is None:
            return None
        return [one for one in sent if one.sagaid == self.saga_id and one.commandid is not None]

    @cached_property
    def states(self) -> tuple[list[SagaState], CorruptHistory | None]:
        """The state after each event, as far as the history can be folded, and what stopped it."""
        states: list[SagaState] = []
        first = self.history[0] if self.history else None
        if not isinstance(first, SagaStarted):
            return states, CorruptHistory(f"{type(first).__name__} begins no saga.")
        states.append(start(self.saga_id, first))
        try:
            for event in self.history[1:]:
                states.append(evolve(states[-1], event))
        except CorruptHistory as error:
            return states, error
        return states, None
