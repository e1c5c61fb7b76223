"""The errors that every endpoint may answer with, for the OpenAPI document."""

from __future__ import annotations

from typing import Any, Final

from es_saga.web.faults import Failed

_EXAMPLES: Final = {
    401: ("unauthorized", "Say who you are."),
    403: ("forbidden", "grafana may only read."),
    404: ("not-found", "There is no saga 'order-7'."),
    409: ("illegal-state", "Saga order-7 is completed: it is closed."),
    413: ("too-large", "A body has 1048576 bytes at most."),
    415: ("unsupported-media-type", "A body is JSON."),
    421: ("misdirected", "'example.org' is not a name that is answered to here."),
    422: ("invalid-input", "query.limit: Input should be less than or equal to 1000"),
    500: ("internal", "Something went wrong in here."),
    503: ("unavailable", "There is no process manager to ask."),
}

_WORDS: Final = {
    401: "No token, or one that is not known.",
    403: "The token may not do that, or the server is read-only.",
    404: "There is no such thing.",
    409: "Not in this state, or somebody else was first.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    421: "The name in Host is not one of this machine, and no tokens are set.",
    422: "The request is malformed; `details` lists what is wrong.",
    500: "Something went wrong in here, or a history contradicts itself.",
    503: "The database or the process manager is out of reach; `Retry-After` says when to return.",
}


def error(status: int, words: str | None = None) -> dict[str, Any]:
    """One of them as FastAPI takes it."""
    code, message = _EXAMPLES[status]
    return {
        "model": Failed,
        "description": words or _WORDS[status],
        "content": {
            "application/json": {
                "example": {"error": {"code": code, "message": message, "hint": ""}}
            }
        },
    }


ERRORS: Final[dict[int | str, dict[str, Any]]] = {status: error(status) for status in _EXAMPLES}
