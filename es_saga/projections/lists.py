"""How far a saga has come with the lists that it goes over: so many items of so many are done.

How many there are is said by the event with which a list begins; a status row has only the items
that have begun.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from es_saga.core.messages import names_of_each, of_each


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A list that a saga is going over."""

    step: str
    """As the saga has it now: on another way it is `pick.2`."""
    done: int
    begun: int
    items: int

    def __str__(self) -> str:
        return f"{self.step} ({self.done} of {self.items} done)"


def at_items(current: Sequence[str]) -> bool:
    """Whether some of these steps stand for items of a list."""
    return any(map(of_each, current))


def under_way(counts: Mapping[str, int], steps: Mapping[str, Any]) -> Iterator[UnderWay]:
    """The lists that have begun and are not done.

    >>> [*map(str, under_way({"pick": 50}, {"pick-1": {"status": "succeeded"}}))]
    ['pick (1 of 50 done)']

    Args:
        counts: items of every list that was ever begun.
        steps: of the saga, as its status row has them.
    """
    for step, items in counts.items():
        begun = [steps[name]["status"] for name in names_of_each(step, items) if name in steps]
        done = sum(status in ("succeeded", "skipped") for status in begun)
        if begun and done < items:
            yield UnderWay(step, done, len(begun), items)


def folded(names: Sequence[str], lists: Sequence[UnderWay]) -> list[str]:
    """Steps, with the items of a list under way as one.

    >>> folded(["pick-7", "pick-8", "pay"], [UnderWay("pick", 6, 8, 50)])
    ['pick (6 of 50 done)', 'pay']
    """
    by_step = {one.step: str(one) for one in lists}
    return list(dict.fromkeys(by_step.get(of_each(name), name) for name in names))
