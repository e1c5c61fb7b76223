"""The participants' process: serves the three services until its standard input ends.

python -m es_saga.bench.services URL FOLDER [--sync]
"""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from pathlib import Path

from es_saga.adapters.nats import NatsTransport
from es_saga.bench.orders import app
from es_saga.bench.process import run, until_told
from es_saga.participant import Server


async def serve(url: str, folder: Path, *, sync: bool) -> None:
    """Serve every participant, each on its own SQLite database in the folder."""
    transport = await NatsTransport.connect(url, sync_batches=sync)
    async with AsyncExitStack() as stack:
        for participant in app.participants.values():
            database = f"sqlite:///{folder / participant.name}.db"
            server = Server(participant, database, transport, create_tables=True)
            await stack.enter_async_context(server)
        await until_told()
    await transport.close()


if __name__ == "__main__":
    run(serve(sys.argv[1], Path(sys.argv[2]), sync="--sync" in sys.argv[3:]))
