"""The command that starts a saga."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from es_saga.cli.console import (
    AppOption,
    DatabaseOption,
    DataOption,
    NatsOption,
    Output,
    OutputOption,
    QuietOption,
    TenantOption,
    show_one,
)

if TYPE_CHECKING:
    from es_saga.config import Settings

MAX_INPUT_BYTES = 1024 * 1024
"""What is read of an input: JSON with generous white space around what may travel."""

_ORDER = {"order_id": "1", "customer": "ada", "sku": "teapot", "pence": 1999}
_EXAMPLE = f"'{json.dumps(_ORDER | {'card': 'visa', 'town': 'Leeds'})}'"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=f"Example: es-saga start order --key 1 --wait --input {_EXAMPLE}")(start)


def start(
    saga_type: Annotated[str, typer.Argument(metavar="TYPE", help="The saga's type.")],
    input: Annotated[
        str, typer.Option("--input", "-i", help="JSON, @file, or - for standard input.")
    ],
    key: Annotated[
        str | None, typer.Option(help="Business key: one key is one saga.", show_default=False)
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is closed.")] = False,
    timeout: Annotated[
        float, typer.Option(help="Seconds to wait, for the answer and for the end.", min=0.1)
    ] = 30.0,
    app: AppOption = None,
    data: DataOption = None,
    database: DatabaseOption = None,
    nats: NatsOption = None,
    tenant: TenantOption = None,
    output: OutputOption = Output.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Start a saga; its id goes to stdout. With --wait, exit 0 only if it completes."""
    import asyncio

    from es_saga.cli.reading import show_end
    from es_saga.cli.running import located
    from es_saga.config import load
    from es_saga.engine.requests import id_for

    body = read_object(input)
    id_for(saga_type, key)  # refused here rather than after a connection
    settings = located(load(data=data, database=database, nats=nats, tenant=tenant, app=app))
    answer = asyncio.run(_ask(settings, saga_type, body, key, timeout))
    if wait:
        show_end(settings, answer["saga_id"], timeout, output, name_it=True)
    elif output is Output.TABLE:
        sys.stdout.write(f"{answer['saga_id']}\n")
    else:
        show_one(answer, output)


async def _ask(
    settings: Settings, saga_type: str, body: dict[str, Any], key: str | None, timeout: float
) -> dict[str, Any]:
    from es_saga.cli import compose

    async with compose.asking(settings) as client:
        return (await client.start(saga_type, body, key=key, timeout=timeout)).result()


def read_object(text: str) -> dict[str, Any]:
    """A JSON object: itself, `@file`, or `-` for standard input.

    Raises:
        InvalidInput: it cannot be read, is too large, or is none.
    """
    from es_saga.core.errors import InvalidInput
    from es_saga.core.messages import MAX_PAYLOAD_BYTES

    try:
        if text == "-":
            raw = sys.stdin.buffer.read(MAX_INPUT_BYTES + 1)
        elif text.startswith("@"):
            with Path(text[1:]).open("rb") as file:
                raw = file.read(MAX_INPUT_BYTES + 1)
        else:
            raw = text.encode(errors="surrogateescape")
        found = json.loads(raw, parse_constant=_no_number) if len(raw) <= MAX_INPUT_BYTES else None
    except OSError as error:
        raise InvalidInput(f"The input cannot be read: {error.strerror}: {text[1:]}.") from error
    except (ValueError, RecursionError) as error:
        raise InvalidInput(
            f"The input is no JSON: {error}.",
            hint="Quote it for the shell, or write @file.json.",
        ) from error
    if found is None and len(raw) > MAX_INPUT_BYTES:
        raise _too_large(f"more than {MAX_INPUT_BYTES}", MAX_PAYLOAD_BYTES)
    if not isinstance(found, dict):
        raise InvalidInput("The input must be a JSON object: {...}.")
    size = len(
        json.dumps(found, separators=(",", ":"), ensure_ascii=False).encode(errors="replace")
    )
    if size > MAX_PAYLOAD_BYTES:
        raise _too_large(str(size), MAX_PAYLOAD_BYTES)
    return found  # pyright: ignore[reportUnknownVariableType]  # JSON objects have string keys


def _too_large(size: str, most: int) -> Exception:
    from es_saga.core.errors import InvalidInput

    return InvalidInput(
        f"The input takes {size} bytes; {most} are allowed.",
        hint="Send a reference to large data, not the data.",
    )


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
