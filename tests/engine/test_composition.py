"""One answer out of a saga's status and what participants know, over NATS and in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from es_saga import (
    DefinitionError,
    InvalidInput,
    Message,
    NotFound,
    Participant,
    Query,
    Sensitive,
    SyncTx,
    Tx,
)
from es_saga.adapters.memory import MemoryTransport
from es_saga.adapters.nats import NatsTransport
from es_saga.database import make_engine
from es_saga.engine import composition
from es_saga.engine.composition import Question, Told, compose
from es_saga.engine.ports import Endpoint
from es_saga.participant import create_tables
from es_saga.participant.answering import Answering
from tests.adapters.pipes import SMALL

pytestmark = pytest.mark.anyio

Pipe = MemoryTransport | NatsTransport


class Level(Message):
    pieces: int
    keeper: Sensitive[str] = "ada"


class StockLevel(Query[Level]):
    to = "shelf"
    sku: str


class Sleepy(Query[Level]):
    to = "shelf"


class Broken(Query[Level]):
    to = "shelf"


class Writing(Query[Level]):
    to = "shelf"


class Elsewhere(Query[Level]):
    to = "nowhere"


tables = sa.MetaData()
sa.Table("level", tables, sa.Column("sku", sa.Text), sa.Column("pieces", sa.Integer))

shelf = Participant("shelf", tables=tables)


@shelf.answers(StockLevel)
def level(query: StockLevel, tx: SyncTx) -> Level:
    found = tx.scalar("SELECT pieces FROM level WHERE sku = :sku", {"sku": query.sku})
    if found is None:
        raise NotFound(f"There is no {query.sku}.")
    return Level(pieces=found)


@shelf.answers(Sleepy)
async def sleepy(query: Sleepy, tx: Tx) -> Level:
    await asyncio.sleep(1.0)
    return Level(pieces=0)


@shelf.answers(Broken)
async def broken(query: Broken, tx: Tx) -> Level:
    raise RuntimeError("secret words")


@shelf.answers(Writing)
def writing(query: Writing, tx: SyncTx) -> Level:
    return Level(pieces=tx.execute("DELETE FROM level"))


@pytest.fixture(params=["memory", "nats"])
async def pipe(
    request: pytest.FixtureRequest, nats_url: str, nats_tenant: str
) -> AsyncIterator[Pipe]:
    made: Pipe
    if request.param == "memory":
        made = MemoryTransport(tenant=nats_tenant)
    else:
        made = await NatsTransport.connect(nats_url, tenant=nats_tenant, limits=SMALL)
    yield made
    await made.close()


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    url: str = (
        f"sqlite:///{tmp_path / 'shelf.db'}"
        if request.param == "sqlite"
        else request.getfixturevalue("postgres_url")
    )
    engine = make_engine(url)
    create_tables(shelf, engine)
    with engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO level VALUES ('lamp', 7)"))
    engine.dispose()
    return url


@pytest.fixture
async def asked(pipe: Pipe, database: str) -> AsyncIterator[Pipe]:
    async with Answering(shelf, database, pipe, tenant=pipe.subjects.tenant):
        yield pipe


async def standing() -> str:
    return "running"


async def ask(pipe: Pipe, within: float = 5.0, **questions: Question | Query[Any]) -> Any:
    return await compose(standing(), pipe, questions, tenant=pipe.subjects.tenant, within=within)


@pytest.mark.requirement("R084")
async def test_a_sagas_status_and_what_participants_know_are_one_answer(asked: Pipe) -> None:
    found = await ask(
        asked,
        lamp=StockLevel(sku="lamp"),
        plain=Question(service="shelf", query="StockLevel", data={"sku": "lamp"}),
    )
    told = Told("shelf", "StockLevel", "given", reply={"pieces": 7, "keeper": "***"})
    assert (found.saga, found.partial) == ("running", False)
    assert found.answers == {"lamp": told, "plain": told}


@pytest.mark.requirement("R084")
async def test_who_does_not_answer_in_time_or_cannot_is_named_and_the_others_are_told(
    asked: Pipe,
) -> None:
    began = asyncio.get_running_loop().time()
    found = await ask(
        asked,
        within=0.5,
        lamp=StockLevel(sku="lamp"),
        late=Sleepy(),
        away=Elsewhere(),
        unknown=StockLevel(sku="dodo"),
        broken=Broken(),
        wrong=Question(service="shelf", query="StockLevel", data={}),
    )
    assert asyncio.get_running_loop().time() - began < 5.0
    assert found.partial
    assert {name: told.answer for name, told in found.answers.items()} == {
        "lamp": "given",
        "late": "missing",
        "away": "missing",
        "unknown": "failed",
        "broken": "failed",
        "wrong": "failed",
    }
    why = {name: told.why or "" for name, told in found.answers.items()}
    assert "no dodo" in why["unknown"]
    assert "RuntimeError" in why["broken"]
    assert "secret" not in why["broken"]
    assert "sku" in why["wrong"]
    assert "Nobody" in why["away"]


async def test_whoever_answers_a_query_changes_nothing(asked: Pipe) -> None:
    found = await ask(asked, writing=Writing(), lamp=StockLevel(sku="lamp"))
    assert found.answers["writing"].answer == "failed"
    again = await ask(asked, lamp=StockLevel(sku="lamp"))
    assert again.answers["lamp"].reply == {"pieces": 7, "keeper": "***"}


async def test_once_a_participant_has_stopped_it_is_missing(pipe: Pipe, database: str) -> None:
    async with Answering(shelf, database, pipe, tenant=pipe.subjects.tenant):
        assert not (await ask(pipe, lamp=StockLevel(sku="lamp"))).partial
    assert (await ask(pipe, lamp=StockLevel(sku="lamp"))).answers["lamp"].answer == "missing"


@pytest.mark.parametrize("answer", [b"[1]", b"{", b'{"a": "' + b"x" * 70_000 + b'"}'])
async def test_an_answer_that_is_none_or_too_large_counts_as_failed(
    pipe: Pipe, answer: bytes
) -> None:
    async def give(_question: bytes) -> bytes:
        return answer

    subject = pipe.subjects.query("odd", "Any")
    serving = await pipe.serve("odd", [Endpoint("Any", subject, give)])
    found = await ask(pipe, odd=Question(service="odd", query="Any"))
    await serving.stop()
    assert found.answers["odd"].answer == "failed"
    assert found.answers["odd"].reply is None


async def test_questions_and_deadline_are_bounded() -> None:
    pipe = MemoryTransport()
    many = {f"q{n}": Elsewhere() for n in range(composition.MAX_QUESTIONS + 1)}
    with pytest.raises(InvalidInput, match="too many"):
        await compose(standing(), pipe, many)
    for within in (0.0, 31.0, float("nan")):
        with pytest.raises(InvalidInput, match="Wait"):
            await compose(standing(), pipe, {}, within=within)
    big = Question(service="a", query="b", data={"x": "y" * 300_000})
    with pytest.raises(InvalidInput, match="bytes"):
        await compose(standing(), pipe, {"big": big})
    await pipe.close()


def test_a_query_that_cannot_be_answered_is_refused_with_all_its_faults() -> None:
    class Nothing(Query[None]):
        to = "elsewhere"

    with pytest.raises(DefinitionError) as caught:
        shelf.register_query(Nothing, lambda: None)
    assert len(caught.value.faults) == 3
    with pytest.raises(DefinitionError, match="already"):
        shelf.register_query(StockLevel, level)


async def test_any_nats_client_can_ask(nats_url: str, nats_tenant: str, database: str) -> None:
    from nats.aio.client import Client

    pipe = await NatsTransport.connect(nats_url, tenant=nats_tenant, limits=SMALL)
    client = Client()
    await client.connect(nats_url)
    async with Answering(shelf, database, pipe, tenant=nats_tenant):
        subject = f"saga.v1.{nats_tenant}.qry.shelf.StockLevel"
        answer = await client.request(subject, b'{"sku": "lamp"}', timeout=10)
        assert json.loads(answer.data)["pieces"] == 7
        refused = await client.request(subject, b"{}", timeout=10)
        assert (refused.headers or {})["Nats-Service-Error-Code"] == "invalid-input"
    await client.close()
    await pipe.close()
