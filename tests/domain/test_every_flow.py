"""What holds for every flow of the reference business, with trouble at each of its steps.

Conserved totals hold in every ending; a compensated saga leaves everything as it found it, but for
records of what was undone; a completed one leaves its whole effect, once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet

from es_saga import Message
from es_saga.core.aggregate import SagaStatus, fold
from es_saga.core.compiled import StepKind
from es_saga.core.events import SagaStuck, StepRefused
from es_saga.core.inputs import RetryStuck
from tests.domain.driver import Mishap, Run, Tables, Trouble, World
from tests.domain.flows import FLOWS, Flow, Totals

pytestmark = pytest.mark.anyio


def _renumbered(flow: Flow) -> Message:
    """The flow's input under another business id, whose field is the first."""
    return flow.data.model_copy(update={next(iter(type(flow.data).model_fields)): "8"})


def _each_flow() -> list[ParameterSet]:
    return [
        pytest.param(flow, id=flow.name, marks=pytest.mark.requirement(flow.requirement))
        for flow in FLOWS
    ]


def _each_step(wanted: Callable[[Flow, StepKind, str], bool]) -> list[ParameterSet]:
    return [
        pytest.param(
            flow,
            step.name,
            id=f"{flow.name}-{step.name}",
            marks=pytest.mark.requirement(flow.requirement),
        )
        for flow in FLOWS
        for step in flow.saga.definition.steps.values()
        if wanted(flow, step.kind, step.name)
    ]


def _any(_flow: Flow, _kind: StepKind, _step: str) -> bool:
    return True


def _refusable(flow: Flow, _kind: StepKind, step: str) -> bool:
    return step in flow.refusals


def _before_the_pivot(_flow: Flow, kind: StepKind, _step: str) -> bool:
    return kind in (StepKind.CHECK, StepKind.COMPENSATABLE)


def _undoable(flow: Flow, kind: StepKind, step: str) -> bool:
    """Steps whose undo is seen at work when the last refusable step is refused."""
    return kind is StepKind.COMPENSATABLE and step != _last_refusable(flow)


def _last_refusable(flow: Flow) -> str:
    return list(flow.refusals)[-1]


@pytest.fixture
async def world(flow: Flow, tmp_path: Path) -> AsyncIterator[World]:
    async with World(flow.app, tmp_path) as world:
        yield world


class Ledger:
    """The world as it was, to compare with."""

    def __init__(self, flow: Flow, world: World) -> None:
        self.flow, self.world = flow, world
        self.totals: Totals = flow.totals(world)
        self.tables: Tables = world.tables()

    def assert_conserved(self) -> None:
        now = self.flow.totals(self.world)
        for names in self.flow.conserved:
            assert sum(now[name] for name in names) == sum(self.totals[name] for name in names)

    def assert_untouched(self) -> None:
        """Nothing is left but records of what was undone."""
        self.assert_conserved()
        kept = self.flow.residuals
        tables = self.world.tables()
        assert {k: v for k, v in tables.items() if k not in kept} == {
            k: v for k, v in self.tables.items() if k not in kept
        }
        totals = self.flow.totals(self.world)
        assert {k: v for k, v in totals.items() if k not in kept} == {
            k: v for k, v in self.totals.items() if k not in kept
        }

    def assert_full_effect(self) -> None:
        self.assert_conserved()
        totals = self.flow.totals(self.world)
        changed = {k: totals[k] - self.totals[k] for k in totals if totals[k] != self.totals[k]}
        assert changed == self.flow.effect


def _assert_folds(run: Run) -> None:
    assert fold(run.saga_id, run.events) == run.state


@pytest.mark.requirement("R001", "R010", "R013", "R069")
@pytest.mark.parametrize("flow", _each_flow())
async def test_a_completed_saga_leaves_its_whole_effect_once(flow: Flow, world: World) -> None:
    before = Ledger(flow, world)
    run = await world.run(flow.saga, flow.data)
    assert run.status is SagaStatus.COMPLETED
    assert run.undone == []
    before.assert_full_effect()
    _assert_folds(run)


@pytest.mark.requirement("R030")
@pytest.mark.parametrize("flow", _each_flow())
async def test_commands_that_arrive_three_times_act_once(flow: Flow, world: World) -> None:
    before = Ledger(flow, world)
    run = await world.run(flow.saga, flow.data, copies=3)
    assert run.status is SagaStatus.COMPLETED
    before.assert_full_effect()
    after = world.tables()
    for envelope in run.sent:
        await world.call(envelope)
    assert world.tables() == after


@pytest.mark.requirement("R032", "R033", "R034")
@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize(("flow", "step"), _each_step(_refusable))
async def test_a_refused_step_leaves_everything_as_it_was(
    flow: Flow, step: str, copies: int, world: World
) -> None:
    before = Ledger(flow, world)
    run = await world.run(flow.saga, flow.refused_at(step), copies=copies)
    assert run.status is SagaStatus.COMPENSATED
    assert [event.step for event in run.events if isinstance(event, StepRefused)] == [step]
    assert step not in run.undone
    definition = flow.saga.definition
    for place, undone in enumerate(run.undone):
        assert not set(run.undone[:place]) & definition.steps[undone].ancestors
    before.assert_untouched()
    _assert_folds(run)


