"""What the tests of NATS share: small streams, patience, and a client that is not ours."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from nats.aio.client import Client

from es_saga.adapters.nats_streams import StreamLimits
from es_saga.core.errors import Unavailable

SMALL = StreamLimits(
    cmd_bytes=64 * 1024**2, rpl_bytes=64 * 1024**2, evt_bytes=1024**2, dlq_bytes=8 * 1024**2
)
"""Many tenants share the server of the tests, and each reserves its space."""


async def eventually_is(
    ask: Callable[[], Awaitable[object]], wanted: object, seconds: float = 20.0
) -> None:
    """Wait until the answer is `wanted`; an outage is no answer."""
    deadline = time.monotonic() + seconds
    answer: object = None
    while answer != wanted:
        assert time.monotonic() < deadline, f"it stayed {answer!r}"
        with contextlib.suppress(Unavailable):
            answer = await ask()
        await asyncio.sleep(0.01)


async def stranger(url: str) -> Client:
    """A client that knows nothing of es_saga."""
    client = Client()
    await client.connect(url)
    return client


async def ask_jetstream(client: Client, what: str, **request: object) -> dict[str, Any]:
    """JetStream's own API, such as `STREAM.INFO.<name>`."""
    answer = await client.request(f"$JS.API.{what}", json.dumps(request).encode(), timeout=5)
    body: dict[str, Any] = json.loads(answer.data)
    assert "error" not in body, body["error"]
    return body


def alive(pid: int) -> bool:
    """Whether a process runs, a zombie not counting."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
