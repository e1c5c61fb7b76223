"""The OpenAPI document, with the inputs of the saga types whose code is here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from es_saga.core.compiled import Definition
from es_saga.web.api.inputs import API

Json = dict[str, Any]

_REFERENCE: Final = "#/components/schemas/"
_UNFIT: Final = re.compile(r"[^A-Za-z0-9._-]")


def _latest(definitions: Iterable[Definition]) -> list[Definition]:
    """Of each type the version that new sagas begin with."""
    latest: dict[str, Definition] = {}
    for definition in sorted(definitions, key=lambda one: one.version):
        latest[definition.name] = definition
    return [latest[name] for name in sorted(latest)]


def with_inputs(found: Json, definitions: Iterable[Definition]) -> Json:
    """The document with a start being of one of these types, each with its own input."""
    schemas: Json = found["components"]["schemas"]
    usual: Mapping[str, Any] = schemas["StartSaga"]
    variants: Json = {}
    for definition in _latest(definitions):
        prefix = _UNFIT.sub("_", definition.name)
        model = definition.data
        schema = model.model_json_schema(ref_template=f"{_REFERENCE}{prefix}.{{model}}")
        for name, part in schema.pop("$defs", {}).items():
            schemas[f"{prefix}.{name}"] = part
        schemas[f"{prefix}.{model.__name__}"] = schema
        start = f"{prefix}.start"
        schemas[start] = {
            **usual,
            "title": f"Start of {definition.name}",
            "properties": {
                **usual["properties"],
                "type": {"type": "string", "const": definition.name},
                "data": {"$ref": f"{_REFERENCE}{prefix}.{model.__name__}"},
            },
        }
        variants[definition.name] = f"{_REFERENCE}{start}"
    if not variants:
        return found
    body = found["paths"][f"{API}/sagas"]["post"]["requestBody"]["content"]["application/json"]
    body["schema"] = {
        "oneOf": [{"$ref": reference} for reference in variants.values()],
        "discriminator": {"propertyName": "type", "mapping": variants},
    }
    return found
