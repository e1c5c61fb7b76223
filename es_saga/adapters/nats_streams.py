"""Streams and consumers: what they are called, how they are set up, and how they are kept small.

A tenant has six streams. Everything here is idempotent and is done again after every reconnect.

    ES_<tenant>_CMD   saga.v1.<tenant>.cmd.>   commands to participants
    ES_<tenant>_RPL   saga.v1.<tenant>.rpl.>   replies, starts and verbs to sagas
    ES_<tenant>_EVT   saga.v1.<tenant>.evt.>   what services tell of themselves
    ES_<tenant>_DLQ   saga.v1.<tenant>.dlq.>   dead letters
    ES_<tenant>_ALR   saga.v1.<tenant>.alr.>   alerts, where they are wanted here
    ES_<tenant>_ADV   the server's advisories about consumers of the first three
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from es_saga.adapters.nats_link import Link
from es_saga.adapters.subjects import overlap
from es_saga.core.errors import InvalidInput, SagaError, Unavailable
from es_saga.core.messages import MAX_PAYLOAD_BYTES, Subjects, is_token
from es_saga.engine.ports import Consumer

API_SECONDS: Final = 5.0
"""How long the server may take to answer about streams and consumers."""

DUPLICATE_WINDOW_SECONDS: Final = 120
"""How long the server remembers the ids of messages."""

HEADER_BYTES: Final = 8 * 1024
"""What a message may take beyond its payload."""

MAX_WAITING: Final = 512
"""Pull requests that may wait at one consumer, of all processes together."""

ADVISORIES: Final = ("MAX_DELIVERIES", "MSG_TERMINATED", "DELETED")
"""Which of the server's advisories about consumers are kept."""

CONSUMED: Final = ("CMD", "RPL", "EVT")
"""The streams that have consumers; what those have settled is removed."""

_NS: Final = 1_000_000_000
_DAY: Final = 24 * 3600

_BEGINNING: Final = ("deliver_policy", "opt_start_seq")
"""Settings of a consumer that cannot be changed."""

_NAME_IN_USE: Final = 10058
"""err_code: the stream exists with another configuration."""


