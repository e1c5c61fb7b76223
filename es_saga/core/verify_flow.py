"""What can be wrong with the flow of a saga: its waits, its quorums, its lists."""

from __future__ import annotations

from collections import Counter
from itertools import chain, takewhile
from math import prod
from typing import Any, get_args

from es_saga.core.children import Children
from es_saga.core.compiled import OnNothing
from es_saga.core.definition import Saga
from es_saga.core.messages import of_each
from es_saga.core.options import one_of
from es_saga.core.signatures import NO_ITEM, Reader, Signature, is_message, named
from es_saga.core.step import SavePoint, Step
from es_saga.core.unfolding import MAX_WAYS_IN_ALL

MAX_WAYS = 10
"""Ways that a saga may go on from one save-point."""

MAX_ITEMS = 200
"""Items of a list that a step may go over."""


class FlowVerifier:
    """What is known of a saga while it is looked at, and what is wrong with its flow."""

    def __init__(self, saga: Saga[Any]) -> None:
        self.saga = saga
        self.faults: list[str] = []
        self.steps: dict[str, Step[Any, ..., Any]] = {}
        self.after: dict[str, tuple[str, ...]] = {}
        self.ancestors: dict[str, frozenset[str]] = {}
        self.replies: dict[str, Any] = {}
        self.dispensable: set[str] = set()
        """Members of a quorum."""
        self.certain: dict[str, frozenset[str]] = {}
        """By step: those that are over when it begins, and not only begun."""
        self.items: dict[str, Any] = {}
        """The type of what each step is given of a list, if it goes over one."""
        self.signatures: dict[str, Signature] = {}
        self.read = Reader(saga.data, self.fault).read
        self.children = Children(saga, self.fault)
        self.deadline: float | None = None
        """Seconds."""

    def fault(self, text: str) -> None:
        if text not in self.faults:
            self.faults.append(text)

    def check_wait(self, step: Step[Any, ..., Any]) -> None:
        assert step.wait is not None, "it waits"
        one_of(f"on_timeout= of {step.name}", step.wait.on_timeout, OnNothing, self.fault)
        message = step.wait.message
        if message is None:
            return
        if not is_message(message):
            self.fault(f"{step.name} waits for {named(message)}, no Message")
        for other in takewhile(lambda other: other is not step, self.steps.values()):
            if other.wait is not None and other.wait.message is message:
                self.fault(
                    f"{other.name} and {step.name} both wait for {named(message)}: whose is it "
                    f"when it comes? derive a type for each"
                )

    def check_joins(self) -> None:
        """A quorum can be reached, and nobody else needs those it may go on without."""
        for name, step in self.steps.items():
            if step.join is None:
                continue
            members, least = self.after[name], step.join.least
            self.dispensable.update(members)
            if not 1 <= least <= len(members):
                self.fault(f"{name} needs {least} of {len(members)} steps: 1 to all are possible")
            for member in members:
                for other in self.steps.values():
                    if member in self.after[other.name] and other.join is None:
                        self.fault(
                            f"{name} may go on without {member}, but {other.name} comes after it: "
                            f"let it come after {name}, or gather({member})"
                        )

    def find_certain(self) -> None:
        """All a step comes after is; of a quorum, what it cannot be reached without."""
        found = dict(self.ancestors)
        changed = True
        while changed:
            changed = False
            for name, step in self.steps.items():
                behind = Counter(
                    chain.from_iterable(found[other] | {other} for other in self.after[name])
                )
                early = step.join is not None and not step.join.all_settled
                spare = len(self.after[name]) - step.join.least if step.join and early else 0
                certain = frozenset(other for other, times in behind.items() if times > spare)
                if certain != found[name]:
                    found[name], changed = certain, True
        self.certain = found

    def check_joins_come_early(self, pivot: str | None) -> None:
        for name, step in self.steps.items():
            if step.join is not None and pivot in self.ancestors[name]:
                self.fault(
                    f"{name} needs a quorum only, after the pivot {pivot}: there every step is "
                    f"retried until done, and none is gone without"
                )

    def check_save_points(self, pivot: str | None) -> None:
        """Everything comes before or after each of them, so that it parts what is undone."""
        for name, step in self.steps.items():
            if step.ways is None or not isinstance(step, SavePoint):
                continue
            if not 2 <= step.ways <= MAX_WAYS:
                self.fault(f"ways= of {name} is {step.ways}: 2 to {MAX_WAYS} are possible")
            others = sorted(step.asked - set(range(1, step.ways + 1)))
            if others:
                self.fault(f"{name} has no way {others[0]}: its ways= is {step.ways}")
            if pivot in self.ancestors[name]:
                self.fault(
                    f"{name} is a save-point after the pivot {pivot}: what has passed it is never "
                    f"undone, so there is no way back to it"
                )
            if not any(name in before for before in self.ancestors.values()):
                self.fault(f"{name} is a save-point with nothing after it")
            for other in self.steps:
                beside = name not in self.ancestors[other] and other not in self.ancestors[name]
                if other != name and beside:
                    self.fault(
                        f"{other} runs beside the save-point {name}: let it come before it, or "
                        f"after it"
                    )
        points = [name for name, step in self.steps.items() if step.ways is not None]
        ways = prod(self.steps[name].ways or 1 for name in points)
        if len(points) > 1 and ways > MAX_WAYS_IN_ALL:
            self.fault(
                f"{', '.join(points)} make {ways} ways together, for each way from one of them "
                f"comes to the next: {MAX_WAYS_IN_ALL} are possible"
            )

    def check_list(self, step: Step[Any, ..., Any]) -> Any:
        """The type of the items that a step goes over, as far as it can be told."""
        if step.each is None:
            return NO_ITEM
        name, each = step.name, step.each
        if each.most is None:
            self.fault(f"each= of {name} is unbounded: say most=, how long its list can be")
        elif not 1 <= each.most <= MAX_ITEMS:
            self.fault(f"most= of {name} is {each.most}: 1 to {MAX_ITEMS} are possible")
        if each.at_once < 1:
            self.fault(f"at_once= of {name} is {each.at_once}: it is at least 1")
        if name in self.dispensable:
            self.fault(f"{name} goes over a list, so no quorum can go on without it")
        for other in self.steps:
            if other != name and of_each(other) == name:
                self.fault(f"{other} is what a step for an item of {name} will be called")
        listed = self.read(f"each= of {name}", each.items, condition=True)
        arguments = get_args(listed.hints.get("return"))
        return arguments[0] if arguments else None
