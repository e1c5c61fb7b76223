"""Sensitive values in a real log: encrypted, read back, hidden from views, shredded (R064, L55)."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from es_saga import (
    Command,
    IllegalOperation,
    InvalidInput,
    Message,
    NotFound,
    Refusal,
    Saga,
    Unavailable,
)
from es_saga.adapters import definitions
from es_saga.adapters.catch_up import CatchUp
from es_saga.adapters.sealing import SEALED, master_key, shred
from es_saga.adapters.store import SqlStore, connect
from es_saga.core.aggregate import fold
from es_saga.core.events import Parent, SagaStarted
from es_saga.core.messages import part_of
from es_saga.core.sensitive import HIDDEN, Sensitive
from es_saga.database import make_engine
from es_saga.engine.ports import Append
from es_saga.projections.audit import AuditView
from es_saga.projections.status import StatusView
from es_saga.testing import given
from es_saga.testing.scenes import Scene
from es_saga.testing.story import Story

pytestmark = [pytest.mark.requirement("R064"), pytest.mark.law("L55")]

SECRET = "4711-0815"


class Pay(Message):
    card: Sensitive[str]
    pence: int


class Signed(Message):
    name: Sensitive[str]


class Paid(Message):
    receipt: Sensitive[str]


class Charge(Command[Paid]):
    to = "payments"
    card: Sensitive[str]


class Refund(Command[None]):
    to = "payments"
    card: Sensitive[str]


class Declined(Refusal):
    why: dict[str, str]
    card: dict[str, str]


def payment() -> Saga[Pay]:
    saga = Saga("payment", Pay)
    saga.wait(Signed, timeout=timedelta(minutes=1))
    saga.step(charge).compensation(refund)
    return saga


def charge(pay: Pay) -> Charge:
    return Charge(card=pay.card)


def refund(pay: Pay) -> Refund:
    return Refund(card=pay.card)


SAGA = payment()


def signed() -> Scene:
    return given(SAGA, Pay(card=SECRET, pence=5)).signal(Signed(name=SECRET))


def scene() -> Scene:
    paid = Paid(receipt=SECRET)
    begun = signed().expect(Charge)
    return begun.cancel("no").on(Charge).reply(paid).expect(Refund).reply().compensated()


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Any) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/log.db"
    found: str = request.getfixturevalue("postgres_url")
    return found


MASTER = secrets.token_bytes(32)


def opened(url: str, master: bytes | None = MASTER) -> SqlStore:
    return connect(url, views=(StatusView(), AuditView()), migrate=True, master=master)


async def write(store: SqlStore, story: Story, *, upto: int | None = None, after: int = 0) -> None:
    """Reaction by reaction would be the same: each event is its own append."""
    for version in range(after, upto or len(story.history)):
        events = story.history[version : version + 1]
        state = fold(story.saga_id, story.history[: version + 1])
        assert state is not None
        before = fold(story.saga_id, story.history[:version])
        batch = [Append(story.saga_id, version, events, state, before)]
        (position,) = await store.append(part_of(story.saga_id), batch)
        assert position is not None


async def told(url: str, master: bytes | None = MASTER) -> Story:
    """A saga that was compensated, written down."""
    store = opened(url, master)
    engine = make_engine(url)
    definitions.register(engine, [SAGA.definition])
    story = scene().story
    await write(store, story)
    await store.close()
    engine.dispose()
    return story


def dump(url: str) -> str:
    """Every table of the database, as a thief would read it."""
    engine = make_engine(url)
    tables = sa.inspect(engine).get_table_names()
    with engine.connect() as connection:
        rows = [connection.exec_driver_sql(f"SELECT * FROM {table}").all() for table in tables]
    engine.dispose()
    return repr(rows)


async def read(url: str, master: bytes | None = MASTER) -> Sequence[Any]:
    store = opened(url, master)
    try:
        loaded = (await store.load(["payment-1"]))["payment-1"]
        paged = await store.read(part_of("payment-1"), after=0, limit=100)
        assert [recorded.event for recorded in paged] == list(loaded)
        return loaded
    finally:
        await store.close()


@pytest.mark.anyio
async def test_who_begins_a_saga_again_is_told_and_the_one_key_stays(url: str) -> None:
    story = scene().story
    first, second = opened(url), opened(url)
    engine = make_engine(url)
    definitions.register(engine, [SAGA.definition])
    engine.dispose()
    await write(first, story, upto=1)
    state = fold(story.saga_id, story.history[:1])
    assert state is not None
    again = Append(story.saga_id, 0, story.history[:1], state, None)
    for store in (second, first):
        assert list(await store.append(part_of(story.saga_id), [again])) == [None]
    await write(second, story, after=1)
    await first.close()
    await second.close()
    assert await read(url) == list(story.history)


@pytest.mark.anyio
async def test_what_is_sealed_is_read_back_and_stands_nowhere_in_the_database(url: str) -> None:
    story = await told(url)
    assert SECRET not in dump(url)
    assert await read(url) == list(story.history)


@pytest.mark.anyio
async def test_without_a_key_it_stands_in_the_log_and_in_no_view(url: str) -> None:
    story = await told(url, master=None)
    assert await read(url, master=None) == list(story.history)
    engine = make_engine(url)
    with engine.connect() as connection:
        row = connection.exec_driver_sql("SELECT payload, steps FROM es_status").one()
    engine.dispose()
    assert SECRET not in repr(row)
    assert json.loads(row.payload) == {"card": HIDDEN, "pence": 5}
    assert json.loads(row.steps)["charge"]["reply"] == {"receipt": HIDDEN}


@pytest.mark.anyio
async def test_a_view_that_follows_is_told_the_same_as_one_that_is_kept_in_step(url: str) -> None:
    await told(url)
    engine = make_engine(url)
    with engine.begin() as connection:
        live = connection.exec_driver_sql("SELECT * FROM es_status").all()
        connection.exec_driver_sql("DELETE FROM es_status")
        connection.exec_driver_sql("DELETE FROM es_tracking WHERE name = 'status'")
    catching = CatchUp(engine)
    while (await catching.advance(StatusView())).taken:
        pass
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT * FROM es_status").all() == live
    engine.dispose()


@pytest.mark.anyio
async def test_what_was_shredded_is_gone_and_the_rest_keeps_its_shape(url: str) -> None:
    story = await told(url)
    engine = make_engine(url)
    shred(engine, "payment-1", actor="dpo", reason="she asked for it")
    shred(engine, "payment-1", actor="dpo", reason="she asked for it")
    with engine.connect() as connection:
        row = connection.exec_driver_sql("SELECT key, actor FROM es_keys").one()
    assert tuple(row) == (None, "dpo")
    engine.dispose()
    after = await read(url)
    assert SECRET not in repr(after)
    assert [type(event) for event in after] == [type(event) for event in story.history]
    state, whole = fold("payment-1", after), fold("payment-1", story.history)
    assert state is not None
    assert whole is not None
    assert state.origin.data == {"card": HIDDEN, "pence": 5}
    assert (state.status, state.version, state.closed) == (
        whole.status,
        whole.version,
        whole.closed,
    )


@pytest.mark.anyio
async def test_with_a_saga_those_that_it_ran_are_shredded_and_nobody_else(url: str) -> None:
    await told(url)
    store, parents = opened(url), {"payment-1--a": "payment-1", "payment-1--a--b": "payment-1--a"}
    for saga_id in (*parents, "payment-1--stranger"):
        await write(store, as_child(saga_id, parents.get(saga_id)))
    open_child = as_child("payment-1--a--open", "payment-1--a")
    await write(store, open_child, upto=2)
    engine = make_engine(url)
    with pytest.raises(IllegalOperation, match="payment-1--a--open is not closed"):
        shred(engine, "payment-1", actor="dpo", reason="she asked for it")
    await write(store, open_child, after=2)
    await store.close()
    family = ["payment-1", "payment-1--a", "payment-1--a--b", "payment-1--a--open"]
    assert shred(engine, "payment-1", actor="dpo", reason="she asked for it") == family
    with engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT saga_id FROM es_keys WHERE key IS NULL").all()
    assert sorted(row.saga_id for row in rows) == family
    engine.dispose()


def as_child(saga_id: str, parent: str | None) -> Story:
    """The same saga under another id, run by another one."""
    story = scene().story
    first, *rest = story.history
    assert isinstance(first, SagaStarted)
    own = Parent(command_id=f"{parent}/ship/do", undoable=False) if parent else None
    history = (first.model_copy(update={"parent": own}), *rest)
    return story._replace(saga_id=saga_id, history=history)


@pytest.mark.anyio
async def test_a_saga_that_began_before_encryption_keeps_what_it_has(url: str) -> None:
    story = scene().story
    store = opened(url, master=None)
    engine = make_engine(url)
    definitions.register(engine, [SAGA.definition])
    await write(store, story, upto=2)
    await store.close()
    store = opened(url)
    await write(store, story, after=2)
    await store.close()
    assert await read(url) == list(story.history)
    with pytest.raises(IllegalOperation, match="was not encrypted"):
        shred(engine, "payment-1", actor="dpo", reason="she asked for it")
    engine.dispose()


@pytest.mark.anyio
async def test_nobody_opens_an_encrypted_log_without_its_key(url: str) -> None:
    await told(url)
    with pytest.raises(Unavailable, match="no key is set"):
        opened(url, master=None)
    store = opened(url, secrets.token_bytes(32))
    with pytest.raises(Unavailable, match="another key"):
        await store.load(["payment-1"])
    await store.close()


@pytest.mark.anyio
async def test_only_closed_sagas_are_shredded(url: str) -> None:
    store = opened(url)
    engine = make_engine(url)
    definitions.register(engine, [SAGA.definition])
    await write(store, scene().story, upto=3)
    with pytest.raises(IllegalOperation, match="not closed"):
        shred(engine, "payment-1", actor="dpo", reason="she asked for it")
    with pytest.raises(NotFound):
        shred(engine, "payment-2", actor="dpo", reason="she asked for it")
    with pytest.raises(InvalidInput, match="who shreds"):
        shred(engine, "payment-1", actor="dpo", reason=" ")
    await store.close()
    engine.dispose()


@pytest.mark.anyio
async def test_data_that_looks_like_a_seal_is_left_alone(url: str) -> None:
    """Somebody may send it on purpose."""
    store = opened(url)
    engine = make_engine(url)
    definitions.register(engine, [SAGA.definition])
    declined = Declined(why={SEALED: base64.b64encode(b"x" * 40).decode()}, card={SEALED: "x"})
    story = signed().expect(Charge).refuse(declined).compensated().story
    await write(store, story)
    await store.close()
    engine.dispose()
    assert await read(url) == list(story.history)


@pytest.mark.parametrize("text", ["", "short", base64.b64encode(b"x" * 31).decode(), "not base64!"])
def test_a_key_that_is_none_is_refused_in_words(text: str) -> None:
    with pytest.raises(InvalidInput, match="32 bytes in base64"):
        master_key(text)


def test_a_key_is_read() -> None:
    assert master_key(base64.b64encode(MASTER).decode()) == MASTER