class BrokerError(SagaError):
    """The NATS server refuses what was asked of JetStream. The text says why."""

    code = "broker-refused"

    def __init__(self, subject: str, error: Mapping[str, Any]) -> None:
        self.err_code = int(error.get("err_code", 0))
        super().__init__(f"NATS refuses {subject}: {error.get('description', '')}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLimits:
    """How large the streams may grow, in bytes, and how long they keep a message, in seconds.

    A full stream of commands, replies or events takes no more until some have been acknowledged or
    are too old: publishers wait. Of dead letters, alerts and advisories the oldest go first, so
    that putting a message aside never fails.
    """

    cmd_bytes: int = 2 * 1024**3
    rpl_bytes: int = 2 * 1024**3
    evt_bytes: int = 2 * 1024**3
    dlq_bytes: int = 256 * 1024**2
    alr_bytes: int = 32 * 1024**2
    adv_bytes: int = 32 * 1024**2
    max_age: float = 3.0 * _DAY
    """Of commands and replies. A participant remembers its answers for longer than that."""
    evt_age: float = 7.0 * _DAY
    """Of events: whoever listens and is away for longer misses some."""
    dlq_age: float = 30.0 * _DAY
    alr_age: float = 30.0 * _DAY
    adv_age: float = 7.0 * _DAY
    replicas: int = 1


@dataclass(frozen=True, slots=True)
class ConsumerStatus:
    """How far one consumer is."""

    name: str
    pending: int
    """Messages not delivered yet."""
    unacked: int
    """Messages delivered and not settled yet."""
    redelivered: int
    filter: str
    floor: int
    """Every message of its filter up to this sequence number is settled."""
    taken: bool = True
    """Somebody waits for its messages now."""


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """What one stream holds."""

    name: str
    messages: int
    bytes: int
    first: int
    last: int
    """Sequence number of the last message, also when it is gone."""
    consumers: tuple[ConsumerStatus, ...] = field(default=())


class Streams:
    """The streams of one tenant on the server behind `link`."""

    KINDS: Final = (*CONSUMED, "DLQ", "ALR", "ADV")

    def __init__(self, link: Link, subjects: Subjects, limits: StreamLimits) -> None:
        self._link = link
        self._subjects = subjects
        self._limits = limits

    def name(self, kind: str) -> str:
        """A stream's name."""
        return f"ES_{self._subjects.tenant}_{kind}"

    async def ask(self, what: str, request: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One request to JetStream's API.

        Raises:
            BrokerError: it was refused.
            Unavailable: it was not answered.
        """
        payload = json.dumps(request).encode() if request is not None else b""
        answer = await self._link.request(f"$JS.API.{what}", payload, within=API_SECONDS)
        if answer.headers and answer.headers.get("Status") == "503":
            raise Unavailable("JetStream is not on.", hint="Start nats-server with -js.")
        body: dict[str, Any] = json.loads(answer.data)
        error = body.get("error")
        if error:
            if error.get("code") == 503:
                raise Unavailable(f"JetStream is not ready: {error.get('description', '')}.")
            raise BrokerError(what, error)
        return body

    async def ensure(self) -> dict[str, str]:
        """Create what is missing and mend what differs. For each kind, when it was created.

        Raises:
            BrokerError, Unavailable: it could not be done.
        """
        created: dict[str, str] = {}
        for kind in self.KINDS:
            wanted = self._config(kind)
            try:
                answer = await self.ask(f"STREAM.CREATE.{wanted['name']}", wanted)
            except BrokerError as error:
                if error.err_code != _NAME_IN_USE:
                    raise
                answer = await self.ask(f"STREAM.UPDATE.{wanted['name']}", wanted)
            created[kind] = str(answer["created"])
        return created

    async def ensure_consumer(self, consumer: Consumer, *, anew: bool = False) -> None:
        """Create a durable consumer, or bring its settings up to date.

        Args:
            anew: nobody has in hand any more what it delivered.

        Raises:
            BrokerError, Unavailable: it could not be done.
        """
        stream = self.name(consumer.stream)
        config = consumer_config(consumer)
        if consumer.in_order:
            config |= await self._beginning(f"{stream}.{consumer.name}", anew=anew)
        where = f"CONSUMER.CREATE.{stream}.{consumer.name}.{consumer.filter}"
        await self.ask(where, {"stream_name": stream, "config": config})

    async def _beginning(self, which: str, *, anew: bool) -> dict[str, Any]:
        """Where a consumer begins: what nobody settled comes again before what follows it.

        The server would deliver that only when it is overdue. So the consumer is made anew, from
        the first message on that is not settled; those after it that are come again, too.
        """
        try:
            found = await self.ask(f"CONSUMER.INFO.{which}")
        except BrokerError:
            return {}  # there is none
        if not (anew and found["num_ack_pending"]):
            config: dict[str, Any] = found["config"]
            return {key: config[key] for key in _BEGINNING if key in config}
        await self.ask(f"CONSUMER.DELETE.{which}")
        first = found["ack_floor"]["stream_seq"] + 1
        return dict(zip(_BEGINNING, ("by_start_sequence", first), strict=True))

    async def status(self) -> list[StreamStatus]:
        """What every stream holds; one that is missing is left out."""
        found: list[StreamStatus] = []
        for kind in self.KINDS:
            try:
                info = await self.ask(f"STREAM.INFO.{self.name(kind)}")
                consumers = await self.consumers(kind)
            except BrokerError:
                continue
            state = info["state"]
            found.append(
                StreamStatus(
                    name=self.name(kind),
                    messages=state["messages"],
                    bytes=state["bytes"],
                    first=state["first_seq"],
                    last=state["last_seq"],
                    consumers=tuple(consumers),
                )
            )
        return found

    async def consumers(self, kind: str) -> Sequence[ConsumerStatus]:
        """Every consumer of a stream."""
        found: list[ConsumerStatus] = []
        while True:
            page = await self.ask(f"CONSUMER.LIST.{self.name(kind)}", {"offset": len(found)})
            batch: list[dict[str, Any]] = page["consumers"] or []
            found += [
                ConsumerStatus(
                    name=info["name"],
                    pending=info["num_pending"],
                    unacked=info["num_ack_pending"],
                    redelivered=info["num_redelivered"],
                    filter=info["config"].get("filter_subject", ">"),
                    floor=info["ack_floor"]["stream_seq"],
                    taken=bool(info.get("num_waiting") or info.get("push_bound")),
                )
                for info in batch
            ]
            if not batch or len(found) >= page["total"]:
                return found

    async def unserved(self, services: Collection[str]) -> frozenset[str]:
        """Those of these services whose commands nobody takes now.

        Raises:
            BrokerError, Unavailable: the server cannot tell.
        """
        taken = [one.filter for one in await self.consumers("CMD") if one.taken]
        return frozenset(
            service
            for service in services
            if not any(overlap(self._subjects.commands_of(service), one) for one in taken)
        )

    def _config(self, kind: str) -> dict[str, Any]:
        limits = self._limits
        size, age = {
            "CMD": (limits.cmd_bytes, limits.max_age),
            "RPL": (limits.rpl_bytes, limits.max_age),
            "EVT": (limits.evt_bytes, limits.evt_age),
            "DLQ": (limits.dlq_bytes, limits.dlq_age),
            "ALR": (limits.alr_bytes, limits.alr_age),
            "ADV": (limits.adv_bytes, limits.adv_age),
        }[kind]
        config: dict[str, Any] = {
            "name": self.name(kind),
            "subjects": [f"{self._subjects.root}.{kind.lower()}.>"],
            "retention": "limits",
            "discard": "new" if kind in CONSUMED else "old",
            "storage": "file",
            "max_bytes": size,
            "max_age": int(age * _NS),
            "max_msg_size": MAX_PAYLOAD_BYTES + HEADER_BYTES,
            "duplicate_window": int(min(DUPLICATE_WINDOW_SECONDS, age) * _NS),
            "num_replicas": limits.replicas,
            "allow_direct": True,
            "allow_msg_ttl": True,
            "allow_atomic": True,
        }
        if kind == "ADV":
            config["subjects"] = [
                f"$JS.EVENT.ADVISORY.CONSUMER.{event}.{self.name(watched)}.>"
                for event in ADVISORIES
                for watched in CONSUMED
            ]
            config |= {"allow_msg_ttl": False, "allow_atomic": False}
        return config


def consumer_config(consumer: Consumer) -> dict[str, Any]:
    """A consumer as JetStream's API takes it.

    The server is not told `max_deliver`: it would stop delivering and tell nobody. We count
    ourselves, and put the message among the dead letters.

    Raises:
        InvalidInput: its name or stream cannot be.
    """
    if not is_token(consumer.name) or consumer.stream not in CONSUMED:
        raise InvalidInput(
            f"{consumer.name!r} on {consumer.stream!r} cannot be a consumer.",
            hint="Names have letters, digits, '_' and '-'; the stream is CMD, RPL or EVT.",
        )
    config: dict[str, Any] = {
        "name": consumer.name,
        "durable_name": consumer.name,
        "filter_subject": consumer.filter,
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "ack_wait": int(consumer.ack_wait * _NS),
        "max_deliver": -1,
        "max_ack_pending": consumer.max_ack_pending,
        "max_waiting": MAX_WAITING,
    }
    if consumer.backoff:
        config["backoff"] = [int(seconds * _NS) for seconds in consumer.backoff]
        config["ack_wait"] = config["backoff"][0]
    return config
