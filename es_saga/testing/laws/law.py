"""What a law is: a number, a sentence, a condition, and a function that objects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from es_saga.core.events import SagaCompensated, SagaCompleted
from es_saga.testing.laws.reading import Reading

S = TypeVar("S")
F = TypeVar("F")


@dataclass(frozen=True, slots=True)
class Law(Generic[S, F]):
    """One law of the list: call it with what it looks at, and it yields what breaks it."""

    number: str
    """`L01` to `L75`."""
    name: str
    sentence: str
    """The law in one sentence; the source in brackets."""
    when: tuple[Callable[[S], object], ...]
    """It has something to look at where all of these say yes."""
    check: Callable[[S], Iterable[F]]

    def __call__(self, seen: S) -> Iterable[F]:
        return self.check(seen)

    @property
    def applies_when(self) -> str:
        """The condition in words."""
        return " ".join(condition.__doc__ or "" for condition in self.when) or "Always."

    def __str__(self) -> str:
        return f"{self.number} {self.sentence}"


def applicable(laws: Sequence[Law[S, F]], seen: S) -> list[Law[S, F]]:
    """Those that have something to look at; laws share conditions, and each is asked once."""
    conditions = {condition for law in laws for condition in law.when}
    fails = {condition for condition in conditions if not condition(seen)}
    return [law for law in laws if fails.isdisjoint(law.when)]


def law(
    number: str, *when: Callable[[S], object]
) -> Callable[[Callable[[S], Iterable[F]]], Law[S, F]]:
    """Make a law of a function: its docstring is the sentence."""

    def take(check: Callable[[S], Iterable[F]]) -> Law[S, F]:
        sentence = " ".join((check.__doc__ or "").split("\n\n")[0].split())
        return Law(number, check.__name__, sentence, when, check)

    return take


Found = tuple[int | None, str]
"""Index of the event that breaks a law, or None, and why."""

StoryLaw = Law[Reading, Found]


# ── when a law has something to look at ──────────────────────────────────────────────────────────


def begun(reading: Reading) -> object:
    """There is a history."""
    return reading.history


def closed(reading: Reading) -> object:
    """The saga is closed."""
    return reading.ends


def completed(reading: Reading) -> object:
    """It was closed as completed."""
    return isinstance(reading.end, SagaCompleted)


def compensated(reading: Reading) -> object:
    """It was closed as compensated, with exceptions or without."""
    return isinstance(reading.end, SagaCompensated)


def asked(reading: Reading) -> object:
    """A command was sent."""
    return reading.sendings


def answered(reading: Reading) -> object:
    """Something was answered, or timed out."""
    return reading.answers


def asked_again(reading: Reading) -> object:
    """Something was sent more than once."""
    return any(event.attempt > 1 for _, event, _ in reading.sendings)


def timed_out(reading: Reading) -> object:
    """A step stayed unanswered."""
    return any(deed.unanswered for deed in reading.do.values())


def undone(reading: Reading) -> object:
    """An undo was issued."""
    return any(deed.sendings for deed in reading.undo.values())


def turned_back(reading: Reading) -> object:
    """The saga was turned back."""
    return reading.turned or undone(reading)


def pivot_begun(reading: Reading) -> object:
    """The pivot was begun."""
    return reading.pivot is not None and reading.pivot.marks


def stuck(reading: Reading) -> object:
    """It came to need a human."""
    return reading.alarms


def operated(reading: Reading) -> object:
    """Somebody intervened."""
    return reading.operators


def effects_seen(reading: Reading) -> object:
    """The participants' effects were observed."""
    return reading.effects is not None


def commands_seen(reading: Reading) -> object:
    """The commands that were published were observed."""
    return reading.sent is not None
