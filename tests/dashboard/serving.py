"""A dashboard in a thread of its own, over a log that is there."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from es_saga.adapters.store import connect
from es_saga.cli.views import kept
from es_saga.cli.workshop import DatabaseWorkshop
from es_saga.core.compiled import Definition
from es_saga.database import make_engine
from es_saga.web import server
from es_saga.web.access import Access
from es_saga.web.desk import Desk, Line

READY_SECONDS = 10.0
STOP_SECONDS = 10.0
VIEWS = {"status": True, "audit": True, "health": False, "orders": False}


@dataclass(frozen=True)
class Site:
    """A dashboard that is being served."""

    url: str
    log: str
    """URL of the log's database."""
    desk: Desk | None = None
    """Where it is in this process."""


@contextmanager
def serving(
    log: str,
    definitions: Sequence[Definition] = (),
    *,
    line: Line | None = None,
    access: Access | None = None,
) -> Generator[Site, None, None]:
    """Serve the log at a free port of this machine."""
    engine = make_engine(log)
    listener = server.listen("127.0.0.1", 0, guarded=False)
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    ready = threading.Event()

    desks: list[Desk] = []

    async def serve() -> None:
        store = connect(log)
        desk = Desk(
            engine,
            line=line,
            definitions=definitions,
            access=access,
            log=store,
            views=VIEWS,
            workshop=DatabaseWorkshop(log, kept([])),
        )
        desks.append(desk)
        loop.call_soon(ready.set)
        try:
            await server.serve(desk, listener, stop.wait)
        finally:
            await desk.close()
            await store.close()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), name="dashboard")
    url = server.address(listener)
    thread.start()
    try:
        assert ready.wait(READY_SECONDS), "it does not serve"
        yield Site(url, log, desks[0])
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(STOP_SECONDS)
        assert not thread.is_alive(), "it does not stop"
        loop.close()
        engine.dispose()
