"""What a saga may do to the world, by the calculi of compensation: an oracle, not an engine.

After compensating CSP (Butler, Hoare & Ferreira 2005) and StAC (Butler & Ferreira 2004): a process
is a set of pairs, a trace of what was done and the process that compensates it.

    step A ÷ A'      ⟨A⟩ with A'                 or refused: nothing, with nothing
    P ; Q            p q with q' ; p'            compensations in reverse
    P ∥ Q            p, q interleaved with p' ∥ q'
    [P]              p, if P ends well;          else what was done, then its compensation

A graph of steps generalises `;` and `∥`: what was done is a set of steps closed under what they
wait for, done in any order that respects the edges, and compensated in any order that respects the
reversed edges. Two things are added to the calculi:

- the pivot: compensation is possible as long as the pivot is not done, and never after;
- unknown: of a step that nobody waits for an answer of any more, the message may still be under
  way. It may be done at any time before it is compensated, also while others are compensated
  already. Nothing that waits for it was begun.

This page knows names, kinds and edges of steps. It imports nothing of the interpreter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, combinations
from typing import NamedTuple

Trace = tuple[str, ...]
"""Effects in order: `a/do`, `a/undo`."""


class Part(NamedTuple):
    """A step, to the calculus."""

    kind: str
    """check, compensatable, pivot, retriable."""
    after: tuple[str, ...]
    may_be_unknown: bool = True
    """Whether it is compensated without anybody knowing whether it was done."""


class Traces(NamedTuple):
    completed: set[Trace]
    compensated: set[Trace]


def allowed(parts: Mapping[str, Part], most_unknown: int | None = None) -> Traces:
    """Every trace of effects that may be seen of a saga that ends by itself.

    `most_unknown` bounds how many steps end unknown; None: any number.
    """
    before = {name: ancestors(parts, name) for name in parts}
    passed = {name for name in parts if any(parts[a].kind == "pivot" for a in before[name])}
    undoable = [n for n in parts if n not in passed and parts[n].kind != "pivot"]
    effects = [name for name in parts if parts[name].kind != "check"]
    done = {f"{a}/do": {f"{b}/do" for b in before[a] if b in effects} for a in effects}
    completed = set(_orders(done))
    compensated: set[Trace] = set()
    for some in _subsets(undoable):
        if any(not before[name] <= set(some) for name in some):
            continue  # something was done before what it waits for
        last = [a for a in some if not any(a in before[b] for b in some)]
        last = [a for a in last if parts[a].kind == "compensatable" and parts[a].may_be_unknown]
        for unknown in _subsets(last, most_unknown):
            if unknown or len(some) < len(parts):  # all known and all done is no failure
                compensated |= _undone([n for n in some if n in effects], unknown, before)
    return Traces(completed, compensated)


def _undone(
    done: Sequence[str], unknown: Sequence[str], before: Mapping[str, frozenset[str]]
) -> set[Trace]:
    """`done` forward, then back; each of `unknown` forward at any time before it goes back."""
    waits: dict[str, set[str]] = {}
    for a in done:
        waits[f"{a}/do"] = {f"{b}/do" for b in done if b in before[a]}
        waits[f"{a}/undo"] = {f"{b}/undo" for b in done if a in before[b]} | {f"{a}/do"}
        waits[f"{a}/undo"] |= {f"{b}/do" for b in done if b not in unknown}
    return set(_orders(waits))


def _orders(waits: Mapping[str, set[str]]) -> Iterator[Trace]:
    """All orders of the keys in which each comes after those that it waits for."""
    if not waits:
        yield ()
    for first in [action for action, others in waits.items() if not others]:
        rest = {action: others - {first} for action, others in waits.items() if action != first}
        for order in _orders(rest):
            yield (first, *order)


def _subsets(names: Sequence[str], most: int | None = None) -> Iterator[tuple[str, ...]]:
    sizes = range(min(len(names), len(names) if most is None else most) + 1)
    return chain.from_iterable(combinations(names, size) for size in sizes)


def ancestors(parts: Mapping[str, Part], name: str) -> frozenset[str]:
    """Everything that a step waits for, directly or not."""
    direct = parts[name].after
    return frozenset(direct).union(*(ancestors(parts, other) for other in direct))
