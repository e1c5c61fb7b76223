"""A Hypothesis state machine over any saga, to be extended by rules and invariants of one's own.

    class Orders(SagaMachine):
        saga = order

        @invariant()
        def nobody_pays_twice(self) -> None:
            assert sum(one.step == "charge" for one in self.effects) <= 2

    TestOrders = Orders.TestCase

Each rule is one of all the things that can happen next: a command is done, refused, or fails; an
answer comes, late or again; a wait ends; an operator acts. The laws are invariants. Hypothesis
shrinks what fails towards the fewest faults and the fewest moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from es_saga.core.compiled import Definition
from es_saga.core.decide import react
from es_saga.core.definition import Saga
from es_saga.core.errors import SagaError
from es_saga.core.events import SagaEvent
from es_saga.core.inputs import Start
from es_saga.core.state import SagaState
from es_saga.participant.kit import Participant
from es_saga.testing.exploration.bounds import Bounds
from es_saga.testing.exploration.counterexample import Counterexample, Turn
from es_saga.testing.exploration.moves import Move, Situation, moves, note_asked
from es_saga.testing.exploration.roles import Answers, answers_of, roles_of
from es_saga.testing.exploration.services import Services
from es_saga.testing.laws import judge
from es_saga.testing.story import Effect, Story, Violation
from es_saga.testing.strategies import messages

SAGA_ID: Final = "saga-1"
NOON: Final = 43_200.0
"""When every run begins, in seconds since the epoch."""

MAX_MOVES_TO_END: Final = 500
"""After the last rule the world is fair; by then the saga has closed, or waits for a human."""

_ANY_NUMBER: Final = Bounds(faults=None)


class SagaMachine(RuleBasedStateMachine):
    """Say which `saga`; whatever else can be told is optional."""

    saga: ClassVar[Saga[Any]]
    participants: ClassVar[Sequence[Participant]] = ()
    """They say which refusals can come; any other command may be refused, too."""
    replies: ClassVar[Answers] = {}
    """By step: what it answers; what is not given is made up."""

    situation: Situation

    def __init__(self) -> None:
        super().__init__()
        self.definition: Definition = self.saga.definition
        self.history: list[SagaEvent] = []
        self._options: Sequence[Move] = ()
        """What can happen next, without faults first."""
        self._turns: list[Turn] = []
        self._judged = 0
        """Turns that the laws have seen."""
        self._faults = 0
        self._broken = False

    @property
    def state(self) -> SagaState:
        """The saga as it is now."""
        return self.situation.saga

    @property
    def effects(self) -> Sequence[Effect]:
        """What participants have done and undone, in order."""
        return self.situation.services.effects

    # ── rules ────────────────────────────────────────────────────────────────────────────────────

    @initialize(data=st.data())
    def start(self, data: st.DataObject) -> None:
        """The saga starts, with any input that its model allows."""
        given = data.draw(messages(self.definition.data), label="input")
        answers = answers_of(self.definition, self.replies)
        self._roles = roles_of(self.definition, given, answers, self.participants)
        beginning = Start(SAGA_ID, given.model_dump(mode="json"), message_id="start")
        events, saga = react(self.definition, None, beginning, NOON)
        asked = note_asked({}, events, saga, self._roles)
        self._note("the saga starts", events, Situation(saga, Services(), NOON, asked))

    @precondition(lambda self: bool(self._options))
    @rule(data=st.data())
    def happen(self, data: st.DataObject) -> None:
        """One of all the things that can happen next."""
        place = data.draw(st.integers(0, len(self._options) - 1), label="which")
        self._move(self._options[place])

    @invariant()
    def no_law_is_broken(self) -> None:
        """The laws, of what has happened so far."""
        if self._judged == len(self._turns):
            return
        self._judged = len(self._turns)
        story = Story(self.definition, SAGA_ID, self.history, self.effects)
        for violation in judge(story).violations:
            self._fail(violation)

    def teardown(self) -> None:
        """Whatever has happened: in a fair world it ends, or a human is asked (law L53)."""
        if self._broken or not self.history:
            return
        for _ in range(MAX_MOVES_TO_END):
            if self.state.closed is not None or self.state.stuck is not None:
                break
            if not self._options or self._options[0].faults:
                self._fail(Violation("L53", SAGA_ID, None, "it is open, and nothing will happen"))
            self._move(self._options[0])
        self.no_law_is_broken()
        if self.state.closed is None and self.state.stuck is None:
            self._fail(Violation("L53", SAGA_ID, None, "it goes on and on, and comes to no end"))

    # ── what they do ─────────────────────────────────────────────────────────────────────────────

    def _move(self, move: Move) -> None:
        saga, services, now, asked = move.before
        events: Sequence[SagaEvent] = ()
        if move.input is not None:
            try:
                events, saga = react(self.definition, saga, move.input, now)
            except SagaError as refused:
                note(f"{move.what}: {refused}")
                return
        self._faults += move.faults
        asked = note_asked(asked, events, saga, self._roles)
        self._note(move.what, events, Situation(saga, services, now, asked))

    def _note(self, what: str, events: Sequence[SagaEvent], after: Situation) -> None:
        before = len(self.effects) if self.history else 0
        note(what)
        self.situation = after
        following = moves(after, self._roles, _ANY_NUMBER)
        self._options = sorted(following, key=lambda move: move.faults)
        self.history += events
        self._turns.append(Turn(what, tuple(events), tuple(self.effects[before:])))

    def _fail(self, violation: Violation) -> None:
        self._broken = True
        told = Counterexample(self.definition, violation, self._turns, self._faults)
        raise AssertionError(str(told))
