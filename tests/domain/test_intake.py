"""The intake of claims: who is asked, what becomes of what they say, and who hears of the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from domain.intake import app, intake
from domain.intake.contracts import (
    DEAR_PENCE,
    AskArchive,
    AskInvestigator,
    AskPhysician,
    AskSurveyor,
    Claim,
    Estimate,
    NoOpinion,
    ReceiveClaim,
    ReturnClaim,
    SettleClaim,
)
from domain.intake.offices import totals
from domain.pace import PATIENCE
from es_saga import Command
from es_saga.adapters.clock import SystemClock
from es_saga.adapters.memory import MemoryStore
from es_saga.adapters.nats import NatsTransport
from es_saga.adapters.nats_streams import StreamLimits
from es_saga.cli import compose
from es_saga.config import Settings
from es_saga.core.aggregate import fold
from es_saga.database import make_engine
from es_saga.engine.client import Client
from es_saga.engine.leases import SoleOwner
from es_saga.engine.manager import ProcessManager
from es_saga.testing import given, judge
from es_saga.testing.contracts.pipes import eventually
from es_saga.testing.scenes import Scene

pytestmark = pytest.mark.requirement("R003")

A_CLAIM = Claim(claim_id="1", loss="damage", item="car", evidence="photos", pence=DEAR_PENCE)

SECONDS = 20.0

SMALL = StreamLimits(cmd_bytes=2**20, rpl_bytes=2**20, evt_bytes=2**20, dlq_bytes=2**20)


def received(**changes: object) -> Scene:
    """The claim is in the files."""
    claim = A_CLAIM.model_copy(update=changes)
    return given(intake, claim).expect(ReceiveClaim).reply()


@pytest.mark.parametrize(
    ("changes", "asked"),
    [
        ({}, (AskArchive, AskSurveyor, AskInvestigator)),
        ({"pence": DEAR_PENCE - 1}, (AskArchive, AskSurveyor)),
        ({"loss": "injury"}, (AskArchive, AskPhysician, AskInvestigator)),
        ({"loss": "injury", "pence": 1}, (AskArchive, AskPhysician)),
    ],
)
def test_only_those_are_asked_whom_the_claim_concerns(
    changes: dict[str, object], asked: tuple[type[Command[Estimate]], ...]
) -> None:
    received(**changes).expect(*asked)


def asked() -> Scene:
    return received().expect(AskArchive, AskSurveyor, AskInvestigator)


def test_what_all_of_them_say_decides() -> None:
    two = asked().on(AskArchive).reply(Estimate(pence=7)).on(AskSurveyor).reply(Estimate(pence=9))
    all_said = two.on(AskInvestigator).reply(Estimate(pence=8))
    done = all_said.expect(SettleClaim(claim_id="1", pence=8, opinions=3)).reply().completed()
    assert not judge(done.story).violations


def test_who_is_late_is_gone_without() -> None:
    two = asked().on(AskArchive).reply(Estimate(pence=7)).on(AskSurveyor).reply(Estimate(pence=9))
    late = two.wait(PATIENCE.total_seconds())
    late.expect(SettleClaim(claim_id="1", pence=7, opinions=2)).reply().completed()


def test_who_cannot_tell_is_gone_without() -> None:
    refused = asked().on(AskSurveyor).refuse(NoOpinion(why="it is dark"))
    two = refused.on(AskArchive).reply(Estimate(pence=7))
    decided = two.on(AskInvestigator).reply(Estimate(pence=DEAR_PENCE + 1))
    decided.expect(SettleClaim(claim_id="1", pence=7, opinions=2)).reply().completed()


def test_too_few_opinions_send_it_back() -> None:
    refused = asked().on(AskSurveyor).refuse(NoOpinion(why="it is dark"))
    late = refused.on(AskArchive).reply(Estimate(pence=7)).wait(PATIENCE.total_seconds())
    done = late.expect(ReturnClaim(claim_id="1")).reply().compensated()
    assert not judge(done.story).violations


def test_nobody_gets_more_than_he_claims() -> None:
    rich = Estimate(pence=10 * DEAR_PENCE)
    said = asked().on(AskArchive).reply(rich).on(AskSurveyor).reply(rich)
    said.on(AskInvestigator).reply(rich).expect(
        SettleClaim(claim_id="1", pence=DEAR_PENCE, opinions=3)
    )


@pytest.mark.anyio
async def test_over_nats_each_is_settled_or_sent_back_and_whoever_listens_hears_of_it(
    tmp_path: Path, nats_url: str, nats_tenant: str
) -> None:
    changes: dict[str, dict[str, object]] = {
        "all": {},
        "late": {"evidence": "photos!garbled"},
        "refused": {"evidence": "blurred"},
        "too-few": {"evidence": "blurred", "pence": 100},
    }
    settings, store = Settings(data=tmp_path, tenant=nats_tenant), MemoryStore()

    def counted() -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {}
        for service, counting in totals.items():
            engine = make_engine(settings.participant_url(service))
            found[service] = counting(engine)
            engine.dispose()
        return found

    expected = {
        "claims": {"open": 0, "settled": 3, "returned": 1, "pence": 3 * DEAR_PENCE},
        "treasury": {"pence": 3 * DEAR_PENCE},
        "letters": {"sent": 4},
    }
    async with (
        connected(nats_url, nats_tenant) as transport,
        ProcessManager(
            app.name,
            app.definitions(),
            store=store,
            transport=transport,
            clock=SystemClock(),
            leases=SoleOwner(),
            tenant=nats_tenant,
        ),
        compose.serving(settings, app, transport, ()),
    ):
        client = Client(transport, app.name, tenant=nats_tenant)
        for key, change in changes.items():
            claim = A_CLAIM.model_copy(update={"claim_id": key, **change})
            (await client.start("intake", claim, key=key)).result()
        await eventually(lambda: counted() == expected)
        ends = [*["completed"] * 3, "compensated"]
        async with asyncio.timeout(SECONDS):
            while await statuses(store, [f"intake-{key}" for key in changes]) != ends:
                await asyncio.sleep(0.02)


async def statuses(store: MemoryStore, names: Sequence[str]) -> list[str]:
    logs = await store.load(names)
    return [state.status for name in names if (state := fold(name, logs[name]))]


@asynccontextmanager
async def connected(url: str, tenant: str) -> AsyncGenerator[NatsTransport, None]:
    transport = await NatsTransport.connect(url, tenant=tenant, limits=SMALL)
    try:
        yield transport
    finally:
        await transport.close()
