"""The message contract of an app, for whoever writes a participant in another language.

As JSON Schema: every message by its name, and which step sends and answers which. As AsyncAPI 3.0:
the subjects they travel on as well, and what an envelope holds. Both follow from the models.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from typing import Any, Final, NamedTuple

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from es_saga.adapters.cloudevents import STRUCTURED
from es_saga.app import App
from es_saga.core.compiled import Definition, StepDefinition
from es_saga.core.messages import PARTS, Command, Envelope, Event, Message, Outcome, reply_type
from es_saga.core.nested import is_for_saga
from es_saga.replay.answers import refusals_of

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
ASYNCAPI: Final = "3.0.0"

_SCHEMAS: Final = "#/components/schemas/"

Json = dict[str, Any]
Models = Mapping[type[BaseModel], Json]
"""The reference of each model."""


class Sent(NamedTuple):
    """One command, and what may be answered."""

    command: type[Command[Any]]
    reply: type[Message] | None
    undo: bool


def json_schema(app: App) -> Json:
    """Every message of an app, and which step sends which.

    Raises:
        DefinitionError: the app cannot be run.
    """
    definitions = app.definitions()
    references, defs = _schemas(_models(app, definitions), "#/$defs/{model}")
    return {
        "$schema": DRAFT,
        "title": f"Messages of {app.name}",
        "$defs": defs,
        "x-sagas": [_saga(definition, references) for definition in definitions],
    }


def _saga(definition: Definition, references: Models) -> Json:
    return {
        "type": definition.name,
        "version": definition.version,
        "input": references[definition.data],
        "steps": [
            {
                "name": step.name,
                "kind": step.kind.value,
                "to": step.command.to or None,
                "command": None if step.asks_nobody else references[step.command],
                "reply": references[step.reply] if step.reply else None,
                "undo": references[undo] if (undo := _undo_of(step)) else None,
            }
            for step in definition.steps.values()
        ],
    }


def _undo_of(step: StepDefinition) -> type[Message] | None:
    """What undoes a step: a command, or the event that tells of it."""
    if step.observed is not None:
        return step.observed.undone
    return step.undo.command if step.undo else None


def asyncapi(app: App, *, tenant: str = "main") -> Json:
    """The same with the subjects that the messages travel on, as the process manager uses them.

    Raises:
        DefinitionError: the app cannot be run.
    """
    definitions = app.definitions()
    models: list[type[BaseModel]] = [*_models(app, definitions), Envelope]
    references, schemas = _schemas(models, f"{_SCHEMAS}{{model}}")
    root = f"saga.v1.{tenant}"
    refusals = sorted(
        {model.__name__: model for one in definitions for model in _refusals(app, one)}.items()
    )
    messages: Json = {
        name: _message(name, references[model], references, Outcome.REFUSED)
        for name, model in refusals
    }
    messages["Failure"] = _message("Failure", _FAILURE, references, Outcome.FAILED)
    channels: Json = {
        "inbox": {
            "address": f"{root}.rpl.{app.name}.{{part}}.{{saga_id}}",
            "title": "Answers",
            "description": "The `replyto` of a command: an answer is sent there as it stands.",
            "parameters": {"part": _PART, "saga_id": {"description": "Id of the saga."}},
            "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        }
    }
    operations: Json = {}
    for sent in _every_command(definitions):
        if is_for_saga(sent.command.to):
            continue  # no participant takes it
        _add(sent, root, references, messages, channels, operations)
    for event in _every_event(definitions):
        _hear(event, root, references, messages, channels, operations)
    return {
        "asyncapi": ASYNCAPI,
        "info": {
            "title": f"Sagas of {app.name}",
            "version": version("es-saga"),
            "description": "A participant takes commands by a durable JetStream consumer named "
            "`svc-<service>`, answers each to its `replyto`, and remembers `commandid`: asked "
            "again, it answers the same.",
        },
        "defaultContentType": STRUCTURED,
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": schemas},
    }


_PART: Final = {
    "description": f"Number of the part: 32-bit FNV-1a of the saga's id, modulo {PARTS}.",
    "enum": [str(part) for part in range(PARTS)],
}
_FAILURE: Final = {
    "type": "object",
    "properties": {"error": {"type": "string"}, "detail": {"type": "string"}},
    "required": ["error"],
    "description": "A technical error; what was begun is rolled back. It is tried again.",
}


def _add(
    sent: Sent,
    root: str,
    references: Models,
    messages: Json,
    channels: Json,
    operations: Json,
) -> None:
    """Channel, messages and operation of one command."""
    name, service = sent.command.__name__, sent.command.to
    channel = f"{service}.{name}"
    messages[name] = _message(name, references[sent.command], references)
    answer = sent.reply.__name__ if sent.reply else "Done"
    answered = references[sent.reply] if sent.reply else {"type": "null"}
    messages[answer] = _message(answer, answered, references, Outcome.SUCCEEDED)
    channels["inbox"]["messages"][answer] = {"$ref": f"#/components/messages/{answer}"}
    channels[channel] = {
        "address": f"{root}.cmd.{service}.{{part}}.{name}",
        "parameters": {"part": _PART},
        "messages": {name: {"$ref": f"#/components/messages/{name}"}},
    }
    operations[channel] = {
        "action": "send",
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": f"{'Undo by' if sent.undo else 'Do'} {name}, at {service}.",
        "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"}],
        "reply": {
            "address": {"location": "$message.payload#/replyto"},
            "channel": {"$ref": "#/channels/inbox"},
        },
    }


def _hear(
    event: type[Event],
    root: str,
    references: Models,
    messages: Json,
    channels: Json,
    operations: Json,
) -> None:
    """Channel, message and operation of one event that sagas listen for."""
    name, service = event.__name__, event.by
    channel = f"{service}.{name}"
    typed = {"type": "object", "properties": {"type": {"const": name}, "data": references[event]}}
    payload = {"allOf": [references[Envelope], typed | {"required": ["data"]}]}
    messages[name] = {"name": name, "contentType": STRUCTURED, "payload": payload}
    channels[channel] = {
        "address": f"{root}.evt.{service}.{{aggregate_id}}.{name}",
        "parameters": {"aggregate_id": {"description": "Id of what it happened to."}},
        "messages": {name: {"$ref": f"#/components/messages/{name}"}},
    }
    operations[channel] = {
        "action": "receive",
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": f"Hear {name}, of {service}.",
        "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"}],
    }


def _message(name: str, data: Json, references: Models, outcome: Outcome | None = None) -> Json:
    """An envelope with this type and data; `outcome` on answers."""
    properties: Json = {"type": {"const": name}, "data": data}
    if outcome is not None:
        properties["outcome"] = {"const": outcome.value}
        # The type of a failure is the name of the error, whatever that is.
        if outcome is Outcome.FAILED:
            del properties["type"]
    needed = ["commandid", "attempt", *(["outcome"] if outcome else ["replyto"])]
    return {
        "name": name,
        "contentType": STRUCTURED,
        "payload": {
            "allOf": [
                references[Envelope],
                {"type": "object", "properties": properties, "required": needed},
            ]
        },
    }


# ── models ───────────────────────────────────────────────────────────────────────────────────────


def _every_command(definitions: Iterable[Definition]) -> list[Sent]:
    """Every command once, in the order of the steps."""
    found: dict[type[Command[Any]], Sent] = {}
    for definition in definitions:
        for step in definition.steps.values():
            if step.asks_nobody:
                continue
            found.setdefault(step.command, Sent(step.command, step.reply, undo=False))
            if step.undo is not None:
                answer = reply_type(step.undo.command)
                reply = answer if issubclass(answer, Message) else None
                found.setdefault(step.undo.command, Sent(step.undo.command, reply, undo=True))
    return list(found.values())


def _every_event(definitions: Iterable[Definition]) -> list[type[Event]]:
    """Every event that sagas listen for, once."""
    heard = [one.event for found in definitions for one in found.correlations.values()]
    return list(dict.fromkeys(heard))


def _models(app: App, definitions: Iterable[Definition]) -> list[type[BaseModel]]:
    return list(dict.fromkeys(_each_model(app, definitions)))


def _each_model(app: App, definitions: Iterable[Definition]) -> Iterator[type[BaseModel]]:
    for definition in definitions:
        yield definition.data
        for sent in _every_command([definition]):
            yield sent.command
            if sent.reply is not None:
                yield sent.reply
        for step in definition.steps.values():
            if step.asks_nobody and step.reply is not None:
                yield step.reply
        yield from _every_event([definition])
        yield from _refusals(app, definition)


def _refusals(app: App, definition: Definition) -> list[type[BaseModel]]:
    return [*refusals_of(definition, app.participants.values()).values()]


def _schemas(models: Iterable[type[BaseModel]], template: str) -> tuple[Models, Json]:
    """The reference of each model, and the schemas that are referred to."""
    wanted = list(models)
    references, found = models_json_schema(
        [(model, "validation") for model in wanted], ref_template=template
    )
    return {model: references[model, "validation"] for model in wanted}, found["$defs"]
