"""How the system is."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from es_saga.web.callers import Reader

router = APIRouter(tags=["system"])


@router.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request, _caller: Reader) -> dict[str, Any]:
    """The OpenAPI document."""
    found: dict[str, Any] = request.app.openapi()
    return found
