"""Commands about the broker's streams: streams ensure, status."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from es_saga.cli.console import (
    EXIT_FINDING,
    DataOption,
    NatsOption,
    Output,
    OutputOption,
    QuietOption,
    TenantOption,
    say,
    show,
)

if TYPE_CHECKING:
    from es_saga.adapters.nats_streams import StreamStatus
    from es_saga.config import Settings


def register(app: typer.Typer) -> None:
    """Add the commands."""
    streams = typer.Typer(
        help="The streams on the NATS server.",
        epilog="Example: es-saga streams status --nats nats://127.0.0.1:4222",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    example = "Example: es-saga streams {} --nats nats://127.0.0.1:4222"
    streams.command(epilog=example.format("ensure"))(ensure)
    streams.command(epilog=example.format("status") + " -o json")(status)
    app.add_typer(streams, name="streams")


def ensure(
    data: DataOption = None,
    nats: NatsOption = None,
    tenant: TenantOption = None,
    output: OutputOption = Output.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Create or mend the streams. Again does no harm."""
    import asyncio

    from es_saga.cli import compose

    settings, url = _where(data, nats, tenant)

    async def work() -> list[StreamStatus]:
        async with compose.transport(settings, url, "es-saga-cli") as pipe:
            return await pipe.streams()

    _show(asyncio.run(work()), output)


def status(
    data: DataOption = None,
    nats: NatsOption = None,
    tenant: TenantOption = None,
    output: OutputOption = Output.TABLE,
    quiet: QuietOption = False,
) -> None:
    """What the streams hold, and how far their consumers are. Exit 6: a stream is missing."""
    import asyncio

    from es_saga.cli import compose

    settings, url = _where(data, nats, tenant)

    async def look() -> tuple[list[StreamStatus], set[str]]:
        async with compose.streams(settings, url) as streams:
            found = await streams.status()
            return found, {streams.name(kind) for kind in streams.KINDS}

    found, wanted = asyncio.run(look())
    _show(found, output)
    missing = sorted(wanted - {stream.name for stream in found})
    if missing:
        say(f"missing: {', '.join(missing)}; `es-saga streams ensure` creates them")
        raise typer.Exit(EXIT_FINDING)


def _where(data: Path | None, nats: str | None, tenant: str | None) -> tuple[Settings, str]:
    from es_saga.cli.running import located
    from es_saga.config import load

    settings = load(data=data, nats=nats, tenant=tenant)
    if settings.nats is None:
        settings = located(settings)
    assert settings.nats is not None, "located"
    return settings, settings.nats


def _show(found: list[StreamStatus], output: Output) -> None:
    if output is not Output.TABLE:
        show((asdict(stream) for stream in found), output)
        return
    from es_saga.cli.table import Column

    numbers = ("messages", "bytes", "consumers", "pending", "unacked")
    columns: list[str | Column] = ["stream", *(Column(name, right=True) for name in numbers)]
    columns.append(Column("redelivered", right=True, optional=True))
    show(map(summary, found), output, columns)


def summary(stream: StreamStatus) -> dict[str, Any]:
    """A stream on one line: what its consumers have before them, all together."""
    return {
        "stream": stream.name,
        "messages": stream.messages,
        "bytes": stream.bytes,
        "consumers": len(stream.consumers),
        "pending": sum(consumer.pending for consumer in stream.consumers),
        "unacked": sum(consumer.unacked for consumer in stream.consumers),
        "redelivered": sum(consumer.redelivered for consumer in stream.consumers),
    }
