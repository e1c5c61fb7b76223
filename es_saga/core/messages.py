"""What travels: messages, commands, refusals, the envelope around them, and their ids.

Everything here is deterministic. A command's id is a pure function of saga, step and direction
(law L41), so deciding twice on one input asks for the same work twice, never for other work.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeGuard, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from es_saga.core.errors import InvalidInput

R_co = TypeVar("R_co", covariant=True)

PARTS = 16
"""Number of parts the log is cut into; each has one owner at a time."""

MAX_PAYLOAD_BYTES = 256 * 1024
"""Largest message accepted, in bytes of JSON."""

MAX_ID_CHARS = 64
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TOKEN = re.compile(r"[A-Za-z0-9_-]+")


class Message(BaseModel):
    """A frozen value that travels between services, or the input of a saga."""

    # JSON has no infinity and no NaN: they would be written as null. What does not fit is people's
    # data, and the error that says so ends in logs.
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True
    )


class Refusal(Message):
    """A participant's business *no*: a value, not an exception. It starts compensation."""


class Command(Message, Generic[R_co]):
    """A request to one participant; the type parameter is the type of the answer.

    Set `to` to the service that serves it. `Command[None]` answers with nothing but success.

    >>> class StockReserved(Message):
    ...     reservation: str
    >>> class ReserveStock(Command[StockReserved]):
    ...     to = "stock"
    ...     sku: str
    >>> reply_type(ReserveStock).__name__
    'StockReserved'
    """

    to: ClassVar[str] = ""
    exposes: ClassVar[str] = ""
    """What others may come to harm by if they see it and it is undone after all, in a few words."""


class Event(Message):
    """Something that has happened in a service, told to whoever listens.

    Set `by` to the service, and `about` to the field with the id of what it happened to, the
    aggregate; that field's name, without `_id`, is the aggregate's type.

    >>> class OrderPlaced(Event):
    ...     by = "orders"
    ...     about = "order_id"
    ...     order_id: str
    """

    by: ClassVar[str] = ""
    about: ClassVar[str] = ""


def is_event(candidate: object) -> TypeGuard[type[Event]]:
    """Whether it is a type of events."""
    return inspect.isclass(candidate) and issubclass(candidate, Event)


class Query(Message, Generic[R_co]):
    """A question to one participant, which changes nothing; the type parameter is the answer's.

    >>> class Level(Message):
    ...     pieces: int
    >>> class StockLevel(Query[Level]):
    ...     to = "stock"
    ...     sku: str
    >>> reply_type(StockLevel).__name__
    'Level'
    """

    to: ClassVar[str] = ""


def reply_type(command: type[Command[Any]] | type[Query[Any]]) -> Any:
    """The type parameter of a command: a message type, or `NoneType` for `Command[None]`.

    Of a query it is a message type.
    """
    for base in command.__mro__:
        arguments = getattr(base, "__pydantic_generic_metadata__", {}).get("args") or ()
        if arguments:
            return type(None) if arguments[0] is None else arguments[0]
    kind = "Query" if issubclass(command, Query) else "Command"
    raise TypeError(f"{command.__name__} does not say what it answers: write {kind}[Reply]")


class Direction(StrEnum):
    """Forward (`do`) or compensation (`undo`): the two idempotency keys of one step."""

    DO = "do"
    UNDO = "undo"


class Outcome(StrEnum):
    """What a participant says became of a command. No answer at all is the fourth: unknown."""

    SUCCEEDED = "succeeded"
    REFUSED = "refused"
    FAILED = "failed"


def check_id(value: str, what: str = "saga id") -> str:
    """`value` itself if it can be an id: 1 to 64 of letters, digits, `_` and `-`.

    Raises:
        InvalidInput: it has other characters, or is empty or too long.
    """
    if not _ID.fullmatch(value):
        article = "an" if what[0] in "aeiou" else "a"
        raise InvalidInput(
            f"{value[:80]!r} cannot be {article} {what}.",
            hint=f"Use 1 to {MAX_ID_CHARS} letters, digits, '_' or '-'.",
        )
    return value


def is_token(value: str) -> bool:
    """Whether a name may stand between two dots of a subject."""
    return bool(_TOKEN.fullmatch(value))


@lru_cache(maxsize=65_536)
def part_of(saga_id: str) -> int:
    """The part a saga lives in: 32-bit FNV-1a of its id modulo 16.

    The NATS server's `partition(16, n)` subject transform computes the same number.

    >>> part_of("order-1")
    13
    """
    value = 0x811C9DC5
    for byte in saga_id.encode():
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value % PARTS


def command_id(saga_id: str, step: str, direction: Direction, round: int = 1) -> str:
    """The idempotency key of one piece of work, readable: `<saga>/<step>/do` or `/undo`.

    `round` counts how often an operator asked anew for work that had been refused: the fence
    remembers the refusal under the old key, so a new round needs a new one.

    >>> command_id("order-1", "ship", Direction.DO)
    'order-1/ship/do'
    >>> command_id("order-1", "ship", Direction.DO, round=2)
    'order-1/ship/do-2'
    """
    suffix = direction.value if round == 1 else f"{direction.value}-{round}"
    return f"{saga_id}/{step}/{suffix}"


def names_of_each(step: str, count: int) -> list[str]:
    """What the steps are called that stand for a step over a list.

    >>> names_of_each("book", 2)
    ['book-1', 'book-2']
    """
    return [f"{step}-{number}" for number in range(1, count + 1)]


def of_each(name: str) -> str:
    """The step over a list that one of its steps stands for."""
    return name.rpartition("-")[0]


