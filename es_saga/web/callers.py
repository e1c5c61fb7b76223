"""Who calls an endpoint: what endpoints depend on."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from es_saga.web.access import Caller
from es_saga.web.desk import Desk
from es_saga.web.faults import Rejected

_bearer = HTTPBearer(
    auto_error=False,
    description="A token with the role `read` or `operate`. Not needed where none is set: then "
    "only this machine is answered.",
)
_Shown = Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]
"""For the OpenAPI document; who that is, `Access.caller` decides."""


def desk_of(request: Request) -> Desk:
    """The desk that the application was made over."""
    desk: Desk = request.app.state.desk
    return desk


Here = Annotated[Desk, Depends(desk_of)]


def known_query(request: Request) -> None:
    """Refuse what no endpoint asks for: a filter that is misspelt would filter nothing.

    Raises:
        Rejected: the endpoint takes no such parameter.
    """
    route = request.scope.get("route")
    if not isinstance(route, APIRoute):
        return
    taken = [field.alias for field in route.dependant.query_params]
    for name in request.query_params:
        if name not in taken:
            raise Rejected(
                422,
                f"query.{name[:80]}: there is no such parameter.",
                hint=f"Known: {', '.join(taken)}." if taken else "There are none.",
            )


def reader(request: Request, desk: Here, _shown: _Shown) -> Caller:
    """Who asks.

    Raises:
        Rejected: nobody we know.
    """
    caller = desk.access.caller(request)
    if caller is None:
        raise Rejected(
            401,
            "Say who you are.",
            hint="Send Authorization: Bearer and a token of ES_SAGA_TOKENS.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return caller


def operator(caller: Annotated[Caller, Depends(reader)], desk: Here) -> Caller:
    """Who acts.

    Raises:
        Rejected: nobody we know, or somebody who may only read.
    """
    if desk.access.read_only:
        raise Rejected(403, "This server is read-only.", hint="Start it without --read-only.")
    if not caller.operates:
        raise Rejected(403, f"{caller.name} may only read.", hint="Use a token that may operate.")
    return caller


Reader = Annotated[Caller, Depends(reader)]
Operator = Annotated[Caller, Depends(operator)]
