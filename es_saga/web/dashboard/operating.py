"""Lending a hand to one saga: say what and why, look at what it would lead to, then have it done.

The form carries the version that the operator looked at, so that nothing is done to a saga that
has moved on meanwhile, and a name for the request, so that it is done once however often it is
sent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, cast
from urllib.parse import urlencode

from fastapi import APIRouter
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from es_saga.core.errors import ConflictError, InvalidInput, SagaError
from es_saga.core.events import EVENTS, Json
from es_saga.core.gist import gist
from es_saga.engine.requests import VerbRequest, new_id
from es_saga.projections.queries import AuditRow, SagaRow
from es_saga.web.dashboard import saga
from es_saga.web.dashboard.page import Context, Pages, Visit
from es_saga.web.dashboard.pictures import Planned
from es_saga.web.dashboard.rendering import saga_path
from es_saga.web.dashboard.shield import PROOF, cookie, fields_of, set_cookie
from es_saga.web.dashboard.steps import groups
from es_saga.web.dashboard.verbs import VERBS, Verb, for_step
from es_saga.web.faults import status_of

ACTOR_COOKIE: Final = "es_saga_actor"
"""Who acted last in this browser, where no token says it."""

MONTH_SECONDS: Final = 30 * 86_400

SINCE_SHOWN: Final = 50
"""Events that somebody is shown who came too late."""

Fields = Mapping[str, str]


def routes(pages: Pages) -> APIRouter:
    """The form and what becomes of it."""
    router = APIRouter(include_in_schema=False)
    path = "/sagas/{saga_id}/operate"
    router.add_api_route(path, partial(_ask, pages), methods=["GET"], response_model=None)
    router.add_api_route(path, partial(_act, pages), methods=["POST"], response_model=None)
    return router


def may_act(pages: Pages, request: Request) -> Visit | Response:
    """The visit of somebody who may change things; else what to answer."""
    caller = pages.caller(request)
    if caller is None:
        return RedirectResponse(f"/login?{urlencode({'next': request.url.path})}", 303)
    visit = Visit(request, caller)
    if caller.operates:
        return visit
    if pages.desk.access.read_only:
        why, hint = "This dashboard is read-only.", "Start it without --read-only."
    else:
        why, hint = f"{caller.name} may only read.", "Log in with a token that may operate."
    context = {"error": InvalidInput(why, hint=hint), "status": 403}
    return pages.render(visit, "error.html", context, status=403)


async def read(pages: Pages, visit: Visit) -> dict[str, list[str]]:
    """The fields of a form that is ours.

    Raises:
        InvalidInput: it is not.
    """
    fields = await fields_of(visit.request)
    if not pages.forms.ours(visit.request, fields.get(PROOF, [""])[0]):
        raise InvalidInput(
            "That form was not made here, or too long ago.", hint="Open the page again and repeat."
        )
    return fields


def actor_of(pages: Pages, visit: Visit, said: str) -> str:
    """Who acts: whoever's token it is, else whoever they say they are."""
    return visit.caller.name if pages.desk.access.guarded else said.strip()


def known_actor(pages: Pages, visit: Visit) -> str:
    """Who that was the last time."""
    if pages.desk.access.guarded:
        return visit.caller.name
    return cookie(visit.request, ACTOR_COOKIE)[:200] or visit.caller.name


def json_object(text: str, what: str) -> Json:
    """What was written into a field for JSON.

    Raises:
        InvalidInput: `what` is no JSON object.
    """
    try:
        found: object = json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"{what} is no JSON: {error}.") from error
    except RecursionError:
        raise InvalidInput(f"{what} is nested too deeply.") from None
    if not isinstance(found, dict):
        raise InvalidInput(f"{what} is a JSON object.", hint='Write {"field": "value"}.')
    return cast(Json, found)


def request_of(fields: Fields, actor: str, **more: Any) -> VerbRequest:
    """The verb that a form means.

    Raises:
        InvalidInput: a field does not do; it is named.
    """
    written = fields.get("reply", "").strip()
    reply = json_object(written, "The reply") if written else None
    given: dict[str, Any] = {
        "verb": fields.get("verb", ""),
        "actor": actor,
        "reason": fields.get("reason", "").strip(),
        "step": fields.get("step") or None,
        "operation": fields.get("operation") or None,
        "reply": reply,
        "direction": fields.get("direction") or "do",
        "outcome": fields.get("outcome") or "succeeded",
    }
    try:
        return VerbRequest.model_validate(given | more)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        name = ".".join(map(str, first["loc"]))
        raise InvalidInput(f"{name}: {first['msg']}.") from error


async def _ask(pages: Pages, request: Request) -> Response:
    visit = may_act(pages, request)
    if isinstance(visit, Response):
        return visit
    try:
        return await _form(pages, visit, dict(visit.query))
    except SagaError as error:
        return pages.failed(visit, error, section="sagas")


