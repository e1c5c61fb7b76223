"""Sensitive values encrypted in the log, with a key for each saga, so that they can be shredded.

A key is random, kept in `es_keys`, itself encrypted with the master key of the settings. AES-GCM,
with the saga's id as associated data: a value that was moved to another saga cannot be read. Once a
saga's key is deleted nobody can read its sensitive values, in backups of the log neither; its
events, and so its state, status and audit trail, keep their shape (law L55).
"""

from __future__ import annotations

import base64
import binascii
import secrets
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final, cast

import sqlalchemy as sa
from pydantic_core import from_json, to_json
from sqlalchemy.exc import DBAPIError

from es_saga.adapters.tables import KEYS
from es_saga.adapters.trouble import unavailable
from es_saga.core.errors import IllegalOperation, InvalidInput, NotFound, Unavailable
from es_saga.core.events import Json
from es_saga.core.sensitive import HIDDEN, SensitiveFields
from es_saga.database import READ_ONLY
from es_saga.projections.kin import descendants
from es_saga.projections.status import STATUS

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
MAX_KEYS: Final = 10_000
"""Keys of sagas that are remembered, in each of two generations."""

SHREDDED: Final = b""
"""In the place of a key that was deleted."""

SEALED: Final = "$sealed"
"""The one field of the object that stands in the place of a sealed value."""

_TRACE: Final = b'"$sealed"'

Stored = tuple[str, bytes]
"""Topic and JSON of an event."""


def master_key(text: str) -> bytes:
    """The master key from its settings: 32 bytes in base64.

    Raises:
        InvalidInput: it is something else.
    """
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise InvalidInput(
            f"The encryption key is not {KEY_BYTES} bytes in base64.",
            hint="Make one with: openssl rand -base64 32",
        )
    return key


class Sealing:
    """Seals and opens the payloads of events, inside the caller's transactions.

    Args:
        master: 32 bytes.

    Raises:
        Unavailable: the package `cryptography` is not installed.
    """

    def __init__(self, master: bytes) -> None:
        try:
            from cryptography.exceptions import InvalidTag
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError as error:
            raise Unavailable(
                "Encryption needs the package cryptography.",
                hint="Install es-saga with the extra `crypto`.",
            ) from error
        self._aes = AESGCM
        self._invalid = InvalidTag
        self._master = AESGCM(master)
        self._young: dict[str, bytes | None] = {}
        self._old: dict[str, bytes | None] = {}

    def seal(
        self,
        connection: sa.Connection,
        saga_id: str,
        fields: SensitiveFields,
        stored: Sequence[Stored],
        *,
        begins: bool,
    ) -> list[Stored]:
        """Events of one saga with their sensitive values sealed.

        Args:
            begins: it is new, and gets a key. If the transaction fails, `forget` it.
        """
        key = self._new_key(connection, saga_id) if begins else self._key(connection, saga_id)
        if key is None:
            return list(stored)
        if key == SHREDDED:
            return [(topic, _hidden(fields, topic, payload)) for topic, payload in stored]
        aes, about = self._aes(key), saga_id.encode()

        def sealed(value: Any) -> dict[str, str]:
            nonce = secrets.token_bytes(NONCE_BYTES)
            box = nonce + aes.encrypt(nonce, to_json(value), about)
            return {SEALED: base64.b64encode(box).decode()}

        return [
            (topic, to_json(fields.changed(topic, from_json(payload), sealed)))
            for topic, payload in stored
        ]

    def opened(
        self, connection: sa.Connection, payloads: Sequence[tuple[str, bytes]]
    ) -> list[bytes]:
        """Payloads, each with its saga's id, as they were; what was shredded is hidden for ever.

        Raises:
            Unavailable: they were sealed under another master key.
        """
        return [
            self._open(self._key(connection, saga_id), saga_id, payload)
            if _TRACE in payload
            else payload
            for saga_id, payload in payloads
        ]

    def _open(self, key: bytes | None, saga_id: str, payload: bytes) -> bytes:
        aes, about = self._aes(key) if key else None, saga_id.encode()
        known = key is not None

        def walked(value: Any) -> Any:
            if isinstance(value, list):
                return [walked(item) for item in cast(list[object], value)]
            if not isinstance(value, dict):
                return value
            fields = cast(Json, value)
            if not known or fields.keys() != {SEALED}:
                return {name: walked(inner) for name, inner in fields.items()}
            if aes is None:
                return HIDDEN
            try:
                box = base64.b64decode(fields[SEALED], validate=True)
                return from_json(aes.decrypt(box[:NONCE_BYTES], box[NONCE_BYTES:], about))
            except (self._invalid, ValueError, TypeError):
                return fields  # no seal of ours: somebody's data has this shape

        return to_json(walked(from_json(payload)))

    # ── keys ─────────────────────────────────────────────────────────────────────────────────────

    def _new_key(self, connection: sa.Connection, saga_id: str) -> bytes:
        key, nonce = secrets.token_bytes(KEY_BYTES), secrets.token_bytes(NONCE_BYTES)
        wrapped = nonce + self._master.encrypt(nonce, key, saga_id.encode())
        row = {"saga_id": saga_id, "key": wrapped, "changed": time.time()}
        connection.execute(KEYS.insert(), row)
        self._remember(saga_id, key)
        return key

    def _key(self, connection: sa.Connection, saga_id: str) -> bytes | None:
        """The key of a saga, or SHREDDED; None: there never was one, for it began without."""
        for generation in (self._young, self._old):
            if saga_id in generation:
                return generation[saga_id]
        row = connection.execute(sa.select(KEYS.c.key).where(KEYS.c.saga_id == saga_id)).first()
        key = None
        if row is not None:
            key = SHREDDED if row.key is None else self._unwrapped(saga_id, row.key)
        self._remember(saga_id, key)
        return key

    def _unwrapped(self, saga_id: str, wrapped: bytes) -> bytes:
        try:
            return self._master.decrypt(
                wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], saga_id.encode()
            )
        except self._invalid:
            raise Unavailable(
                "The log was encrypted with another key.", hint="Set the one that it was made with."
            ) from None

    def _remember(self, saga_id: str, key: bytes | None) -> None:
        # A lock for each of them would cost more: reader and writer threads may both read a key.
        if len(self._young) >= MAX_KEYS:
            self._old, self._young = self._young, {}
        self._young[saga_id] = key

    def forget(self, saga_ids: Iterable[str]) -> None:
        """Have these keys read from the database when they are needed next."""
        for saga_id in saga_ids:
            self._young.pop(saga_id, None)
            self._old.pop(saga_id, None)


