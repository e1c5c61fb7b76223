"""A manager process that is killed: the other one takes over what it conducted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from es_saga.adapters.nats import NatsTransport
from es_saga.core.errors import Unavailable
from es_saga.core.messages import PARTS, part_of
from es_saga.engine.client import Client
from tests.chaos.shop import Order
from tests.chaos.siege import Siege

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

TAKE_OVER_SECONDS = 15.0
READY_SECONDS = 60.0


def one_of_each_part(prefix: str) -> list[str]:
    """A saga id for each part."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < PARTS:
        number += 1
        found.setdefault(part_of(f"{prefix}{number}"), f"{prefix}{number}")
    return list(found.values())


async def start(client: Client, saga_id: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            answer = await client.start(
                "order", Order(units=1, fate="good"), saga_id=saga_id, timeout=1.0
            )
            answer.result()
            return
        except Unavailable:
            if time.monotonic() > deadline:
                raise


@pytest.mark.requirement("R007")
async def test_every_part_of_a_killed_manager_reacts_again_within_15_seconds(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with Siege(tmp_path, seed="calm", postgres=True) as siege:
        transport = await NatsTransport.connect(siege.nats_url)
        client = Client(transport, "chaos")
        ids = one_of_each_part("before")
        await asyncio.gather(*(start(client, saga_id, READY_SECONDS) for saga_id in ids))
        await siege.until_shared()
        siege.children[0].kill(restart=False)
        began = time.monotonic()
        ids = one_of_each_part("after")
        await asyncio.gather(*(start(client, saga_id, TAKE_OVER_SECONDS) for saga_id in ids))
        seconds = time.monotonic() - began
        await transport.close()
    record_property("told", f"a killed manager's parts reacted again after {seconds:.1f} s")
    assert seconds < TAKE_OVER_SECONDS
    assert siege.surprises == []
