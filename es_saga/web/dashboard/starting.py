"""Starting a saga by hand: its type, its input as JSON, and the key that makes it one saga."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from es_saga.core.compiled import Definition
from es_saga.core.errors import NotFound, SagaError
from es_saga.engine.requests import id_for, new_id
from es_saga.web.dashboard.operating import json_object, may_act, read
from es_saga.web.dashboard.page import Context, Pages, Visit
from es_saga.web.dashboard.rendering import saga_path
from es_saga.web.faults import status_of

PATH: Final = "/start"
MAX_KEY_CHARS: Final = 64

_EMPTY: Final[Mapping[str, Any]] = {
    "string": "",
    "integer": 0,
    "number": 0,
    "boolean": False,
    "array": [],
    "object": {},
}


def routes(pages: Pages) -> APIRouter:
    """The form and what becomes of it."""
    router = APIRouter(include_in_schema=False)
    router.add_api_route(PATH, partial(_ask, pages), methods=["GET"], response_model=None)
    router.add_api_route(PATH, partial(_start, pages), methods=["POST"], response_model=None)
    return router


async def _ask(pages: Pages, request: Request) -> Response:
    visit = may_act(pages, request)
    if isinstance(visit, Response):
        return visit
    try:
        return await _form(pages, visit, visit.query)
    except SagaError as error:
        return pages.failed(visit, error, section="sagas")


async def _start(pages: Pages, request: Request) -> Response:
    visit = may_act(pages, request)
    if isinstance(visit, Response):
        return visit
    fields: dict[str, str] = {}
    try:
        fields = {name: values[0] for name, values in (await read(pages, visit)).items()}
        saga_type = _chosen(await _types(pages), fields)
        # Without a key the form's own: sent twice, it starts one saga.
        key = fields.get("key", "").strip() or fields.get("once") or None
        id_for(saga_type, key)
        data = json_object(fields.get("data", ""), "The input")
        client = await pages.desk.client()
        answer = await client.start(saga_type, data, key=key)
        started = answer.result()
    except SagaError as error:
        try:
            return await _form(pages, visit, fields, error=error)
        except SagaError:
            return pages.failed(visit, error, section="sagas")
    return RedirectResponse(saga_path(started["saga_id"]), 303)


async def _form(
    pages: Pages, visit: Visit, fields: Mapping[str, str], *, error: SagaError | None = None
) -> Response:
    types = await _types(pages)
    chosen = _chosen(types, fields)
    code = _latest(pages).get(chosen)
    inputs = _inputs(code) if code else ()
    skeleton = {one["name"]: one["example"] for one in inputs}
    context: Context = {
        "types": types,
        "type": chosen,
        "inputs": inputs,
        "data": fields.get("data") or json.dumps(skeleton, indent=2, ensure_ascii=False),
        "key": fields.get("key", ""),
        "once": fields.get("once") or new_id(),
        "max_key": MAX_KEY_CHARS,
        "error": error,
        "section": "sagas",
    }
    status = 200 if error is None else status_of(error.code)
    return pages.render(visit, "start.html", context, status=status)


async def _types(pages: Pages) -> list[str]:
    latest = _latest(pages)
    watched = {name for name, code in latest.items() if not code.conducted}  # events begin those
    return sorted({*await pages.desk.ask(pages.desk.queries.types), *latest} - watched)


def _chosen(types: Sequence[str], fields: Mapping[str, str]) -> str:
    """The type that is meant, or else the first one.

    Raises:
        NotFound: there is none, or none of that name.
    """
    if not types:
        raise NotFound(
            "No saga type is known here.", hint="Run an app, or start this as `es-saga ui APP`."
        )
    chosen = fields.get("type") or types[0]
    if chosen not in types:
        raise NotFound(f"There is no saga type {chosen[:80]!r}.", hint="See the definitions.")
    return chosen


def _latest(pages: Pages) -> dict[str, Definition]:
    """The code that new sagas of each type begin with."""
    every = pages.desk.code.values()
    return {one.name: one for one in sorted(every, key=lambda one: one.version)}


def _inputs(code: Definition) -> tuple[dict[str, Any], ...]:
    """The fields that a saga of this definition is started with."""
    schema = code.data.model_json_schema()
    properties: dict[str, dict[str, Any]] = schema.get("properties", {})
    wanted = schema.get("required", ())
    return tuple(
        {
            "name": name,
            "kind": part.get("type", "JSON"),
            "says": part.get("description", ""),
            "wanted": name in wanted,
            "example": part.get("default", _EMPTY.get(part.get("type", ""))),
        }
        for name, part in properties.items()
    )
