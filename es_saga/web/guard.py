"""What every request goes through before anything of ours sees it, and every answer after.

Against pages of others in the user's browser: without tokens only names of this machine are
answered to (a foreign name that is made to point here is not), nothing is changed on behalf of
another origin, and nothing may be framed or read from one. Against clients that send too much or
too slowly: bodies are limited in size and time. Against ourselves: what nobody foresaw is logged
with its traceback and answered without.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from es_saga.web import faults
from es_saga.web.faults import Rejected

MAX_BODY_BYTES: Final = 1024 * 1024
"""Largest body that is read: a start with generous white space, or a thousand ids."""

BODY_SECONDS: Final = 30.0
"""How long a body may take to come in."""

LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
"""Names that nobody else can make point to this machine."""

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
"""On every answer that does not say otherwise itself; pages have a policy of their own."""

_log = structlog.get_logger("es_saga.web")


class Guard:
    """ASGI middleware; `local_only`: answer only to names of this machine."""

    def __init__(self, app: ASGIApp, *, local_only: bool, json_under: Sequence[str]) -> None:
        self._app = app
        self._local_only = local_only
        self._json_under = tuple(json_under)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def answer(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            try:
                self._check(scope)
                received = await self._read(scope, receive)
            except Rejected as error:
                refusal = faults.answer(error.status, error.fault, error.headers)
                await refusal(scope, receive, answer)
                return
            if received is not None:
                await self._app(scope, received, answer)
        except Exception:
            _log.exception("request_failed", method=scope["method"], path=scope["path"][:200])
            if begun:
                raise
            await faults.internal()(scope, receive, answer)

    # ── where it comes from ──────────────────────────────────────────────────────────────────────

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self._local_only and _name(host) not in LOCAL_NAMES:
            raise Rejected(
                421,
                f"{host[:80]!r} is not a name that is answered to here.",
                hint="Use localhost or 127.0.0.1; other names need tokens.",
            )
        if scope["method"] in SAFE_METHODS:
            return
        origin = headers.get("origin")
        elsewhere = origin is not None and urlsplit(origin).netloc.lower() != host.lower()
        if elsewhere or headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            raise Rejected(403, "A page of another origin may not change anything here.")

    # ── what it brings ───────────────────────────────────────────────────────────────────────────

    async def _read(self, scope: Scope, receive: Receive) -> Receive | None:
        """The whole body at once, as far as it is allowed to go; None: the client has gone."""
        if scope["method"] in SAFE_METHODS:
            return receive
        headers = Headers(scope=scope)
        length = headers.get("content-length", "0")
        if length.isascii() and length.isdigit() and int(length[:20]) > MAX_BODY_BYTES:
            raise _too_large()
        body, complete = bytearray(), False
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while not complete:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    body += message.get("body", b"")
                    if len(body) > MAX_BODY_BYTES:
                        raise _too_large()
                    complete = not message.get("more_body", False)
        except TimeoutError:
            raise Rejected(
                408, f"The body was not here after {BODY_SECONDS:g} s.", headers=_CLOSE
            ) from None
        media = headers.get("content-type", "").partition(";")[0].strip().lower()
        if body and scope["path"].startswith(self._json_under) and media != "application/json":
            raise Rejected(415, "A body is JSON.", hint="Send Content-Type: application/json.")
        replayed = False

        async def again() -> Message:
            nonlocal replayed
            if replayed:
                return await receive()
            replayed = True
            return {"type": "http.request", "body": bytes(body), "more_body": False}

        return again


_CLOSE: Final = {"Connection": "close"}


def _too_large() -> Rejected:
    return Rejected(
        413,
        f"A body has {MAX_BODY_BYTES} bytes at most.",
        hint="Send a reference to large data, not the data.",
        headers=_CLOSE,
    )


def _name(host: str) -> str:
    """The name in a Host header, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()