@pytest.mark.requirement("R045")
@pytest.mark.parametrize("mishap", [Mishap.LOST_COMMAND, Mishap.LOST_REPLY])
@pytest.mark.parametrize(("flow", "step"), _each_step(_before_the_pivot))
async def test_a_step_that_stays_unanswered_is_undone_whether_it_was_done_or_not(
    flow: Flow, step: str, mishap: Mishap, world: World
) -> None:
    before = Ledger(flow, world)
    run = await world.run(flow.saga, flow.data, {f"{step}/do": Trouble(mishap)})
    assert run.status is SagaStatus.COMPENSATED
    compensatable = flow.saga.definition.steps[step].kind is StepKind.COMPENSATABLE
    assert (step in run.undone) == compensatable
    before.assert_untouched()
    _assert_folds(run)


@pytest.mark.parametrize(("flow", "step"), _each_step(_before_the_pivot))
async def test_a_step_that_fails_for_good_leaves_everything_as_it_was(
    flow: Flow, step: str, world: World
) -> None:
    before = Ledger(flow, world)
    run = await world.run(flow.saga, flow.data, {f"{step}/do": Trouble(Mishap.FAILURE)})
    assert run.status is SagaStatus.COMPENSATED
    assert step not in run.undone
    before.assert_untouched()


@pytest.mark.requirement("R029")
@pytest.mark.parametrize("mishap", list(Mishap))
@pytest.mark.parametrize(("flow", "step"), _each_step(_any))
async def test_trouble_with_the_first_two_attempts_changes_nothing_in_the_end(
    flow: Flow, step: str, mishap: Mishap, world: World
) -> None:
    before = Ledger(flow, world)
    run = await world.run(flow.saga, flow.data, {f"{step}/do": Trouble(mishap, attempts=2)})
    assert run.status is SagaStatus.COMPLETED
    before.assert_full_effect()
    _assert_folds(run)


@pytest.mark.requirement("R028", "R041")
@pytest.mark.parametrize("mishap", list(Mishap))
@pytest.mark.parametrize(("flow", "step"), _each_step(_undoable))
async def test_an_undo_is_tried_until_it_is_done_and_then_is_done_once(
    flow: Flow, step: str, mishap: Mishap, world: World
) -> None:
    before = Ledger(flow, world)
    refused = flow.refused_at(_last_refusable(flow))
    run = await world.run(flow.saga, refused, {f"{step}/undo": Trouble(mishap, attempts=5)})
    assert run.status is SagaStatus.COMPENSATED
    assert step in run.undone
    before.assert_untouched()


@pytest.mark.parametrize("flow", _each_flow())
async def test_every_flow_runs_on_postgresql_where_services_may_share_a_database(
    flow: Flow, tmp_path: Path, postgres_url: str
) -> None:
    async with World(flow.app, tmp_path, url=postgres_url) as world:
        before = Ledger(flow, world)
        refused = await world.run(flow.saga, flow.refused_at(_last_refusable(flow)))
        assert refused.status is SagaStatus.COMPENSATED
        before.assert_untouched()
        other = _renumbered(flow)
        before = Ledger(flow, world)
        done = await world.run(flow.saga, other, copies=2)
        assert done.status is SagaStatus.COMPLETED
        before.assert_full_effect()


def _is_pivot(_flow: Flow, kind: StepKind, _step: str) -> bool:
    return kind is StepKind.PIVOT


@pytest.mark.requirement("R046")
@pytest.mark.parametrize("mishap", [Mishap.LOST_COMMAND, Mishap.LOST_REPLY])
@pytest.mark.parametrize(("flow", "step"), _each_step(_is_pivot))
async def test_an_unanswered_pivot_waits_for_a_human_and_then_goes_on(
    flow: Flow, step: str, mishap: Mishap, world: World
) -> None:
    before = Ledger(flow, world)
    run = await world.run(flow.saga, flow.data, {f"{step}/do": Trouble(mishap, attempts=3)})
    assert (run.status, run.undone) == (SagaStatus.STUCK, [])
    run.react(RetryStuck(actor="eve", reason="the line is mended", message_id="m-1"))
    await world.go_on(run)
    assert run.status is SagaStatus.COMPLETED
    before.assert_full_effect()


@pytest.mark.requirement("R046")
@pytest.mark.parametrize("mishap", list(Mishap))
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "flow", [pytest.param(FLOWS[-1], id="trip", marks=pytest.mark.requirement("R046"))]
)
async def test_what_follows_the_pivot_is_tried_until_it_is_done(
    flow: Flow, seed: int, mishap: Mishap, world: World
) -> None:
    before = Ledger(flow, world)
    script = {"itinerary/do": Trouble(mishap, attempts=20)}
    run = await world.run(flow.saga, flow.data, script, seed=seed)
    assert run.status is SagaStatus.COMPLETED
    assert not any(isinstance(event, SagaStuck) for event in run.events)
    before.assert_full_effect()
