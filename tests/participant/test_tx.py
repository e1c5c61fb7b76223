"""What `tx` offers, and what it counts as a write."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import sqlalchemy as sa

from es_saga.core.messages import Envelope, Outcome
from es_saga.participant import Participant, Received, Server, SyncTx, Tx
from es_saga.participant.work import Effect, effect_of
from tests.participant.warehouse import (
    ADD_HOLD,
    Held,
    Hold,
    HoldPlainly,
    HoldRow,
    OutOfStock,
    Release,
    StockRow,
    ask,
    holds,
    left,
)

pytestmark = pytest.mark.anyio


async def _handled(
    engine: sa.Engine, handler: Callable[[Hold, Tx], Awaitable[Held | OutOfStock]]
) -> Envelope:
    stock = Participant("stock")
    stock.handles(Hold)(handler)
    async with Server(stock, engine) as server:
        return await server.call(ask(Hold(sku="pear", hold="h")))


async def test_statements_may_be_strings_or_core_constructs(engine: sa.Engine) -> None:
    seen: list[object] = []

    async def hold(cmd: Hold, tx: Tx) -> Held:
        seen.append(await tx.scalar(sa.select(sa.func.count()).select_from(StockRow)))
        seen.append(await tx.execute(sa.update(StockRow).values(left=5)))
        seen.append(await tx.execute("UPDATE stock SET \"left\" = 6 WHERE sku LIKE 'p%'"))
        row = await tx.first('SELECT sku, "left" FROM stock WHERE sku = :sku', {"sku": cmd.sku})
        seen.append(row and tuple(row))
        seen.append(await tx.first("SELECT 1 FROM stock WHERE sku = 'none'"))
        rows = await tx.all("SELECT sku FROM stock ORDER BY sku")
        seen.append([row.sku for row in rows])
        return Held(hold="h")

    assert (await _handled(engine, hold)).outcome is Outcome.SUCCEEDED
    assert seen == [3, 3, 2, ("pear", 6), None, ["apple", "pear", "plum"]]


async def test_a_list_of_parameters_runs_the_statement_for_each(engine: sa.Engine) -> None:
    async def hold(cmd: Hold, tx: Tx) -> Held:
        changed = await tx.execute(ADD_HOLD, [{"hold": "a", "sku": "x"}, {"hold": "b", "sku": "x"}])
        changed += await tx.execute(sa.insert(HoldRow), [{"hold": "c", "sku": "x"}])
        return Held(hold=str(changed))

    assert (await _handled(engine, hold)).data == {"hold": "3"}
    assert holds(engine) == {"a", "b", "c"}


async def test_a_missing_parameter_is_named(engine: sa.Engine) -> None:
    async def hold(cmd: Hold, tx: Tx) -> Held:
        await tx.execute(ADD_HOLD, {"hold": "a"})
        return Held(hold="a")

    reply = await _handled(engine, hold)
    assert reply.outcome is Outcome.FAILED
    assert "sku" in reply.data["detail"]


async def test_plain_handlers_have_the_same_methods(engine: sa.Engine) -> None:
    stock = Participant("stock")
    seen: list[object] = []

    @stock.handles(HoldPlainly)
    def hold(cmd: HoldPlainly, tx: SyncTx) -> Held:
        seen.append(tx.execute(ADD_HOLD, {"hold": "a", "sku": "pear"}))
        seen.append(tx.scalar("SELECT count(*) FROM hold"))
        first = tx.first(sa.select(HoldRow.hold))
        seen.append(first and first.hold)
        seen.append(len(tx.all("SELECT * FROM stock")))
        seen.append(tx.connection.execute(sa.select(sa.func.count(HoldRow.hold))).scalar())
        return Held(hold="a")

    async with Server(stock, engine) as server:
        await server.call(ask(HoldPlainly(sku="pear", hold="h")))
    assert seen == [1, 1, "a", 3, 1]


@pytest.mark.requirement("R075")
async def test_a_handler_is_told_who_asks_and_whether_to_undo(engine: sa.Engine) -> None:
    stock = Participant("stock")
    seen: list[Received] = []
    undone: list[Held | None] = []

    @stock.handles(HoldPlainly)
    def hold(cmd: HoldPlainly, tx: SyncTx) -> Held:
        seen.append(tx.command)
        undone.append(tx.undoes(Held))
        return Held(hold=cmd.hold)

    @stock.handles(Release)
    def release(cmd: Release, tx: SyncTx) -> None:
        seen.append(tx.command)
        undone.append(tx.undoes(Held))

    async with Server(stock, engine) as server:
        await server.call(ask(HoldPlainly(sku="pear", hold="h"), attempt=2))
        await server.call(ask(Release(), undo=True))
    forward, undo = seen
    assert (forward.id, forward.attempt, forward.direction) == ("s-1/hold/do", 2, "REQUEST")
    assert (undo.id, undo.undoes, undo.direction) == ("s-1/hold/undo", "s-1/hold/do", "CANCEL")
    assert (undo.saga_id, undo.step, undo.deadline) == ("s-1", "hold", None)
    assert undone == [None, Held(hold="h")]


@pytest.mark.requirement("R034")
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE stock SET \"left\" = 0 WHERE sku = 'pear'",
        "WITH x AS (SELECT 1) INSERT INTO hold (hold, sku) SELECT 'h', 'pear'",
        "-- a note\nDELETE FROM stock",
        "/* SELECT */ INSERT INTO hold (hold, sku) VALUES ('h', 'pear') RETURNING hold",
    ],
)
@pytest.mark.parametrize("method", ["execute", "scalar", "first", "all"])
async def test_however_it_was_written_a_refusal_does_not_keep_it(
    engine: sa.Engine, statement: str, method: str
) -> None:
    if method != "execute" and "RETURNING" not in statement:
        statement += " RETURNING 1"

    async def hold(cmd: Hold, tx: Tx) -> OutOfStock:
        await getattr(tx, method)(statement)
        return OutOfStock(sku="pear")

    assert (await _handled(engine, hold)).outcome is Outcome.REFUSED
    assert (left(engine, "pear"), holds(engine)) == (3, set())


@pytest.mark.requirement("R034")
async def test_what_a_trigger_wrote_is_not_kept_though_no_row_was_counted(
    engine: sa.Engine,
) -> None:
    if engine.dialect.name == "sqlite":
        made = [
            "CREATE VIEW shelf AS SELECT * FROM stock",
            "CREATE TRIGGER t INSTEAD OF UPDATE ON shelf BEGIN"
            " INSERT INTO hold VALUES ('trigger', new.sku); END",
        ]
    else:
        made = [
            "CREATE VIEW shelf AS SELECT * FROM stock",
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " INSERT INTO hold VALUES ('trigger', new.sku); RETURN NULL; END $$",
            "CREATE TRIGGER t INSTEAD OF UPDATE ON shelf FOR EACH ROW EXECUTE FUNCTION f()",
        ]
    with engine.begin() as connection:
        for statement in made:
            connection.exec_driver_sql(statement)
    changed: list[int] = []

    async def hold(cmd: Hold, tx: Tx) -> OutOfStock:
        changed.append(await tx.execute("UPDATE shelf SET \"left\" = 0 WHERE sku = 'pear'"))
        return OutOfStock(sku="pear")

    assert (await _handled(engine, hold)).outcome is Outcome.REFUSED
    assert changed[0] == 0
    assert holds(engine) == set()


@pytest.mark.parametrize(
    ("sql", "effect"),
    [
        ("select 1", Effect.READS),
        ("  -- note\n /* more */ SELECT 1", Effect.READS),
        ("SELECT * INTO copy FROM stock", Effect.UNCLEAR),
        ("insert into t values (1)", Effect.WRITES_ROWS),
        ("WITH x AS (SELECT 1) SELECT * FROM x", Effect.UNCLEAR),
        ("(SELECT 1)", Effect.UNCLEAR),
        ("TRUNCATE stock", Effect.UNCLEAR),
        ("", Effect.UNCLEAR),
    ],
)
def test_only_a_plain_select_counts_as_reading(sql: str, effect: Effect) -> None:
    assert effect_of(sql) is effect
