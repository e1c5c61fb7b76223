"""The participants' process: serves the three services until its standard input ends.

python -m es_saga.bench.services URL FOLDER [--sync] [--flow]
"""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from pathlib import Path

from es_saga.adapters.nats import NatsTransport
from es_saga.bench import flow, orders
from es_saga.bench.process import run, until_told
from es_saga.participant import PollingRelay, Server, Subscriber


async def serve(url: str, folder: Path, *, sync: bool, reacting: bool) -> None:
    """Serve every participant, each on its own SQLite database in the folder.

    Args:
        reacting: they react to each other, and nobody commands.
    """
    transport = await NatsTransport.connect(url, sync_batches=sync)
    async with AsyncExitStack() as stack:
        for participant in (flow if reacting else orders).app.participants.values():
            where = f"sqlite:///{folder / participant.name}.db", transport
            if reacting:
                subscriber = Subscriber(participant, *where, create_tables=True)
                await stack.enter_async_context(subscriber)
                await stack.enter_async_context(PollingRelay(participant.name, *where))
            else:
                server = Server(participant, *where, create_tables=True)
                await stack.enter_async_context(server)
        await until_told()
    await transport.close()


if __name__ == "__main__":
    options = sys.argv[3:]
    where = sys.argv[1], Path(sys.argv[2])
    run(serve(*where, sync="--sync" in options, reacting="--flow" in options))
