"""The command that writes contracts out: of the HTTP API, and of the messages."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from es_saga.cli.console import QuietOption, TenantOption

if TYPE_CHECKING:
    from es_saga.app import App


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: es-saga contracts domain.orders:app --openapi > openapi.json")(
        contracts
    )


def contracts(
    app: Annotated[
        str | None,
        typer.Argument(
            metavar="[APP]",
            help="module:attribute of an App; needed for its messages.",
            show_default=False,
        ),
    ] = None,
    openapi: Annotated[
        bool, typer.Option("--openapi", help="The HTTP API, with the app's inputs: OpenAPI 3.1.")
    ] = False,
    asyncapi: Annotated[
        bool, typer.Option("--asyncapi", help="Messages and their subjects: AsyncAPI 3.0.")
    ] = False,
    jsonschema: Annotated[
        bool, typer.Option("--jsonschema", help="The messages: JSON Schema 2020-12.")
    ] = False,
    tenant: TenantOption = None,
    quiet: QuietOption = False,
) -> None:
    """One contract as JSON to stdout."""
    from es_saga.cli import compose
    from es_saga.config import load
    from es_saga.core.errors import InvalidInput

    if (openapi, asyncapi, jsonschema).count(True) != 1:
        raise InvalidInput(
            "Say which contract.", hint="Give one of --openapi, --asyncapi, --jsonschema."
        )
    found = None if app is None else compose.load_app(app)
    if openapi:
        written = _openapi(found)
    elif found is None:
        raise InvalidInput("Messages are an app's.", hint="Name one, as domain.orders:app.")
    elif asyncapi:
        from es_saga.adapters.contracts import asyncapi as of_messages

        written = of_messages(found, tenant=load(tenant=tenant).tenant)
    else:
        from es_saga.adapters.contracts import json_schema

        written = json_schema(found)
    sys.stdout.write(json.dumps(written, indent=2, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def _openapi(app: App | None) -> dict[str, Any]:
    """The document of a desk with nothing on it: it follows from the code alone."""
    from es_saga.cli.serving import installed

    installed()
    import sqlalchemy as sa

    from es_saga.web.app import create_app
    from es_saga.web.desk import Desk

    nothing = sa.create_engine("sqlite://")
    definitions = () if app is None else app.definitions()
    return create_app(Desk(nothing, definitions=definitions)).openapi()
