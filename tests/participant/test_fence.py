"""What the fence allows: laws L19 to L25, as a property over every order of arrival."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from es_saga.core.messages import Envelope, Outcome
from es_saga.participant import Server, purge
from es_saga.participant.fence import (
    FenceTaken,
    Record,
    Rule,
    Status,
    es_fence,
    judge,
    look,
    remember,
)
from tests.participant.warehouse import (
    STOCK,
    Hold,
    Release,
    ask,
    holds,
    left,
    remembered,
    warehouse,
)

_examples = itertools.count()


class Arrival(NamedTuple):
    """One message: the command of a key, or its undo."""

    key: int
    undo: bool
    attempt: int


@dataclass
class Model:
    """What the participant should remember and hold."""

    hows: Sequence[tuple[str, int]]
    """How the command of each key behaves, and from which attempt on."""
    state: dict[int, str] = field(default_factory=dict[int, str])
    undone: set[int] = field(default_factory=set[int])

    def arrive(self, arrival: Arrival) -> tuple[Outcome, str]:
        known = self.state.get(arrival.key)
        if arrival.undo:
            if known is None:
                self.state[arrival.key] = "tombstone"
            elif known == "done":
                self.undone.add(arrival.key)
            return Outcome.SUCCEEDED, "Done"
        if known is None:
            how, from_attempt = self.hows[arrival.key]
            if arrival.attempt < from_attempt:
                return Outcome.FAILED, "ValueError"
            known = self.state[arrival.key] = "done" if how == "plain" else "refused"
        if known == "tombstone":
            return Outcome.REFUSED, "Undone"
        return (Outcome.SUCCEEDED, "Held") if known == "done" else (Outcome.REFUSED, "OutOfStock")

    def held(self) -> set[int]:
        return {key for key, known in self.state.items() if known == "done"} - self.undone


KEYS = 4
_hows = st.lists(
    st.tuples(st.sampled_from(["plain", "plain", "refuse after the write"]), st.integers(1, 2)),
    min_size=KEYS,
    max_size=KEYS,
)
_arrivals = st.builds(Arrival, st.integers(0, KEYS - 1), st.booleans(), st.integers(1, 3))
_together = st.lists(st.lists(_arrivals, min_size=1, max_size=8), max_size=5)
"""What arrives together, and then what arrives together, …"""


@pytest.mark.requirement("R028", "R029", "R030", "R031")
@pytest.mark.law("L19", "L20", "L21", "L22", "L23", "L24", "L25")
def test_in_any_order_each_key_has_its_effect_and_its_undo_at_most_once(
    engine: sa.Engine,
) -> None:
    with asyncio.Runner() as runner:
        server = Server(warehouse(), engine)
        runner.run(server.start())
        emptied = STOCK["apple"]

        @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(hows=_hows, batches=_together)
        def check(hows: list[tuple[str, int]], batches: list[list[Arrival]]) -> None:
            nonlocal emptied
            example = next(_examples)
            model = Model(hows)
            for batch in batches:
                replies = runner.run(_call(server, example, hows, batch))
                wanted = [model.arrive(arrival) for arrival in batch]
                assert [(reply.outcome, reply.type) for reply in replies] == wanted
            emptied -= len(model.held())
            prefix = f"{example}-"
            found = {name for name in holds(engine) if name.startswith(prefix)}
            assert found == {f"{prefix}{key}" for key in model.held()}
            assert left(engine, "apple") == emptied

        try:
            check()
        finally:
            runner.run(server.stop())


async def _call(
    server: Server, example: int, hows: list[tuple[str, int]], batch: list[Arrival]
) -> list[Envelope]:
    return await asyncio.gather(
        *(server.call(_envelope(example, hows[arrival.key], arrival)) for arrival in batch)
    )


def _envelope(example: int, how: tuple[str, int], arrival: Arrival) -> Envelope:
    saga = f"x-{example}-{arrival.key}"
    if arrival.undo:
        return ask(Release(), saga, undo=True, attempt=arrival.attempt)
    hold = Hold(sku="apple", hold=f"{example}-{arrival.key}", how=how[0], from_attempt=how[1])
    return ask(hold, saga, attempt=arrival.attempt)


@pytest.mark.requirement("R030")
@pytest.mark.anyio
async def test_a_repeat_gets_the_same_answer_under_its_own_message_id(
    server: Server, engine: sa.Engine
) -> None:
    first = await server.call(ask(Hold(sku="pear", hold="h"), attempt=1))
    again = await server.call(ask(Hold(sku="pear", hold="h"), attempt=2))
    assert (first.id, again.id) == ("s-1/hold/do/1/r", "s-1/hold/do/2/r")
    assert (again.data, again.type, again.outcome) == (first.data, first.type, first.outcome)
    assert again.attempt == 2
    assert left(engine, "pear") == STOCK["pear"] - 1


@pytest.mark.law("L21", "L22")
@pytest.mark.anyio
async def test_an_undo_that_comes_first_is_remembered_and_the_late_command_refused(
    server: Server, engine: sa.Engine
) -> None:
    undo = await server.call(ask(Release(), undo=True))
    late = await server.call(ask(Hold(sku="pear", hold="h")))
    assert (undo.outcome, undo.type, undo.data) == (Outcome.SUCCEEDED, "Done", None)
    assert (late.outcome, late.type) == (Outcome.REFUSED, "Undone")
    assert remembered(engine) == {"s-1/hold/do": "undone"}
    assert holds(engine) == set()


@pytest.mark.law("L22")
def test_a_forward_command_whose_undo_was_here_is_too_late() -> None:
    tombstone = Record("s-1/hold/do", Status.UNDONE, None, None, 0.0)
    verdict = judge(ask(Hold(sku="pear", hold="h")), {tombstone.command_id: tombstone})
    assert verdict.rule is Rule.TOO_LATE


@pytest.mark.requirement("R075")
def test_only_a_cancel_that_names_what_it_undoes_is_treated_as_an_undo() -> None:
    undo = ask(Release(), undo=True)
    assert judge(undo, {}).rule is Rule.NEVER_RAN
    assert judge(undo.model_copy(update={"direction": "REQUEST"}), {}).rule is Rule.RUN
    assert judge(undo.model_copy(update={"undoes": None}), {}).rule is Rule.RUN


@pytest.mark.law("L21")
def test_an_undo_of_what_was_refused_has_nothing_to_do() -> None:
    refused = Record("s-1/hold/do", Status.REFUSED, "OutOfStock", b"{}", 0.0)
    verdict = judge(ask(Release(), undo=True), {refused.command_id: refused})
    assert verdict.rule is Rule.NOTHING_DONE


def test_a_record_is_written_once(engine: sa.Engine) -> None:
    record = Record("s-1/hold/do", Status.SUCCEEDED, "Held", b'{"hold":"\xc3\xa4"}', 12.5)
    with engine.begin() as connection:
        remember(connection, [record, record._replace(command_id="other", reply=None)])
    with engine.begin() as connection:
        assert look(connection, ["s-1/hold/do", "absent"]) == {"s-1/hold/do": record}
    with engine.connect() as connection, pytest.raises(FenceTaken):
        remember(connection, [record])


def test_purge_forgets_what_is_older_and_no_more_than_asked(engine: sa.Engine) -> None:
    records = [Record(f"c-{n}", Status.SUCCEEDED, None, None, float(n)) for n in range(3_000)]
    with engine.begin() as connection:
        remember(connection, records)
    assert purge(engine, 2_500.0, limit=1_200) == 1_200
    assert purge(engine, 2_500.0) == 1_300
    assert purge(engine, 2_500.0) == 0
    with engine.connect() as connection:
        rest = connection.execute(sa.select(sa.func.min(es_fence.c.at), sa.func.count())).one()
    assert tuple(rest) == (2_500.0, 500)
