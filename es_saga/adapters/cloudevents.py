"""Envelopes as bytes: CloudEvents 1.0 over NATS, structured JSON by default, binary accepted.

Structured: the message is one JSON object with attributes and `data`. Binary: the attributes are
headers that begin with `ce-`, the message is the data (JSON only).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, from_json, to_json

from es_saga.core.errors import InvalidInput
from es_saga.core.messages import MAX_PAYLOAD_BYTES, Envelope

CONTENT_TYPE: Final = "content-type"
STRUCTURED: Final = "application/cloudevents+json"

_BINARY: Final = "ce-"


class Unreadable(InvalidInput):
    """What arrived is no envelope of ours. `reason` is its place among the dead letters."""

    code = "unreadable"

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        super().__init__(detail)


def encode(envelope: Envelope) -> bytes:
    """The structured form.

    Raises:
        InvalidInput: larger than MAX_PAYLOAD_BYTES, or holding what JSON cannot.
    """
    # Not `exclude_none`: inside a model in `data` it would drop what the receiver needs.
    attributes = {key: value for key, value in envelope.__dict__.items() if value is not None}
    try:
        payload = to_json(attributes)
    except PydanticSerializationError as error:
        raise InvalidInput(f"{envelope.type} cannot be written as JSON: {error}") from error
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise InvalidInput(
            f"{envelope.type} takes {len(payload)} bytes; {MAX_PAYLOAD_BYTES} are allowed.",
            hint="Send a reference to large data, not the data.",
        )
    return payload


def decode(payload: bytes, headers: Mapping[str, str] | None = None) -> Envelope:
    """The envelope in a message of either form.

    Raises:
        Unreadable: `oversized`; `malformed`: no JSON; `foreign`: JSON, but no envelope.
    """
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise Unreadable("oversized", f"{len(payload)} bytes; {MAX_PAYLOAD_BYTES} are allowed.")
    try:
        if headers and headers.get(CONTENT_TYPE) != STRUCTURED:
            plain = {key.lower(): value for key, value in headers.items()}
            if f"{_BINARY}specversion" in plain:
                return Envelope.model_validate(_attributes(plain) | {"data": _data(payload, plain)})
        return Envelope.model_validate_json(payload)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        reason = "malformed" if first["type"] == "json_invalid" else "foreign"
        where = ".".join(str(part) for part in first["loc"])
        raise Unreadable(reason, f"{where}: {first['msg']}" if where else first["msg"]) from error


def _attributes(headers: Mapping[str, str]) -> dict[str, str]:
    cut = len(_BINARY)
    found = {key[cut:]: unquote(value) for key, value in headers.items() if key[:cut] == _BINARY}
    if CONTENT_TYPE in headers:
        found["datacontenttype"] = headers[CONTENT_TYPE]
    return found


def _data(payload: bytes, headers: Mapping[str, str]) -> object:
    if not payload:
        return None
    kind = headers.get(CONTENT_TYPE, "application/json").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise Unreadable("foreign", f"the data is {kind[:100]}; only JSON is understood.")
    try:
        data: object = from_json(payload)
    except ValueError as error:
        raise Unreadable("malformed", f"the data is no JSON: {error}") from error
    return data
