"""What the fence allows, rule by rule; every order of arrival is tried in `test_fence_contract`."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from es_saga.core.messages import Outcome
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
from tests.participant.warehouse import Hold, Release, ask, remembered


@pytest.mark.law("L21", "L22")
@pytest.mark.anyio
async def test_an_undo_that_comes_first_is_remembered_in_place_of_its_command(
    server: Server, engine: sa.Engine
) -> None:
    undo = await server.call(ask(Release(), undo=True))
    late = await server.call(ask(Hold(sku="pear", hold="h")))
    assert (undo.outcome, undo.type, undo.data) == (Outcome.SUCCEEDED, "Done", None)
    assert (late.outcome, late.type) == (Outcome.REFUSED, "Undone")
    assert remembered(engine) == {"s-1/hold/do": "undone"}


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
