"""Who may ask, and who may act: bearer tokens with a role each.

Without tokens only this machine is served, and whoever asks is its user. With tokens every request
has to show one, from here too. Of a token we keep the SHA-256 alone, and compare in constant time;
a token is long and random, so nothing slower is needed.

A token is written `NAME:ROLE:SECRET`, or `NAME:SECRET` for reading only. In place of the secret its
digest may stand: `sha256=` and 64 hexadecimal digits.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from starlette.requests import HTTPConnection

from es_saga.core.errors import InvalidInput

LEAST_SECRET_CHARS: Final = 20
"""A shorter one could be guessed."""

MAX_TOKENS: Final = 1_000
SESSION_SECONDS: Final = 12 * 3_600.0
"""How long a browser stays logged in."""

MAX_SESSIONS: Final = 1_000
"""Browsers logged in at once; beyond, the oldest is logged out."""

SESSION_COOKIE: Final = "es_saga_session"
HASHED: Final = "sha256="

_NAME = re.compile(r"[A-Za-z0-9._@+-]{1,64}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Role(StrEnum):
    """What a caller may do."""

    READ = "read"
    OPERATE = "operate"
    """Read, start sagas, and intervene."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks; the name goes into the audit trail as the actor."""

    name: str
    role: Role

    @property
    def operates(self) -> bool:
        """Whether it may change anything."""
        return self.role is Role.OPERATE


@dataclass(frozen=True, slots=True)
class Token:
    """What we know of a token: never the token itself."""

    name: str
    role: Role
    digest: bytes


class Access:
    """Decides who a request comes from.

    Args:
        tokens: those that count; none: whoever reaches us is `local`.
        local: name of whoever asks where there are no tokens.
        read_only: nobody may change anything, whatever the role.
    """

    def __init__(
        self, tokens: Sequence[Token] = (), *, local: str = "local", read_only: bool = False
    ) -> None:
        self._tokens = tuple(tokens)
        self._local = local
        self._sessions: dict[str, tuple[Caller, float]] = {}
        self.read_only = read_only

    @property
    def guarded(self) -> bool:
        """Whether a token has to be shown."""
        return bool(self._tokens)

    def caller(self, request: HTTPConnection) -> Caller | None:
        """Who a request comes from: by its token, or by its browser's session; None: nobody."""
        if not self._tokens:
            return self._as_allowed(Caller(self._local, Role.OPERATE))
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        if scheme:
            return self.known(secret.strip()) if scheme.lower() == "bearer" else None
        return self._of_session(request.cookies.get(SESSION_COOKIE, ""))

    def known(self, secret: str) -> Caller | None:
        """Whose token that is; takes as long whoever's it is."""
        digest = _digest(secret)
        found: Token | None = None
        for token in self._tokens:
            if hmac.compare_digest(token.digest, digest):
                found = token
        return None if found is None else self._as_allowed(Caller(found.name, found.role))

    def _as_allowed(self, caller: Caller) -> Caller:
        return Caller(caller.name, Role.READ) if self.read_only else caller

    # ── browsers ─────────────────────────────────────────────────────────────────────────────────

    def log_in(self, secret: str) -> str | None:
        """Begin a browser's session; what its cookie holds, or None for an unknown token."""
        caller = self.known(secret)
        if caller is None:
            return None
        while len(self._sessions) >= MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        session = secrets.token_urlsafe(32)
        self._sessions[_digest(session).hex()] = (caller, time.monotonic() + SESSION_SECONDS)
        return session

    def log_out(self, session: str) -> None:
        """End a browser's session."""
        self._sessions.pop(_digest(session).hex(), None)

    def _of_session(self, session: str) -> Caller | None:
        key = _digest(session).hex()
        caller, end = self._sessions.get(key, (None, 0.0))
        if caller is not None and end <= time.monotonic():
            del self._sessions[key]
            return None
        return caller


def read_tokens(text: str) -> list[Token]:
    """Tokens out of a setting or a file: one a line or between commas, `#` begins a remark.

    >>> read_tokens("ada:operate:correct-horse-battery-staple")[0].role.value
    'operate'

    Raises:
        InvalidInput: one is malformed, too short, or there twice; the secret is not shown.
    """
    found = [_token(entry) for entry in _entries(text)]
    if len(found) > MAX_TOKENS:
        raise InvalidInput(f"{len(found)} tokens are too many: {MAX_TOKENS} are allowed.")
    for what, values in (
        ("name", [token.name for token in found]),
        ("secret", [token.digest.hex() for token in found]),
    ):
        if len(set(values)) < len(values):
            raise InvalidInput(f"Two tokens have the same {what}.")
    return found


def _entries(text: str) -> Iterator[str]:
    for line in text.splitlines():
        for entry in line.partition("#")[0].split(","):
            if entry.strip():
                yield entry.strip()


def _token(entry: str) -> Token:
    name, _, rest = entry.partition(":")
    role, colon, secret = rest.partition(":")
    if not colon:
        role, secret = Role.READ.value, rest
    _check_name(name, hint="Write NAME:ROLE:SECRET.")
    if role not in set(Role):
        raise InvalidInput(f"Token {name!r}: a role is read or operate.", hint="NAME:ROLE:SECRET.")
    if secret.startswith(HASHED):
        digest = secret.removeprefix(HASHED)
        if not _DIGEST.fullmatch(digest):
            raise InvalidInput(f"Token {name!r}: after {HASHED} come 64 hexadecimal digits.")
        return Token(name, Role(role), bytes.fromhex(digest))
    if len(secret) < LEAST_SECRET_CHARS:
        raise InvalidInput(
            f"Token {name!r} is too short: {LEAST_SECRET_CHARS} characters at least.",
            hint="`es-saga token NAME` makes one.",
        )
    return Token(name, Role(role), _digest(secret))


def _check_name(name: str, *, hint: str = "") -> None:
    if not _NAME.fullmatch(name):
        raise InvalidInput("A token's name has 1 to 64 letters, digits or ._@+-", hint=hint)


def written(name: str, role: Role, secret: str) -> str:
    """A token as it may stand in a file: with the digest in place of the secret.

    Raises:
        InvalidInput: nobody can be called so.
    """
    _check_name(name)
    return f"{name}:{role.value}:{HASHED}{_digest(secret).hex()}"


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="surrogateescape")).digest()
