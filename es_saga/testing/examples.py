"""An example of any message, made from its model: small, the same every time, readable.

>>> from es_saga.core.messages import Message
>>> class PlaceOrder(Message):
...     sku: str
...     pieces: int = 1
...     pence: int
>>> example(PlaceOrder)
PlaceOrder(sku='sku', pieces=1, pence=1)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from pydantic import ValidationError

from es_saga.core.errors import InvalidInput
from es_saga.core.events import Json
from es_saga.core.messages import Message

M = TypeVar("M", bound=Message)

MAX_DEPTH = 4
"""How deep a model may nest before its optional parts are left out."""

_FORMATS = {
    "date": "2030-01-01",
    "date-time": "2030-01-01T12:00:00Z",
    "time": "12:00:00Z",
    "duration": "PT1S",
    "uuid": "00000000-0000-4000-8000-000000000001",
    "email": "ann@example.com",
    "uri": "https://example.com/",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "binary": "bytes",
    "base64": "Ynl0ZXM=",
}


def example(model: type[M]) -> M:
    """One value of `model`: defaults and first examples where there are any, else the smallest.

    A string is named after its field. Patterns, and rules of validators, are not understood.

    Raises:
        InvalidInput: none was found; make one by hand.
    """
    schema = model.model_json_schema()
    try:
        return model.model_validate(_example(schema, schema, model.__name__, 0))
    except ValidationError as error:
        raise InvalidInput(
            f"No example of {model.__name__} could be made: {error}",
            hint="Give one yourself.",
        ) from error


def _example(schema: Mapping[str, Any], root: Mapping[str, Any], name: str, depth: int) -> object:
    if "$ref" in schema:
        return _example(root["$defs"][schema["$ref"].rpartition("/")[2]], root, name, depth)
    for key in ("default", "const"):
        if key in schema:
            return cast(object, schema[key])
    if schema.get("examples"):
        return cast(object, schema["examples"][0])
    if "enum" in schema:
        return schema["enum"][0]
    if "allOf" in schema:
        return _example(schema["allOf"][0], root, name, depth)
    options = schema.get("anyOf") or schema.get("oneOf")
    if options:
        nothing = [option for option in options if option.get("type") == "null"]
        return _example(((depth >= MAX_DEPTH and nothing) or options)[0], root, name, depth)
    match schema.get("type"):
        case "object":
            return _object(schema, root, depth)
        case "array":
            return _array(schema, root, name, depth)
        case "string":
            return _string(schema, name)
        case "integer" | "number":
            return _number(schema)
        case "boolean":
            return False
        case _:
            return None


def _object(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Json:
    """Fields with a default keep it, factories' defaults too: they are not in the schema."""
    fields: Mapping[str, Any] = schema.get("properties", {})
    return {
        field: _example(fields[field], root, field, depth + 1)
        for field in schema.get("required", ())
    }


def _array(
    schema: Mapping[str, Any], root: Mapping[str, Any], name: str, depth: int
) -> list[object]:
    if "prefixItems" in schema:
        return [_example(item, root, name, depth + 1) for item in schema["prefixItems"]]
    wanted = schema.get("minItems", 0 if depth >= MAX_DEPTH else 1)
    distinct = schema.get("uniqueItems", False)
    return [
        _example(schema.get("items", {}), root, f"{name}-{n}" if distinct else name, depth + 1)
        for n in range(1, wanted + 1)
    ]


def _string(schema: Mapping[str, Any], name: str) -> str:
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    text = name.ljust(schema.get("minLength", 0), "x")
    return text[: schema.get("maxLength", len(text))]


def _number(schema: Mapping[str, Any]) -> int | float:
    """1 if it may be; else the nearest multiple above the lower bound, or below the upper one."""
    lowest = schema.get("minimum", -math.inf)
    if "exclusiveMinimum" in schema:
        lowest = max(lowest, schema["exclusiveMinimum"] + _grain(schema))
    highest = schema.get("maximum", math.inf)
    if "exclusiveMaximum" in schema:
        highest = min(highest, schema["exclusiveMaximum"] - _grain(schema))
    step = schema.get("multipleOf", _grain(schema))
    wanted = min(max(1, lowest), highest)
    above = math.ceil(wanted / step) * step
    value = above if above <= highest else math.floor(wanted / step) * step
    return int(value) if schema["type"] == "integer" else value


def _grain(schema: Mapping[str, Any]) -> float:
    return 1 if schema["type"] == "integer" else 0.5
