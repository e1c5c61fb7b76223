"""Every schedule of failures that a saga can meet, up to a bound, each judged by the laws.

`explore(saga)` drives the real core (`decide` and `evolve`) and model participants with the fence's
rules, cheapest first: fewest faults, then fewest moves. So the first counterexample is a shortest
one. In every situation it tries all that can happen next (`exploration.moves`): each command is
done, is refused, fails, or gets no answer; each answer comes, comes late, comes twice; each wait
ends; the operator cancels, and retries, waives or resolves what is stuck; the process manager
crashes between any two of these.

What "all laws hold" means. Situations that are the same to every future are explored once
(`exploration.identity`), and each *transition* between them is judged: the shortest history found
to its beginning, and the events it adds. So

- a law about the last events and how things stood before them (started, sent, answered, done,
  undone, given up, waived, stuck, closed) is checked for all schedules within the bounds, because
  how things stood is what situations are told apart by;
- a law about the way there (by how much waits grew, in which order independent branches went) is
  checked on these histories only: what it finds is real, its silence is no proof.

Steps are interchangeable if they wait for the same steps, are waited for by the same steps, and are
alike in kind, attempts, refusals and undo. Which of them is in which state makes no difference to a
law. Branches of several steps are not recognised as alike.

Not explored: two sagas at once and several managers (see the simulated world), participants that
lie, and data: the functions see one input, and one reply a step.

    >>> from es_saga import Command, Message, Saga
    >>> class Go(Message): ...
    >>> class Pay(Command[None]):
    ...     to = "till"
    >>> shop = Saga("shop", Go)
    >>> @shop.pivot
    ... def pay(go: Go) -> Pay:
    ...     return Pay()
    >>> bool(explore(shop))
    True
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from es_saga.core.compiled import Definition
from es_saga.core.definition import Saga
from es_saga.core.messages import Message
from es_saga.participant.kit import Participant
from es_saga.testing.examples import example
from es_saga.testing.exploration.bounds import Bounds
from es_saga.testing.exploration.counterexample import Counterexample
from es_saga.testing.exploration.explorer import Explorer, Outcome, Progress
from es_saga.testing.exploration.roles import Answers, answers_of
from es_saga.testing.exploration.watched import WatchedExplorer
from es_saga.testing.laws import LAWS, StoryLaw
from es_saga.testing.purity import Impurity, impurities


@dataclass(frozen=True, slots=True, kw_only=True)
class Exploration:
    """What was found. True where every law holds in all that was looked at."""

    saga: str
    states: int
    transitions: int
    outcomes: frozenset[Outcome]
    counterexample: Counterexample | None
    impurities: tuple[Impurity, ...]
    """Functions that are not pure. With any, nothing is explored: it would prove nothing."""
    complete: bool
    """Whether nothing within the bounds was left out."""
    laws: frozenset[str]
    """Numbers of the laws that had something to look at."""
    seconds: float

    def __bool__(self) -> bool:
        return self.counterexample is None and not self.impurities

    def __str__(self) -> str:
        if self.impurities:
            found = "\n".join(f"  {impurity}" for impurity in self.impurities)
            return f"{self.saga}: not explored, for its functions are not pure:\n{found}"
        if self.counterexample is not None:
            return str(self.counterexample)
        reached = f"{self.saga}: {self.states:,} states, {self.transitions:,} transitions"
        if not self.complete:
            return (
                f"{reached}, and that is not all of them: no law is broken so far. "
                f"Raise Bounds(states=…), or lower Bounds(faults=…)."
            )
        return f"{reached}, all laws hold ({len(self.laws)} applied, {self.seconds:.1f} s)"


def explore(
    saga: Saga[Any] | Definition,
    *,
    bounds: Bounds | None = None,
    data: Message | None = None,
    replies: Answers | None = None,
    participants: Iterable[Participant] = (),
    laws: Sequence[StoryLaw] = LAWS,
    child: bool = False,
    progress: Progress | None = None,
) -> Exploration:
    """Look for the shortest schedule that breaks a law.

    Args:
        bounds: how far to go.
        data: the saga's input; default: an example made from its model.
        replies: by step, what it answers; default: examples likewise.
        participants: they say which commands they never refuse, and what they refuse with; any
            other command may be refused.
        laws: those that judge.
        child: another saga runs it, and has it closed or undone.
        progress: called every few hundred situations.

    Raises:
        DefinitionError: the saga cannot be run.
        InvalidInput: no example of the input or of a reply could be made.
    """
    began = time.perf_counter()
    definition = saga.definition if isinstance(saga, Saga) else saga
    data = data if data is not None else example(definition.data)
    answers = answers_of(definition, replies or {})
    impure = impurities(definition, data=data, replies=answers) if definition.conducted else ()
    kind = Explorer if definition.conducted else WatchedExplorer
    explorer = kind(definition, bounds or Bounds(), data, answers, participants, laws, child=child)
    found = None if impure else explorer.search(progress)
    return Exploration(
        saga=definition.name,
        states=explorer.states,
        transitions=explorer.transition_count,
        outcomes=frozenset(explorer.outcomes),
        counterexample=found,
        impurities=impure,
        complete=explorer.complete and not impure,
        laws=frozenset(explorer.applied),
        seconds=time.perf_counter() - began,
    )


__all__ = ["Bounds", "Exploration", "Outcome", "explore"]
