"""Everything that the OpenAPI document allows, and much that it does not: no answer is a 5xx."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, settings

from es_saga.web import stream
from es_saga.web.access import Access, read_tokens
from es_saga.web.app import create_app
from es_saga.web.desk import Desk
from tests.engine.errand import Errand, Silence, errand, glance, willing
from tests.web.office import open_office, served

schemathesis: Any = pytest.importorskip("schemathesis", reason="needs the extra `verify`")

EXAMPLES: Final = 12
"""Requests an operation, beside its examples."""

SECRET: Final = "operates-operates-operates"


def document() -> dict[str, Any]:
    """The OpenAPI document, with examples that fit what runs here."""
    engine = sa.create_engine("sqlite://")
    code = [errand.definition, glance.definition]
    found = create_app(Desk(engine, definitions=code)).openapi()
    fork = found["components"]["schemas"]["WhatIf"]["properties"]
    fork["answers"]["examples"] = [{"pay": "No"}]
    return found


checks: Any = pytest.importorskip(
    "schemathesis.specs.openapi.checks", reason="needs the extra `verify`"
)

schema = schemathesis.openapi.from_dict(document())


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Generator[str, None, None]:
    """A real server over a system that really runs, with the sagas that the examples name."""
    folder: Path = tmp_path_factory.mktemp("office")
    loop = asyncio.new_event_loop()
    ready: asyncio.Future[str] = loop.create_future()
    stop = asyncio.Event()

    async def work() -> None:
        access = Access(read_tokens(f"ada:operate:{SECRET}"))
        async with open_office(folder, access=access) as office:
            await office.world.run("lamp", saga_id="order-7")
            office.behave(lambda sent: Silence() if sent.sagaid == "order-8" else willing(sent))
            await office.world.manager.begin(errand, Errand(thing="lamp"), saga_id="order-8")
            async with served(office.desk) as found:
                ready.set_result(found)
                await stop.wait()

    patch = pytest.MonkeyPatch()
    patch.setattr(stream, "LIFETIME_SECONDS", 0.02)
    thread = threading.Thread(target=loop.run_until_complete, args=(work(),))
    thread.start()
    yield asyncio.run_coroutine_threadsafe(_wait(ready), loop).result(30)
    loop.call_soon_threadsafe(stop.set)
    thread.join(30)
    patch.undo()
    loop.close()


async def _wait(ready: asyncio.Future[str]) -> str:
    return await ready


@schema.parametrize()  # type: ignore[untyped-decorator]  # of a library that may not be there
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
def test_no_request_makes_the_server_fail_and_every_answer_is_as_documented(
    case: Any, address: str
) -> None:
    # What a saga can take in its state, no schema says: such a request is refused all the same.
    excluded = [checks.positive_data_acceptance]
    if case.operation.label == "POST /api/v1/sagas":
        # An app's own models decide what they take for a number.
        excluded.append(checks.negative_data_rejection)
    headers = {"Authorization": f"Bearer {SECRET}"}
    case.call_and_validate(base_url=address, headers=headers, excluded_checks=excluded, timeout=30)
