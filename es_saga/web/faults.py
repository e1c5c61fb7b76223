"""The one shape of an error, and which status each of ours has.

    {"error": {"code": "not-found", "message": "There is no saga 'x'.", "hint": "…"}}

| code | status |
|---|---|
| invalid-input | 422 |
| unauthorized, forbidden | 401, 403 |
| not-found | 404 |
| method-not-allowed | 405 |
| illegal-state, conflict, refused | 409 |
| too-large, unsupported-media-type | 413, 415 |
| unavailable | 503, with Retry-After |
| corrupt-history, failed, stuck, internal | 500 |
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match

from es_saga.core.errors import SagaError, Unavailable
from es_saga.engine.requests import Answer

RETRY_SECONDS: Final = 1
"""What Retry-After says where nobody knows better."""

MAX_DETAILS: Final = 50
"""Faults of one request that are listed."""

STATUS_OF: Final = {
    "invalid-input": 422,
    "not-found": 404,
    "illegal-state": 409,
    "conflict": 409,
    "unavailable": 503,
    "not-prepared": 503,
}
"""Of our own exceptions; all others are 500."""

_CODE_OF: Final = {
    401: "unauthorized",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    406: "not-acceptable",
    408: "too-slow",
    413: "too-large",
    415: "unsupported-media-type",
    421: "misdirected",
    422: "invalid-input",
    503: "unavailable",
}


_ALTERNATIVES: Final = frozenset(
    {"constrained-str", "constrained-int", "constrained-float", "none"}
)
_METHODS: Final = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")


class Detail(BaseModel):
    """One of several faults."""

    where: str = Field(description="Path of the field, with dots.", examples=["body.reason"])
    message: str = Field(examples=["Field required"])


class Fault(BaseModel):
    """What went wrong, and what to do."""

    code: str = Field(description="For programs; it stays the same.", examples=["not-found"])
    message: str = Field(description="For people.", examples=["There is no saga 'order-7'."])
    hint: str = Field(default="", description="What to do next.", examples=["Check the id."])
    details: list[Detail] = Field(
        default_factory=list[Detail], description="Each fault, where there may be several."
    )


class Failed(BaseModel):
    """The body of every error."""

    error: Fault


class Rejected(Exception):
    """A request that is refused before anybody is asked."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        hint: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.headers = dict(headers or {})
        self.fault = Fault(code=code or _CODE_OF.get(status, "error"), message=message, hint=hint)
        super().__init__(message)


def status_of(code: str) -> int:
    """The status that one of our error codes has."""
    return STATUS_OF.get(code, 500)


def answer(
    status: int, fault: Fault, headers: Mapping[str, str] | None = None, **more: Any
) -> JSONResponse:
    """An error as it is sent; `more` stands beside the fault's own fields."""
    shown = fault.model_dump(mode="json") | more
    if not fault.details:
        del shown["details"]
    return JSONResponse({"error": shown}, status_code=status, headers=dict(headers or {}))


def fault_of(error: SagaError) -> Fault:
    """One of our exceptions in the one shape."""
    return Fault(code=error.code, message=error.message, hint=error.hint)


def come_back(seconds: float | None) -> dict[str, str]:
    """When to come back, as a header in whole seconds."""
    if seconds is None or not math.isfinite(seconds):
        return {"Retry-After": str(RETRY_SECONDS)}
    return {"Retry-After": str(max(1, math.ceil(seconds)))}


def answer_to(error: SagaError) -> JSONResponse:
    """What one of our exceptions is answered with."""
    status = status_of(error.code)
    if status != 503:
        return answer(status, fault_of(error))
    seconds = error.retry_after if isinstance(error, Unavailable) else None
    return answer(status, fault_of(error), come_back(seconds))


def answer_of(told: Answer) -> JSONResponse:
    """What the process manager's objection is answered with."""
    assert told.code is not None, "it did not object"
    fault = Fault(code=told.code, message=told.message, hint=told.hint)
    status = status_of(told.code)
    return answer(status, fault, come_back(told.retry_after) if status == 503 else None)


def internal() -> JSONResponse:
    """What an exception that nobody foresaw is answered with: nothing of its inside."""
    return answer(
        500,
        Fault(
            code="internal",
            message="Something went wrong in here.",
            hint="The log of `es-saga ui` has the traceback.",
        ),
    )


def register(app: FastAPI) -> None:
    """Have every error answered in the one shape."""

    async def of_ours(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, SagaError)
        return answer_to(error)

    async def rejected(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Rejected)
        return answer(error.status, error.fault, error.headers)

    async def of_routing(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        # 400 is how the framework says that a body cannot be read; such a body is invalid input.
        status = 422 if error.status_code == 400 else error.status_code
        headers = error.headers
        if status == 405 and request.url.path.startswith("/api/"):
            taken = _taken(request)
            status, headers = (405, {"Allow": ", ".join(taken)}) if taken else (404, None)
        return answer(status, _routing(request, status), headers)

    async def invalid(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return answer(422, _invalid(error))

    app.add_exception_handler(SagaError, of_ours)
    app.add_exception_handler(Rejected, rejected)
    app.add_exception_handler(HTTPException, of_routing)
    app.add_exception_handler(RequestValidationError, invalid)


def _routing(request: Request, status: int) -> Fault:
    path = request.url.path[:200]
    if status == 404:
        message = f"There is nothing at {path}."
    elif status == 405:
        message = f"{request.method[:20]} is not what {path} takes."
    elif status == 422:
        message = "The body cannot be read."
    else:
        message = HTTPStatus(status).phrase
    return Fault(code=_CODE_OF.get(status, "error"), message=message)


def _taken(request: Request) -> list[str]:
    """The methods that this path takes; the framework names those of one endpoint alone.

    What takes every path there is, to say that there is nothing, does not count.
    """
    routes: list[BaseRoute] = request.app.routes

    def taken(method: str, path: str) -> set[int]:
        asked = {**request.scope, "method": method, "path": path}
        found = enumerate(route.matches(asked)[0] for route in routes)
        return {number for number, match in found if match is Match.FULL}

    anywhere = taken("GET", "/nothing/is/here")
    path: str = request.scope["path"]
    return [method for method in _METHODS if taken(method, path) - anywhere]


def _invalid(error: RequestValidationError) -> Fault:
    """Where the faults are and what they are; never the values, which may be secret."""
    details = [
        Detail(where=_where(found["loc"]), message=str(found["msg"])[:300])
        for found in error.errors()[:MAX_DETAILS]
        if found["type"] != "none_required"  # that it may be left out is no news
    ]
    first = details[0] if details else Detail(where="request", message="malformed")
    return Fault(
        code="invalid-input",
        message=f"{first.where}: {first.message}",
        hint="The OpenAPI document says what is expected.",
        details=details,
    )


def _where(place: Sequence[str | int]) -> str:
    """Without pydantic's own words for the alternatives of a type."""
    return ".".join(str(part) for part in place if str(part) not in _ALTERNATIVES)[:300]


def event(fault: Fault) -> str:
    """A fault inside a stream that has begun."""
    return json.dumps({"error": fault.model_dump(mode="json", exclude_defaults=True)})
