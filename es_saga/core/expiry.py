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


def longest_from(
    step: str,
    after: Mapping[str, Collection[str]],
    before: Collection[str],
    seconds: Mapping[str, float],
) -> float:
    """Seconds from when `step` is asked for until all steps are over, at the longest.

    Args:
        after: for each step, those that it comes after.
        before: all that `step` comes after, however far before it.
        seconds: how long each may take.
    """
    ends: dict[str, float] = {}

    def end(name: str) -> float:
        if name not in ends:
            ends[name] = 0.0  # on a cycle, which is a fault by itself
            waits = (end(other) for other in after[name] if other not in before)
            ends[name] = max(waits, default=0.0) + seconds[name]
        return ends[name]

    return max(end(name) for name in seconds if name not in before)


def short_lived(definition: Definition) -> Iterator[str]:
    """A warning for each hold of a child that may expire before its parent ends."""
    steps = {name: step for name, step in definition.steps.items() if step.confirms is None}
    seconds = {name: longest(step.retry, step.timeout) for name, step in steps.items()}
    after = {name: step.after for name, step in steps.items()}
    for name, step in steps.items():
        whole = longest_from(name, after, step.ancestors, seconds)
        for saga, hold, expires in _held_for(step):
            if expires <= whole:
                takes = "as long as it takes" if whole == float("inf") else f"{whole:g} s"
                yield (
                    f"step {name!r} has {hold!r} of {saga!r} held, which expires after {expires:g} "
                    f"s and is confirmed at the very end: that may take {takes}. Let it live longer"
                    " than any outage, or place what takes long outside."
                )


def _held_for(step: StepDefinition) -> Iterator[tuple[str, str, float]]:
    """What is held until a saga that runs this step ends: saga, hold, seconds it is kept."""
    if step.child is None or step.undo is None:
        return
    for inner in step.child.steps.values():
        if inner.expires is not None:
            yield step.child.name, inner.name, inner.expires
        yield from _held_for(inner)