def name_of_way(step: str, way: int) -> str:
    """What a step is called on the second way from a save-point, and on those after it.

    >>> name_of_way("book", 2), name_of_way("book.2", 3)
    ('book.2', 'book.3')
    """
    return f"{step.partition('.')[0]}.{way}"


def as_written(name: str) -> str:
    """The step as it was written, of which one stands for an item, or is on another way.

    >>> as_written("pick.2-1"), as_written("pick-1"), as_written("pick")
    ('pick', 'pick', 'pick')
    """
    return _UNFOLDED.sub("", name)


def standing_for(step: str, names: Iterable[str]) -> list[str]:
    """Which of these stand for a step as it was written; if none does, it does itself.

    >>> standing_for("pick", ["pick-1", "pick-2", "pay"]), standing_for("send", ["pay"])
    (['pick-1', 'pick-2'], ['send'])
    """
    return [name for name in names if as_written(name) == step] or [step]


_UNFOLDED = re.compile(r"(\.\d+)?(-\d+)?$")


class CommandKey(NamedTuple):
    """A command id taken apart again."""

    saga_id: str
    step: str
    direction: Direction
    round: int


_KEY = re.compile(r"([A-Za-z0-9_-]{1,64})/([^/]+)/(do|undo)(?:-([1-9]\d{0,5}))?")


def parse_command_id(value: str) -> CommandKey:
    """Take a command id apart.

    Raises:
        InvalidInput: it is not one of ours (law L43: refused, not guessed).
    """
    match = _KEY.fullmatch(value)
    if match is None:
        raise InvalidInput(f"{value[:200]!r} is not a command id: <saga>/<step>/do or /undo.")
    saga_id, step, direction, round = match.groups()
    forward = direction == Direction.DO
    return CommandKey(
        saga_id, step, Direction.DO if forward else Direction.UNDO, int(round) if round else 1
    )


class Envelope(BaseModel):
    """One message on the wire: CloudEvents 1.0 attributes, our extensions, and the payload.

    `id` of a command is its command id and attempt (`order-1/ship/do/2`); of a reply, that plus
    `/r`. The broker drops a repeated id inside its duplicate window, so a deliberate second
    sending has another attempt and is never swallowed (law L46).
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    specversion: Literal["1.0"] = "1.0"
    id: str = Field(min_length=1, max_length=300)
    source: str
    type: str = Field(min_length=1, max_length=200)
    datacontenttype: str | None = None
    time: str | None = None
    subject: str | None = None
    """On a domain event: the id of the aggregate it happened to."""
    aggregatetype: str | None = None

    sagaid: str | None = None
    sagatype: str | None = None
    step: str | None = None
    commandid: str | None = None
    undoes: str | None = None
    """On an undo: the id of the forward command, whose fence record it closes."""
    confirms: str | None = None
    """On a confirm: the id of the hold that it makes final."""
    runs: str | None = None
    """On a command that is for a saga: its type."""
    expires: float | None = None
    """On a hold: how long the participant keeps it unsettled, in seconds from when it held it."""
    attempt: int = 1
    replyto: str | None = None
    deadline: float | None = None
    """Seconds since the epoch after which the sender gives up on this attempt."""
    outcome: Outcome | None = None
    causationid: str | None = None
    correlationid: str | None = None
    """On a domain event: the business key of the saga that it belongs to."""
    traceparent: str | None = None
    direction: Literal["REQUEST", "CANCEL"] | None = None
    retryafter: float | None = None
    """On a failure: seconds the participant asks the sender to wait. Negative: never again."""

    data: Any = None


class Subjects:
    """The subjects of one tenant, version 1 of the message contract.

    >>> Subjects("main").command("stock", 3, "ReserveStock")
    'saga.v1.main.cmd.stock.3.ReserveStock'
    """

    def __init__(self, tenant: str = "main") -> None:
        if not is_token(tenant):
            raise InvalidInput(f"{tenant!r} cannot be a tenant.", hint="Use [A-Za-z0-9_-]+.")
        self.tenant = tenant
        self.root = f"saga.v1.{tenant}"

    def command(self, service: str, part: int, command: str) -> str:
        """Where a command to `service` is sent."""
        return f"{self.root}.cmd.{service}.{part}.{command}"

    def commands_of(self, service: str) -> str:
        """Filter: every command to `service`."""
        return f"{self.root}.cmd.{service}.>"

    def query(self, service: str, query: str) -> str:
        """Where a question to `service` is asked; whoever is there answers, nothing is stored."""
        return f"{self.root}.qry.{service}.{query}"

    def inbox(self, app: str, saga_id: str) -> str:
        """Where everything addressed to one saga is sent: replies, starts, operators' verbs."""
        return f"{self.root}.rpl.{app}.{part_of(saga_id)}.{saga_id}"

    def inbox_of_part(self, app: str, part: int) -> str:
        """Filter: everything addressed to the sagas of one part."""
        return f"{self.root}.rpl.{app}.{part}.>"

    def event(self, service: str, aggregate_id: str, event: str) -> str:
        """Where a service tells what has happened to one of its aggregates."""
        return f"{self.root}.evt.{service}.{aggregate_id}.{event}"

    def events_of(self, service: str) -> str:
        """Filter: everything a service tells."""
        return f"{self.root}.evt.{service}.>"

    @property
    def events(self) -> str:
        """Filter: everything that any service tells."""
        return f"{self.root}.evt.>"

    def dead_letter(self, who: str, reason: str) -> str:
        """Where a message that cannot be handled is put aside."""
        return f"{self.root}.dlq.{who}.{reason}"

    def alert(self, app: str, kind: str) -> str:
        """Where it is told that a saga needs a human, or no longer does."""
        return f"{self.root}.alr.{app}.{kind}"
