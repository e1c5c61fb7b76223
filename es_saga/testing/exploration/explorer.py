"""The search behind `explore`: a graph of situations, cheapest first, each transition judged."""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from es_saga.core.compiled import Definition
from es_saga.core.decide import react
from es_saga.core.errors import CorruptHistory, SagaError
from es_saga.core.events import SagaEvent, SagaStuck, StepRefused
from es_saga.core.inputs import Input, Start
from es_saga.core.messages import Direction, Message
from es_saga.core.state import SagaStatus
from es_saga.participant.kit import Participant
from es_saga.testing.belonging import parent_of
from es_saga.testing.exploration.bounds import Bounds
from es_saga.testing.exploration.counterexample import Counterexample, Turn
from es_saga.testing.exploration.identity import Identity, Key
from es_saga.testing.exploration.moves import Move, Situation, moves, note_asked
from es_saga.testing.exploration.roles import Answers, cut_short, foreseen, roles_of
from es_saga.testing.exploration.services import Services
from es_saga.testing.laws import LAWS, StoryLaw, judge
from es_saga.testing.story import Story, Violation

SAGA_ID = "saga-1"
NOON = 43_200.0
"""When every exploration begins, in seconds since the epoch."""

REPORT_EVERY = 100
"""Situations between two calls of `progress`."""

LAWS_OF_FOLDS = frozenset({"L38", "L40", "L52"})
"""They fold a history, and cost as much as all others together: they are judged once it has come to
its end. An event that does not fit is noticed at once all the same, for it stops the core."""

Progress = Callable[[int, int], None]
"""Is told how many situations are explored, and how many of those found still wait."""


class Outcome(NamedTuple):
    """How a saga can end, or rest until a human comes."""

    status: SagaStatus
    lasting: frozenset[str]
    """Steps that were done and not undone."""


class Transition(NamedTuple):
    """One edge of the graph: from, to, and the effect that it has, `create/do`, or ""."""

    source: int
    target: int
    effect: str


class _Node:
    """A situation that was reached, and how."""

    __slots__ = ("depth", "events", "faults", "index", "key", "parent", "situation", "what")

    def __init__(
        self,
        situation: Situation,
        what: str,
        events: tuple[SagaEvent, ...],
        faults: int,
        parent: _Node | None = None,
    ) -> None:
        self.situation = situation
        self.what = what
        self.events = events
        self.faults = faults
        self.parent = parent
        self.depth: int = parent.depth + 1 if parent else 0
        self.key: Key = ()
        self.index = -1

    def way(self) -> list[_Node]:
        """The nodes from the start to this one."""
        node: _Node | None = self
        nodes: list[_Node] = []
        while node is not None:
            nodes.append(node)
            node = node.parent
        return nodes[::-1]

    def history(self) -> tuple[SagaEvent, ...]:
        return tuple(event for node in self.way() for event in node.events)


