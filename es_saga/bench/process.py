"""Processes of the benchmark: started, ready when they say so, ended with their standard input."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from es_saga import loop
from es_saga.adapters.telemetry import configure_logging
from es_saga.core.errors import Unavailable

READY: Final = b"ready\n"
"""What a process says once it serves."""

READY_SECONDS: Final = 30.0
"""How long it may take until then."""

STOP_SECONDS: Final = 60.0
"""How long it may take to end."""

T = TypeVar("T")


@asynccontextmanager
async def child(
    module: str, arguments: Sequence[str]
) -> AsyncGenerator[asyncio.subprocess.Process]:
    """A process of the benchmark, ready; it ends when its standard input does.

    Raises:
        Unavailable: it ended before it was ready, or was not ready in time.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for us; we end it
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(READY_SECONDS):
            if await process.stdout.readline() != READY:
                raise Unavailable(f"{module} did not start; what it says is above.")
        yield process
    except TimeoutError:
        raise Unavailable(f"{module} was not ready after {READY_SECONDS:.0f} s.") from None
    finally:
        process.stdin.close()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def run(body: Coroutine[Any, Any, T]) -> T:
    """Run it to its end as a serving process would, with only errors logged."""
    configure_logging("error")
    return loop.run(body)


async def until_told() -> None:
    """Say that all is ready, then wait for the end of the standard input."""
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()
    await asyncio.to_thread(sys.stdin.buffer.read)
