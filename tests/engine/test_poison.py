"""What cannot be handled is put aside alone: the other sagas of its part do not wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from es_saga import Saga
from es_saga.core.aggregate import SagaStatus
from es_saga.core.decide import react
from es_saga.core.errors import SagaError
from es_saga.core.events import SagaEvent, StepRetried, StepStarted, StepSucceeded
from es_saga.core.inputs import Reply, Start, Tick
from es_saga.core.messages import CommandKey, Direction, Outcome, Subjects, part_of
from es_saga.engine.outgoing import Sender
from es_saga.engine.ports import Append
from tests.engine.conftest import Ground
from tests.engine.errand import Errand, Fetch, errand, world

pytestmark = pytest.mark.anyio

bloat = Saga("bloat", Errand)
"""Its command is larger than an event may be in this test."""


@bloat.check(timeout=timedelta(seconds=30))
def fetch(e: Errand) -> Fetch:
    return Fetch(thing="x" * 200_000)


def same_part(count: int) -> list[str]:
    """Ids that live in one part, so that they are decided together."""
    found = [f"e{n}" for n in range(count * 40) if part_of(f"e{n}") == 7]
    return found[:count]


@pytest.mark.parametrize("ground", ["sqlite", "postgres and nats"], indirect=True)
async def test_an_event_that_the_log_refuses_stops_only_its_own_saga(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("es_saga.adapters.codec.MAX_EVENT_BYTES", 100_000)
    ids = same_part(12)
    definitions = [errand.definition, bloat.definition]
    async with world(
        ground.store, ground.transport, tenant=ground.tenant, definitions=definitions
    ) as w:
        begun = [
            asyncio.create_task(
                w.manager.begin(bloat if n == 5 else errand, Errand(thing=saga_id), saga_id=saga_id)
            )
            for n, saga_id in enumerate(ids)
        ]
        answers = await asyncio.gather(*begun, return_exceptions=True)
        good = [saga_id for saga_id in ids if saga_id != ids[5]]
        states = [await w.closed(saga_id) for saga_id in good]
        assert await w.state(ids[5]) is None
    refused = [answer for answer in answers if isinstance(answer, BaseException)]
    assert [type(error) for error in refused] == [SagaError]
    assert "are allowed" in str(refused[0])
    assert {state.status for state in states} == {SagaStatus.COMPLETED}


async def test_a_fault_of_ours_after_the_commit_loses_no_command(ground: Ground) -> None:
    """The first batch that is told to the listeners meets a bug there."""
    broken = 0

    def listener(batch: Sequence[Append]) -> None:
        nonlocal broken
        if broken < 3:
            broken += 1
            raise RuntimeError("a bug in a listener")

    ids = same_part(6)
    async with world(ground.store, ground.transport, tenant=ground.tenant) as w:
        w.manager.listen(listener)
        await asyncio.gather(
            *(w.manager.begin(errand, Errand(thing=saga_id), saga_id=saga_id) for saga_id in ids)
        )
        states = [await w.closed(saga_id) for saga_id in ids]
    assert broken == 3
    assert {state.status for state in states} == {SagaStatus.COMPLETED}


async def test_a_command_and_its_answer_in_one_batch_send_nothing() -> None:
    """The timer asked again, and the first answer was right behind it."""
    definition = errand.definition
    state = react(definition, None, Start("e1", {"thing": "lamp", "pence": 1}), 1_000.0).state
    events: list[SagaEvent] = []
    now = 0.0
    for _ in ("not answered in time", "sent again"):
        assert state.next_due is not None
        now = state.next_due
        more, state = react(definition, state, Tick(), now)
        events += more
    reply = Reply(
        CommandKey(saga_id="e1", step="fetch", direction=Direction.DO, round=1),
        1,
        Outcome.SUCCEEDED,
        "Fetched",
        {"shelf": "s1"},
        "m1",
    )
    more, state = react(definition, state, reply, now)
    events += more
    kinds = [type(event) for event in events]
    assert [StepRetried, StepSucceeded, StepStarted] == kinds[-3:]
    messages = Sender("errands", Subjects()).commands(definition, state, events)
    assert [message.envelope.id for message in messages] == ["e1/pay/do/1"]