def _hidden(fields: SensitiveFields, topic: str, payload: bytes) -> bytes:
    return to_json(fields.changed(topic, from_json(payload)))


def refuse_sealed(engine: sa.Engine) -> None:
    """Make sure that the log can be read without a key.

    Raises:
        Unavailable: it is encrypted, or out of reach.
    """
    try:
        with engine.execution_options(**{READ_ONLY: True}).connect() as connection:
            sealed = connection.scalar(sa.select(KEYS.c.saga_id).limit(1))
    except DBAPIError as error:
        raise unavailable(error) from error
    if sealed is not None:
        raise Unavailable(
            "The log is encrypted, and no key is set.", hint="Set ES_SAGA_ENCRYPTION_KEY."
        )


def shred(engine: sa.Engine, saga_id: str, *, actor: str, reason: str) -> list[str]:
    """Delete the key of a closed saga: nobody will ever read its sensitive values again.

    Likewise those of the sagas that it ran, and of theirs: they were given what it knew. All keep
    their events, their status and their audit trail. Twice is the same as once. Returns the ids of
    those that were encrypted.

    Raises:
        NotFound: there is no such saga.
        IllegalOperation: one of them is not closed, or none was ever encrypted.
        InvalidInput: no actor or reason.
    """
    if not actor.strip() or not reason.strip():
        raise InvalidInput("Say who shreds and why.", hint="Give an actor and a reason.")
    with engine.begin() as connection:
        known = sa.select(STATUS.c.saga_id).where(STATUS.c.saga_id == saga_id)
        if connection.execute(known).first() is None:
            raise NotFound(f"There is no saga {saga_id!r}.", hint="`es-saga list` shows them.")
        family = [saga_id, *descendants(connection, saga_id)]
        ours = STATUS.c.saga_id.in_(family)
        still = sa.select(STATUS.c.saga_id).where(ours, STATUS.c.closed.is_(None))
        for open_id in connection.execute(still).scalars():
            raise IllegalOperation(
                f"Saga {open_id} is not closed: it needs its data.",
                hint="Cancel it, or help it to its end, first.",
            )
        sealed = KEYS.c.saga_id.in_(family)
        found = set(connection.execute(sa.select(KEYS.c.saga_id).where(sealed)).scalars())
        connection.execute(
            KEYS.update()
            .where(sealed)
            .values(key=None, changed=time.time(), actor=actor, reason=reason)
        )
        if not found:
            raise IllegalOperation(
                f"Saga {saga_id} was not encrypted: there is no key to delete.",
                hint="Sagas are encrypted that begin while ES_SAGA_ENCRYPTION_KEY is set.",
            )
    return [one for one in family if one in found]
