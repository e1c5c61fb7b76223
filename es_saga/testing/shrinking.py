"""Makes what fails as small as it still fails: delta debugging of faults (Zeller 2002), of sagas
and of their inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from es_saga.testing.begin import Begin
from es_saga.testing.faults import Fault, FaultPlan

_SHORTER = (0.0, 1.0, 5.0, 40.0)
"""Seconds that are tried in place of a fault's."""


def shrink(plan: FaultPlan, still_fails: Callable[[FaultPlan], bool]) -> FaultPlan:
    """The smallest plan found that still fails: taking out any one of its faults mends it.

    `plan` itself is taken to fail. Other managers, scarcity and long times are left out, too, where
    they are not needed.
    """
    none_left = tuple((command, 0) for command, _ in plan.scarce)
    for simpler in ({"managers": 1}, {"scarce": none_left}, {"scarce": ()}, {"seed": 0}):
        tried = replace(plan, **simpler)
        if tried != plan and still_fails(tried):
            plan = tried
    plan = plan.keeping(_fewest(plan.faults, lambda some: still_fails(plan.keeping(some))))
    for fault in plan.faults:
        for seconds in _SHORTER:
            shorter = fault._replace(seconds=seconds)
            tried = plan.keeping(shorter if one is fault else one for one in plan.faults)
            if seconds < abs(fault.seconds) and still_fails(tried):
                plan = tried
                break
    return plan


def _fewest(
    faults: Sequence[Fault], still_fails: Callable[[Sequence[Fault]], bool]
) -> Sequence[Fault]:
    """Take out ever smaller pieces, until none can be missed."""
    size = len(faults)
    while size:
        before, start = len(faults), 0
        while start < len(faults):
            fewer = [*faults[:start], *faults[start + size :]]
            if still_fails(fewer):
                faults = fewer
            else:
                start += size
        if size > 1 or len(faults) == before:  # the last round is repeated while it helps
            size //= 2
    return faults


def fewest_sagas(
    begins: Sequence[Begin], still_fails: Callable[[Sequence[Begin]], bool]
) -> Sequence[Begin]:
    """Leave out each saga that can be missed."""
    for begin in begins:
        fewer = [other for other in begins if other != begin]
        if fewer and still_fails(fewer):
            begins = fewer
    return begins


def simplify(
    begins: Sequence[Begin],
    plain: Sequence[Begin],
    still_fails: Callable[[Sequence[Begin]], bool],
) -> Sequence[Begin]:
    """Put the plain value in place of each field of each input, where it still fails."""
    for number, simple in enumerate(plain):
        for field, value in simple.data.items():
            begin = begins[number]
            if begin.data.get(field) == value:
                continue
            simpler = begin._replace(data={**begin.data, field: value})
            tried = [*begins[:number], simpler, *begins[number + 1 :]]
            if still_fails(tried):
                begins = tried
    return begins
