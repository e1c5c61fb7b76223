"""What keeps a page to itself: a strict policy for the browser, and forms that only we can make.

A page loads nothing from elsewhere and runs no inline script or style. Where no token is asked for,
any page that the user opens could send forms to this machine; so each of ours carries a proof that
it came from a page of ours, shown to this browser.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import Final
from urllib.parse import quote, unquote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from es_saga.core.errors import InvalidInput

FORM_COOKIE: Final = "es_saga_form"
"""Holds a random number that the proofs of this browser's forms are made with."""

PROOF: Final = "proof"
"""Name of the field in every form."""

MAX_FIELDS: Final = 1_100
"""Fields of one form: a thousand sagas, and the rest."""

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)

HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}

_NONCE = re.compile(r"[A-Za-z0-9_-]{43}")


class Forms:
    """Makes and checks the proofs. The key lives as long as this process."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def nonce(self, request: Request) -> str:
        """The number of this browser; a new one where it has none."""
        found = request.cookies.get(FORM_COOKIE, "")
        return found if _NONCE.fullmatch(found) else secrets.token_urlsafe(32)

    def proof(self, nonce: str) -> str:
        """What a form that is shown to this browser carries."""
        return hmac.new(self._key, nonce.encode(), hashlib.sha256).hexdigest()

    def ours(self, request: Request, proof: str) -> bool:
        """Whether a form that was sent is one of ours."""
        found = request.cookies.get(FORM_COOKIE, "")
        if not _NONCE.fullmatch(found) or request.headers.get("sec-fetch-site") == "cross-site":
            return False
        return hmac.compare_digest(self.proof(found).encode(), proof.encode(errors="replace"))

    def remember(self, request: Request, response: Response, nonce: str) -> None:
        """Give the browser its number, if it has another one or none."""
        if request.cookies.get(FORM_COOKIE) != nonce:
            set_cookie(request, response, FORM_COOKIE, nonce)


def set_cookie(
    request: Request, response: Response, name: str, value: str, *, seconds: float | None = None
) -> None:
    """A cookie that scripts cannot read and other sites cannot use; see `cookie`."""
    response.set_cookie(
        name,
        quote(value, safe=""),
        max_age=None if seconds is None else int(seconds),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )


def cookie(request: Request, name: str) -> str:
    """What was given to this browser; headers hold no letters but English ones, hence the quotes.

    Browsers themselves quote the name of a time zone in the same way.
    """
    return unquote(request.cookies.get(name, ""))


async def fields_of(request: Request) -> dict[str, list[str]]:
    """The fields of a form that was sent.

    Raises:
        InvalidInput: it is none, has files, or too many fields.
    """
    try:
        form = await request.form(max_fields=MAX_FIELDS, max_files=0)
    except HTTPException as error:
        raise InvalidInput(
            "That is no form that can be read.", hint="Open the page again and repeat."
        ) from error
    fields: dict[str, list[str]] = {}
    for name, value in form.multi_items():
        fields.setdefault(name, []).append(str(value))
    return fields


def local_path(path: str) -> str:
    """A path of ours to go on to; anything that leads elsewhere becomes the first page.

    >>> [local_path(p) for p in ("/sagas?status=stuck", "//evil.example", "https://e.x", "/\\\\e")]
    ['/sagas?status=stuck', '/', '/', '/']
    """
    safe = path.startswith("/") and not re.match(r"/[/\\]", path) and "\n" not in path
    return path if safe and len(path) <= 2_000 else "/"
