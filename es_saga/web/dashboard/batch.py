"""The same verb for many sagas: those that were ticked, that match, or whose ids are given.

First it is tried on each, and shown what it would lead to; then it is done. What becomes of one
saga does not stop the others, and each is operated on at the version that was looked at.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from es_saga.core.errors import InvalidInput, NotFound, SagaError
from es_saga.engine.client import MAX_BULK
from es_saga.engine.requests import Operated, VerbRequest, new_id
from es_saga.projections.listing import Cursor
from es_saga.projections.queries import SagaRow
from es_saga.web.dashboard.operating import (
    ACTOR_COOKIE,
    MONTH_SECONDS,
    actor_of,
    known_actor,
    may_act,
    read,
    request_of,
    told,
)
from es_saga.web.dashboard.page import Context, Pages, Screen, Visit
from es_saga.web.dashboard.sagas import FILTERS, chosen
from es_saga.web.dashboard.shield import set_cookie
from es_saga.web.dashboard.verbs import VERBS
from es_saga.web.faults import status_of

_CHOSEN: Final = re.compile(r"([A-Za-z0-9_-]{1,64})(?:@(\d{1,9}))?")
"""A saga's id, and the version at which it was looked at."""

PAGE: Final = 500

Fields = dict[str, list[str]]


def screens(pages: Pages) -> Sequence[Screen]:
    """Where one begins without the list."""

    async def gather(visit: Visit) -> Context:
        return _nothing_yet(pages, visit)

    return [Screen("/batch", "batch.html", "batch", gather, live=False)]


def routes(pages: Pages) -> APIRouter:
    """What is done with what was chosen."""
    router = APIRouter(include_in_schema=False)
    act = partial(_act, pages)
    router.add_api_route("/batch", act, methods=["POST"], response_model=None)
    return router


def _nothing_yet(pages: Pages, visit: Visit) -> Context:
    return {
        "sagas": (),
        "cut": False,
        "missing": (),
        "verbs": VERBS,
        "fields": {"verb": "retry", "step": "", "reason": "", "outcome": "", "reply": ""},
        "actor": known_actor(pages, visit),
        "operation": "",
        "results": None,
        "done": False,
        "error": None,
        "section": "batch",
    }


async def _act(pages: Pages, request: Request) -> Response:
    visit = may_act(pages, request)
    if isinstance(visit, Response):
        return visit
    context = _nothing_yet(pages, visit)
    actor, status = "", 200
    try:
        fields = await read(pages, visit)
        rows, context["cut"], context["missing"] = await _sagas(pages, visit, fields)
        versions = _versions(fields)
        context["sagas"] = [(row, versions.get(row.saga_id, row.version)) for row in rows]
        context["operation"] = _first(fields, "operation") or new_id()
        context["fields"] |= {
            name: _first(fields, name) for name in context["fields"] if name in fields
        }
        if "act" in fields:
            actor = actor_of(pages, visit, _first(fields, "actor"))
            context["actor"] = actor
            context |= await _operate(pages, fields, actor, context)
    except SagaError as error:
        actor = ""
        context["error"] = error
        status = status_of(error.code)
    response = pages.render(visit, "batch.html", context, status=status)
    if actor and not pages.desk.access.guarded:
        set_cookie(request, response, ACTOR_COOKIE, actor, seconds=MONTH_SECONDS)
    return response


async def _operate(pages: Pages, fields: Fields, actor: str, context: Context) -> Context:
    doing = _first(fields, "act") == "do"
    plain = {name: values[0] for name, values in fields.items()}
    wanted: VerbRequest = request_of(
        plain | {"operation": context["operation"]}, actor, dry_run=not doing
    )
    versions = {row.saga_id: version for row, version in context["sagas"]}
    if not versions:
        raise InvalidInput("No saga is chosen.", hint="Tick some in the list, or give their ids.")
    client = await pages.desk.client()
    results = await client.operate_all(versions, wanted, versions=versions)
    return {"results": [_result(one) for one in results], "done": doing}


def _result(one: Operated) -> dict[str, Any]:
    return {
        "saga_id": one.saga_id,
        "ok": one.ok,
        "events": told(one.events),
        "status": (one.saga or {}).get("status"),
        "message": one.message,
        "hint": one.hint,
    }


# ── which sagas ──────────────────────────────────────────────────────────────────────────────────


async def _sagas(
    pages: Pages, visit: Visit, fields: Fields
) -> tuple[list[SagaRow], bool, list[str]]:
    """The sagas; whether there are more than may be operated on; ids that no saga has."""
    if _first(fields, "which") == "all":
        return await _that_match(pages, visit, fields)
    found: list[SagaRow] = []
    missing: list[str] = []
    ids = _ids(fields)
    for saga_id in ids[:MAX_BULK]:
        try:
            found.append(await pages.desk.ask(pages.desk.queries.status, saga_id))
        except NotFound:
            missing.append(saga_id)
    return found, len(ids) > MAX_BULK, missing


async def _that_match(
    pages: Pages, visit: Visit, fields: Fields
) -> tuple[list[SagaRow], bool, list[str]]:
    query = {name: _first(fields, name) for name in FILTERS if _first(fields, name)}
    wanted = chosen(query, visit.now)
    rows: list[SagaRow] = []
    after: Cursor | None = None
    while True:
        page = await pages.desk.ask(pages.desk.queries.page, wanted, after=after, limit=PAGE)
        rows += page.rows
        after = page.next
        if after is None or len(rows) >= MAX_BULK:
            return rows[:MAX_BULK], after is not None or len(rows) > MAX_BULK, []


def _ids(fields: Fields) -> list[str]:
    """Ids from ticked boxes, and from the text field.

    Raises:
        InvalidInput: one is malformed.
    """
    written = " ".join(fields.get("ids", [])).replace(",", " ").split()
    found: dict[str, None] = {}
    for text in [*fields.get("id", []), *written]:
        match = _CHOSEN.fullmatch(text)
        if match is None:
            raise InvalidInput(f"{text[:80]!r} is no saga's id.")
        found[match[1]] = None
    return list(found)


def _versions(fields: Fields) -> dict[str, int]:
    matches = map(_CHOSEN.fullmatch, fields.get("id", []))
    return {match[1]: int(match[2]) for match in matches if match is not None and match[2]}


def _first(fields: Fields, name: str) -> str:
    return fields.get(name, [""])[0]
