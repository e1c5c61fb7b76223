"""Every mistake of an interpreter is found by the exploration, in seconds, by the law it breaks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from es_saga import Saga
from es_saga.testing.exploring import Bounds, explore
from es_saga.testing.laws import judge
from tests.mutants.interpreter import MUTANTS, Mutant


@pytest.mark.parametrize(
    "saga", dict.fromkeys(mutant.saga for mutant in MUTANTS), ids=lambda saga: saga.__name__
)
def test_without_a_mistake_nothing_is_found(saga: Callable[[], Saga[Any]]) -> None:
    found = explore(saga())
    assert found, str(found)


@pytest.mark.parametrize(
    "mutant",
    [
        pytest.param(
            mutant, id=mutant.name.replace(" ", "-"), marks=pytest.mark.requirement(*mutant.rows)
        )
        for mutant in MUTANTS
    ],
)
def test_a_mistake_is_found(
    mutant: Mutant,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    mutant.plant(monkeypatch)
    found = explore(mutant.saga(), bounds=Bounds(faults=mutant.faults))
    counterexample = found.counterexample
    assert counterexample is not None
    broken = {found.law for found in judge(counterexample.story).violations}
    broken.add(counterexample.violation.law)  # from the definition, if no history shows it
    record_property(
        "told",
        f"{mutant.name:<42} {' '.join(mutant.rows):<8} {counterexample.faults} faults, "
        f"{len(counterexample.turns) - 1} moves, {found.states:>3} states  "
        f"{' '.join(sorted(broken))}",
    )
    assert mutant.law in broken