async def _act(pages: Pages, request: Request) -> Response:
    visit = may_act(pages, request)
    if isinstance(visit, Response):
        return visit
    fields: dict[str, str] = {}
    try:
        sent = await read(pages, visit)
        fields = {name: values[0] for name, values in sent.items()}
        return await _carry_out(pages, visit, fields)
    except ConflictError as error:
        return await _moved_on(pages, visit, fields, error)
    except SagaError as error:
        try:
            return await _form(pages, visit, fields, error=error)
        except SagaError:
            return pages.failed(visit, error, section="sagas")


async def _carry_out(pages: Pages, visit: Visit, fields: Fields) -> Response:
    actor = actor_of(pages, visit, fields.get("actor", ""))
    doing = fields.get("act") == "do"
    wanted = request_of(fields, actor, expected_version=_version(fields), dry_run=not doing)
    client = await pages.desk.client()
    answer = await client.operate(visit.saga_id(), wanted)
    answer.result()
    if not doing:
        preview = {"events": told(answer.events), "commands": answer.commands or []}
        response = await _form(pages, visit, fields, preview=preview)
    else:
        onward = f"{saga_path(visit.saga_id(), 'ledger')}?{urlencode({'done': wanted.verb})}"
        response = RedirectResponse(onward, 303)
    if not pages.desk.access.guarded:
        set_cookie(visit.request, response, ACTOR_COOKIE, actor, seconds=MONTH_SECONDS)
    return response


def _version(fields: Fields) -> int:
    """At which the operator looked at the saga.

    Raises:
        InvalidInput: the form does not say.
    """
    text = fields.get("version", "")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InvalidInput(
            f"{text[:40]!r} is no version of a saga.", hint="Open the page again and repeat."
        )
    return int(text)


async def _form(
    pages: Pages,
    visit: Visit,
    fields: Fields,
    *,
    preview: Context | None = None,
    error: SagaError | None = None,
    since: list[dict[str, Any]] | None = None,
) -> Response:
    verb = VERBS.get(fields.get("verb", ""))
    if verb is None:
        raise InvalidInput("That is no verb.", hint=f"One of: {', '.join(VERBS)}.")
    around = await saga.head(pages, visit, "ledger")
    row = around["saga"]
    looked_at = fields.get("version") if preview else row.version
    kept = {name: fields.get(name, "") for name in ("step", "direction", "outcome", "reply")}
    if verb.needs_step and not kept["step"]:
        kept |= _suggested(row, verb, around["plan"])
    context = around | {
        "verb": verb,
        "fields": kept,
        "steps": [*groups(await saga.begun(pages, row, around["plan"]))],
        "version": looked_at,
        "operation": fields.get("operation") or new_id(),
        "actor": fields.get("actor") or known_actor(pages, visit),
        "reason": fields.get("reason", ""),
        "preview": preview,
        "error": error,
        "since": since,
        "section": "sagas",
    }
    status = 200 if error is None else status_of(error.code)
    return pages.render(visit, "operate.html", context, status=status)


def _suggested(row: SagaRow, verb: Verb, plan: Sequence[Planned]) -> dict[str, str]:
    """The first step that the verb would do something about."""
    every = (offer for step in row.steps for offer in for_step(row, step, plan))
    found = next((offer for offer in every if offer.verb is verb), None)
    return {"step": found.step or "", "direction": found.direction} if found else {}


async def _moved_on(pages: Pages, visit: Visit, fields: Fields, error: ConflictError) -> Response:
    """The saga is not where the operator saw it: what happened since."""
    history = pages.desk.queries.history
    try:
        rows: list[AuditRow] = await pages.desk.ask(
            history, visit.saga_id(), after=_version(fields), limit=SINCE_SHOWN
        )
        since = [
            {"kind": row.kind, "step": row.step, "at": row.at, "gist": _gist(row)} for row in rows
        ]
        return await _form(pages, visit, fields, error=error, since=since)
    except SagaError as other:
        return pages.failed(visit, other, section="sagas")


def _gist(row: AuditRow) -> str:
    return gist(EVENTS[row.kind].model_validate(row.payload)) if row.kind in EVENTS else ""


def told(events: list[Json] | None) -> list[dict[str, Any]]:
    """Events of a dry run as the page shows them."""
    found: list[dict[str, Any]] = []
    for event in events or []:
        kind = str(event["topic"])
        fields = {name: value for name, value in event.items() if name != "topic"}
        known = EVENTS.get(kind)
        what = gist(known.model_validate(fields)) if known else ""
        found.append({"kind": kind, "step": event.get("step"), "gist": what, "payload": fields})
    return found
