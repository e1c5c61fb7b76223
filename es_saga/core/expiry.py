"""Expiry: whether what is held can be outlasted by the saga that has it held.

A hold that expires before all holds of its `Tcc` can be answered is a fault of the definition.
Where another saga runs the `Tcc`, nothing is confirmed until that one ends; if a hold may not live
so long, `es-saga check` warns.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from es_saga.core.compiled import Definition, StepDefinition
from es_saga.core.policy import Retry


def longest(retry: Retry, timeout: float) -> float:
    """Seconds until work is answered or given up, at the longest.

    What a participant asks for by `retry_after` comes on top: nobody knows it before.
    """
    if retry.attempts is None:
        return float("inf")
    if retry.faults():
        return 0.0  # told by themselves
    stretched = replace(retry, first=retry.first * (1 + retry.jitter), jitter=0)
    stretched = replace(stretched, maximum=retry.maximum * (1 + retry.jitter))
    waits = (stretched.wait("", attempt) for attempt in range(1, retry.attempts))
    return retry.attempts * timeout + sum(waits)


def longest_way(
    seconds: Mapping[str, float],
    after: Mapping[str, Collection[str]],
    done: Collection[str] = (),
) -> float:
    """Seconds until all steps are over, at the longest.

    Args:
        seconds: how long each may take.
        after: for each, those that it comes after.
        done: those that are over already.
    """
    ends: dict[str, float] = {}

    def end(name: str) -> float:
        if name not in ends:
            ends[name] = 0.0  # on a cycle, which is a fault by itself
            waits = (end(other) for other in after[name] if other not in done)
            ends[name] = max(waits, default=0.0) + seconds[name]
        return ends[name]

    return max(end(name) for name in seconds if name not in done)


def short_lived(definition: Definition) -> Iterator[str]:
    """A warning for each hold of a child that may expire before its parent ends."""
    for step in definition.steps.values():
        for saga, hold, expires in _held_for(step):
            whole = _longest(definition, step.ancestors)
            if expires <= whole:
                takes = "as long as it takes" if whole == float("inf") else f"{whole:g} s"
                yield (
                    f"step {step.name!r} has {hold!r} of {saga!r} held, which expires after "
                    f"{expires:g} s and is confirmed at the very end: that may take {takes}. "
                    "Let it live longer than any outage, or place what takes long outside."
                )


def _longest(definition: Definition, done: Collection[str] = ()) -> float:
    """Seconds until what a saga holds can be made final, at the longest."""
    steps = {name: step for name, step in definition.steps.items() if step.confirms is None}
    # A child is asked for as long as it takes; how long that is follows from its own steps.
    seconds = {
        name: longest(step.retry, step.timeout) if step.child is None else _longest(step.child)
        for name, step in steps.items()
    }
    return longest_way(seconds, {name: step.after for name, step in steps.items()}, done)


def _held_for(step: StepDefinition) -> Iterator[tuple[str, str, float]]:
    """What is held until a saga that runs this step ends: saga, hold, seconds it is kept."""
    if step.child is None or step.undo is None:
        return
    for inner in step.child.steps.values():
        if inner.expires is not None:
            yield step.child.name, inner.name, inner.expires
        yield from _held_for(inner)
