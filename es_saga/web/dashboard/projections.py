"""The read models: how far each has come in the log, how true it is, and why it stands still."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from es_saga.core.errors import SagaError
from es_saga.projections.progress import Progress
from es_saga.web.dashboard.looks import Look
from es_saga.web.dashboard.operating import may_act, read
from es_saga.web.dashboard.page import Context, Pages, Screen, Visit
from es_saga.web.upkeep import Job, Work

STANDS = Look("bad", "stuck", "stands still")
FOLLOWS = Look("run", "run", "catching up")
UP_TO_DATE = Look("good", "done", "up to date")

PATH: Final = "/projections"
WATCHED_SECONDS: Final = 1.0
"""How often the page is looked at again: what is being done moves though the log does not."""


def screens(pages: Pages) -> Sequence[Screen]:
    """The page."""

    async def gather(_visit: Visit) -> Context:
        desk = pages.desk
        found = await desk.ask(desk.progresses.of, [*desk.views])
        shown = [_shown(pages, one) for one in found]
        return {"projections": shown, "offered": any(one["offered"] for one in shown)}

    return [Screen(PATH, "projections.html", "projections", gather, refresh=WATCHED_SECONDS)]


def routes(pages: Pages) -> APIRouter:
    """Where the buttons lead."""
    router = APIRouter(include_in_schema=False)
    for work in Work:
        begin = partial(_begin, pages, work)
        path = f"{PATH}/{{name}}/{work.value}"
        router.add_api_route(path, begin, methods=["POST"], response_model=None)
    return router


async def _begin(pages: Pages, work: Work, request: Request) -> Response:
    visit = may_act(pages, request)
    if isinstance(visit, Response):
        return visit
    try:
        await read(pages, visit)
        name = str(request.path_params["name"])
        pages.desk.upkeep.begin(work, name, visit.caller.name)
    except SagaError as error:
        return pages.failed(visit, error, section="projections")
    return RedirectResponse(PATH, 303)


def _shown(pages: Pages, one: Progress) -> dict[str, Any]:
    desk = pages.desk
    job = desk.upkeep.last(one.name)
    return {
        "progress": one,
        "inline": desk.views[one.name],
        "look": STANDS if one.error else FOLLOWS if one.behind else UP_TO_DATE,
        "share": _share(one.position, one.head),
        "waiting": [part for part in one.parts if part.position < part.head],
        "offered": desk.upkeep.offered(one.name),
        "job": job,
        "told": None if job is None else _told(job),
    }


def _told(job: Job) -> dict[str, Any]:
    """What the page says of a piece of work: its look, and how much of it is done."""
    verifies, found = job.work is Work.VERIFY, job.finding
    if job.ended is None:
        doing = "is being verified" if verifies else "is being rebuilt"
        look = Look("run", "run", doing) if job.begun else Look("wait", "wait", "waits its turn")
    elif found is None:
        look = Look("bad", "fail", "could not be verified" if verifies else "could not be rebuilt")
    elif found.drifted:
        look = Look("bad", "stuck", "is not as the log says")
    else:
        look = Look("good", "done", "is as the log says" if verifies else "was rebuilt")
    return {"look": look, "share": _share(job.done, job.of) if job.of else 0.0}


def _share(done: int, of: int) -> float:
    return round(100 * done / of, 2) if of else 100.0
