"""Contracts out: what is written is complete, refers to nothing that is missing, and is true."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import TypeAdapter

from domain.orders import app as orders
from domain.together import app as families
from es_saga.adapters.cloudevents import encode
from es_saga.adapters.contracts import asyncapi, json_schema
from es_saga.core.messages import Envelope, Outcome, Subjects
from tests.cli.conftest import Cli, cli

__all__ = ["cli"]


def references(value: Any) -> Iterator[str]:
    """Every `$ref` in a document."""
    if isinstance(value, dict):
        for key, own in TypeAdapter(dict[str, Any]).validate_python(value).items():
            if key == "$ref":
                yield own
            else:
                yield from references(own)
    elif isinstance(value, list):
        for own in TypeAdapter(list[Any]).validate_python(value):
            yield from references(own)


def resolve(document: Any, reference: str) -> Any:
    found = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


WRITERS: dict[str, Callable[[], Any]] = {
    "asyncapi": lambda: asyncapi(orders),
    "jsonschema": lambda: json_schema(orders),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_contract_refers_to_nothing_that_is_missing(kind: str) -> None:
    document = WRITERS[kind]()
    found = set(references(document))
    assert found
    for reference in found:
        assert resolve(document, reference) is not None


def test_every_command_travels_on_the_subject_that_it_is_sent_to() -> None:
    document = asyncapi(orders, tenant="shop")
    subjects = Subjects("shop")
    commands = {
        command
        for definition in orders.definitions()
        for step in definition.steps.values()
        for command in (step.command, *([step.undo.command] if step.undo else []))
    }
    addresses = {channel["address"] for channel in document["channels"].values()}
    for command in commands:
        subject = subjects.command(command.to, 7, command.__name__)
        assert subject.replace(".7.", ".{part}.") in addresses
        operation = document["operations"][f"{command.to}.{command.__name__}"]
        assert operation["action"] == "send"
    inbox = document["channels"]["inbox"]["address"]
    assert inbox.format(part=13, saga_id="order-1") == subjects.inbox(orders.name, "order-1")


def test_what_one_saga_asks_of_another_is_no_participants_business() -> None:
    document = asyncapi(families)
    assert set(document["channels"]) == {
        "inbox",
        "wallet.PayTrip",
        "flights.BookFlight",
        "flights.CancelFlight",
        "rooms.BookRoom",
        "rooms.CancelRoom",
    }
    assert json_schema(families)["x-sagas"][0]["steps"][0]["to"] == "saga:journey"


def test_what_is_really_sent_has_what_the_contract_asks_for() -> None:
    document = asyncapi(orders)
    definition = next(one for one in orders.definitions() if one.name == "order")
    step = definition.steps["reserve"]
    schema = document["components"]["messages"][step.command.__name__]["payload"]["allOf"][1]
    sent = Envelope(
        id="order-1/reserve/do/1",
        source="pm/orders",
        type=step.command.__name__,
        commandid="order-1/reserve/do",
        replyto="saga.v1.main.rpl.orders.13.order-1",
        outcome=Outcome.SUCCEEDED,
        data={},
    )
    raw = json.loads(encode(sent))
    assert set(schema["required"]) <= set(raw)
    assert raw["type"] == schema["properties"]["type"]["const"]


def test_the_json_schema_names_what_every_step_sends_and_gets() -> None:
    document = json_schema(orders)
    saga = next(one for one in document["x-sagas"] if one["type"] == "order")
    steps = {step["name"]: step for step in saga["steps"]}
    assert resolve(document, saga["input"]["$ref"])["title"] == "PlaceOrder"
    assert steps["reserve"]["to"] == "stock"
    assert resolve(document, steps["reserve"]["command"]["$ref"])["title"] == "ReserveStock"
    assert resolve(document, steps["reserve"]["undo"]["$ref"])["title"] == "ReleaseStock"
    assert "OutOfStock" in document["$defs"]


def test_the_command_writes_openapi_with_the_inputs_of_the_app(cli: Cli) -> None:
    document = cli("contracts", "domain.orders:app", "--openapi").json()
    assert document["openapi"].startswith("3.1")
    for reference in set(references(document)):
        assert resolve(document, reference) is not None
    start = document["paths"]["/api/v1/sagas"]["post"]["requestBody"]["content"]
    mapping = start["application/json"]["schema"]["discriminator"]["mapping"]
    order = resolve(document, mapping["order"])["properties"]
    assert order["type"]["const"] == "order"
    assert "sku" in resolve(document, order["data"]["$ref"])["properties"]
    assert "oneOf" not in json.dumps(
        cli("contracts", "--openapi").json()["paths"]["/api/v1/sagas"]["post"]["requestBody"]
    )


@pytest.mark.parametrize("words", [[], ["--openapi", "--asyncapi"], ["--asyncapi"]])
def test_the_command_says_what_is_missing(words: list[str], cli: Cli) -> None:
    found = cli("contracts", *words)
    assert (found.code, found.out) == (2, "")
    assert "hint" in found.err


@pytest.mark.parametrize("kind", ["--asyncapi", "--jsonschema"])
def test_the_command_writes_the_messages_of_an_app(kind: str, cli: Cli) -> None:
    assert "ReserveStock" in cli("contracts", "domain.orders:app", kind).out