class Explorer:
    """One exploration; afterwards the graph of what was reached can be read from it."""

    def __init__(
        self,
        definition: Definition,
        bounds: Bounds,
        data: Message,
        answers: Answers,
        participants: Iterable[Participant],
        laws: Sequence[StoryLaw] = LAWS,
        *,
        child: bool = False,
    ) -> None:
        self.definition = cut_short(definition, bounds.attempts)
        self.parent = parent_of(definition) if child else None
        self.bounds = bounds
        self.data = data
        whole = foreseen(self.definition, data, answers)
        self.roles = roles_of(whole, data, answers, participants)
        self.outcomes: set[Outcome] = set()
        self.applied: set[str] = set()
        self._of_ends = laws
        self._laws = [law for law in laws if law.number not in LAWS_OF_FOLDS]
        self._identity = Identity(self.roles, symmetry=bounds.symmetry)
        self._best: dict[Key, _Node] = {}
        self._nodes: list[_Node] = []
        self._waiting: list[tuple[int, int, int, _Node | Counterexample]] = []
        self._pushed = 0
        self._sources, self._targets = array("L"), array("L")
        self._effects: list[str] = []

    @property
    def states(self) -> int:
        """Situations found."""
        return len(self._nodes)

    @property
    def transition_count(self) -> int:
        """Ways between them, those to situations known already included."""
        return len(self._sources)

    @property
    def complete(self) -> bool:
        """Whether nothing is left to explore."""
        return not self._waiting

    def transitions(self) -> Iterator[Transition]:
        """The graph; situation 0 is the beginning."""
        return map(Transition, self._sources, self._targets, self._effects)

    def closed(self) -> dict[int, SagaStatus]:
        """The situations in which the saga is closed."""
        sagas = ((node.index, node.situation.saga) for node in self._nodes)
        return {index: saga.status for index, saga in sagas if saga.closed is not None}

    # ── the search ───────────────────────────────────────────────────────────────────────────────

    def search(self, progress: Progress | None = None) -> Counterexample | None:
        """Explore until a law breaks, nothing is left, or the bound is reached."""
        self._begin()
        explored = 0
        while self._waiting:
            node = self._waiting[0][-1]
            if isinstance(node, Counterexample):
                return node
            if len(self._nodes) >= self.bounds.states:
                return None
            heapq.heappop(self._waiting)
            if self._nodes[node.index] is not node:
                continue  # a shorter way was found meanwhile, and explored
            self._expand(node)
            explored += 1
            if progress is not None and explored % REPORT_EVERY == 0:
                progress(explored, len(self._waiting))
        return self._trapped()

    def _begin(self) -> None:
        beginning, services = self._begin_with()
        events, saga = react(self.definition, None, beginning, NOON)
        asked = note_asked({}, events, saga, self.roles)
        after = Situation(saga, services, NOON, asked)
        node = _Node(after, "the saga starts", tuple(events), 0)
        self._arrive(node, node.events)

    def _begin_with(self) -> tuple[Input, Services]:
        """What begins the saga, and what its participants have done by then."""
        data = self.data.model_dump(mode="json")
        return Start(SAGA_ID, data, message_id="start", parent=self.parent), Services()

    def _moves(self, situation: Situation) -> Iterator[Move]:
        """All that can happen next."""
        return moves(situation, self.roles, self.bounds)

    def _key(self, situation: Situation) -> Key:
        """What a situation is told apart by."""
        return self._identity(situation)

    def _expand(self, node: _Node) -> None:
        history, most = node.history(), self.bounds.faults
        for move in self._moves(node.situation):
            faults = node.faults + move.faults
            if most is not None and faults > most:
                continue
            child = self._make(node, move, faults)
            if child is not None:
                self._arrive(child, history + child.events)

    def _make(self, node: _Node, move: Move, faults: int) -> _Node | None:
        """Where a move leads; None where it is not allowed, or changes nothing."""
        saga, services, now, asked = move.before
        events: list[SagaEvent] = []
        if move.input is not None:
            try:
                events, saga = react(self.definition, saga, move.input, now)
            except CorruptHistory as error:
                broken = _Node(node.situation, move.what, (), faults, node)
                self._found(broken, Violation("L38", SAGA_ID, None, error.message))
                return None
            except SagaError:
                return None
        if not events and services is node.situation.services:
            return None
        asked = note_asked(asked, events, saga, self.roles)
        after = Situation(saga, services, now, asked)
        return _Node(after, move.what, tuple(events), faults, node)

    def _arrive(self, node: _Node, history: tuple[SagaEvent, ...]) -> None:
        violation = self._judge(node, history)
        if violation is not None:
            self._found(node, violation)
            return
        node.key = self._key(node.situation)
        known = self._best.get(node.key)
        if known is None:
            node.index = len(self._nodes)
            self._nodes.append(node)
            self._note_outcome(node.situation)
        else:
            node.index = known.index
        if node.parent is not None:
            self._sources.append(node.parent.index)
            self._targets.append(node.index)
            self._effects.append(_effect(node.parent.situation.services, node.situation.services))
        if known is None or (node.faults, node.depth) < (known.faults, known.depth):
            self._best[node.key] = self._nodes[node.index] = node
            self._push(node.faults, node.depth, node)

    def _push(self, faults: int, depth: int, found: _Node | Counterexample) -> None:
        self._pushed += 1
        heapq.heappush(self._waiting, (faults, depth, self._pushed, found))

    def _found(self, node: _Node, violation: Violation) -> None:
        """It waits with the others, so that the one with fewest faults comes out first."""
        self._push(node.faults, node.depth, self._counterexample(node, violation))

    def _counterexample(self, node: _Node, violation: Violation) -> Counterexample:
        way = node.way()
        before = [Services(), *(one.situation.services for one in way)]
        turns = tuple(
            Turn(one.what, one.events, one.situation.services.effects[len(last.effects) :])
            for last, one in zip(before, way, strict=False)
        )
        return Counterexample(self.definition, violation, turns, node.faults)

    def _note_outcome(self, situation: Situation) -> None:
        saga = situation.saga
        if saga.closed is None and saga.stuck is None:
            return
        effects = situation.services.effects
        done = {effect.step for effect in effects if effect.direction is Direction.DO}
        undone = {effect.step for effect in effects if effect.direction is Direction.UNDO}
        self.outcomes.add(Outcome(saga.status, frozenset(done - undone)))

    # ── what may be wrong ────────────────────────────────────────────────────────────────────────

    def _judge(self, node: _Node, history: tuple[SagaEvent, ...]) -> Violation | None:
        situation, parent = node.situation, node.parent
        effects = situation.services.effects
        if not node.events and parent and effects == parent.situation.services.effects:
            return None  # somebody made up their mind: there is nothing to see yet
        laws = self._of_ends if situation.saga.closed is not None else self._laws
        judgement = judge(Story(self.definition, SAGA_ID, history, effects), laws)
        self.applied |= judgement.applied
        if judgement.violations:
            return judgement.violations[0]
        before = len(history) - len(node.events)
        return self._shortcoming(situation, enumerate(node.events, before + 1))

    def _shortcoming(
        self, situation: Situation, events: Iterable[tuple[int, SagaEvent]]
    ) -> Violation | None:
        """What no history shows by itself: it is known from the definition and the participants."""
        saga = situation.saga
        for number, event in events:
            if isinstance(event, SagaStuck) and event.detail:
                why = f"{event.why}: it would again, so the saga never ends"
                return Violation("L53", SAGA_ID, number, why)
            if isinstance(event, StepRefused):
                role = self.roles[event.step]
                if role.step.after_pivot and role.told:
                    why = (
                        f"{event.step} comes after the pivot {self.definition.pivot}, where "
                        f"nothing may be refused, but {role.service} may answer "
                        f"{event.refusal_type}: the saga can go neither on nor back"
                    )
                    return Violation("L11", SAGA_ID, number, why)
        rests = saga.stuck is not None or saga.held
        if saga.closed is None and not rests and saga.next_due is None:
            return Violation("L53", SAGA_ID, saga.version, "it is open, and nothing will happen")
        return None

    def _trapped(self) -> Counterexample | None:
        """The first situation from which nothing leads to an end, nor to a human (law L53)."""
        ways: list[list[int]] = [[] for _ in self._nodes]
        for source, target in zip(self._sources, self._targets, strict=True):
            ways[target].append(source)
        good = [
            node.index
            for node in self._nodes
            if node.situation.saga.closed is not None or node.situation.saga.stuck is not None
        ]
        ends = set(good)
        while good:
            for source in ways[good.pop()]:
                if source not in ends:
                    ends.add(source)
                    good.append(source)
        trapped = [node for node in self._nodes if node.index not in ends]
        if not trapped:
            return None
        first = min(trapped, key=lambda node: (node.faults, node.depth))
        violation = Violation("L53", SAGA_ID, None, "from here the saga can never end")
        return self._counterexample(first, violation)


def _effect(before: Services, after: Services) -> str:
    if len(after.effects) == len(before.effects):
        return ""
    effect = after.effects[-1]
    return f"{effect.step}/{effect.direction}"
