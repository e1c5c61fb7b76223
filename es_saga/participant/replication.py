"""A stream of new outbox rows out of PostgreSQL's transaction log: slot, protocol, decoding.

A replication slot remembers how far we are, and has the server keep its log from there on. The
server decodes it with `pgoutput`, which every PostgreSQL since 10 has, and sends what the
publication `es_outbox` selects: inserts into that table, by transaction, in the order of commits.
psycopg 3 has no replication of its own: this speaks the protocol over its libpq wrapper.
Messages and formats: PostgreSQL's documentation, 54.4 and 54.9.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Iterator
from typing import Final, NamedTuple, TypeAlias

import sqlalchemy as sa
from psycopg import Error, conninfo, pq, sql
from psycopg.pq.abc import PGconn

from es_saga.participant.outbox import Row, es_outbox

PUBLICATION: Final = "es_outbox"

MOST_MESSAGES: Final = 500
"""Most messages that are taken from the stream at once."""

_EPOCH_2000: Final = 946_684_800
_XLOG_DATA: Final = struct.Struct("!cQQQ")
_KEEPALIVE: Final = struct.Struct("!cQQ?")
_FEEDBACK: Final = struct.Struct("!cQQQQ?")
_BEGIN: Final = struct.Struct("!cQQI")
_COMMIT: Final = struct.Struct("!cBQQQ")
_BUSY: Final = b"55006"
"""SQLSTATE object_in_use: somebody else reads from the slot."""


class Lost(Exception):
    """The connection broke, or the server refused or ended the stream; the text says why."""


class SlotBusy(Exception):
    """Another process reads from the replication slot."""


class Begun(NamedTuple):
    """A transaction begins that was committed at this place of the log."""

    lsn: int


class Committed(NamedTuple):
    """It is over; everything up to here has been sent."""

    lsn: int


class Alive(NamedTuple):
    """The server has nothing to send up to here."""

    lsn: int


Change: TypeAlias = Begun | Row | Committed | Alive


class Feed:
    """The stream of one slot, over a connection of its own. Made by `open`, in any thread."""

    def __init__(self, connection: PGconn) -> None:
        self._connection = connection
        self._decoder = _Decoder()
        self.confirmed = 0
        """Up to where the server may forget."""

    @classmethod
    def open(cls, url: sa.URL, slot: str) -> Feed:
        """Begin where the slot is. Blocks.

        Raises:
            SlotBusy: another process reads from it.
            Lost: it cannot be.
        """
        made: PGconn = pq.PGconn.connect(_dsn(url).encode())
        try:
            if made.status != pq.ConnStatus.OK:
                raise Lost(_said(made))
            options = sql.SQL("proto_version '1', publication_names {}").format(PUBLICATION)
            begin = sql.SQL("START_REPLICATION SLOT {} LOGICAL 0/0 ({})").format(
                sql.Identifier(slot), options
            )
            answer = made.exec_(begin.as_bytes(None))
            if answer.status != pq.ExecStatus.COPY_BOTH:
                if answer.error_field(pq.DiagnosticField.SQLSTATE) == _BUSY:
                    raise SlotBusy(SlotBusy.__doc__)
                raise Lost(answer.error_message.decode(errors="replace").strip())
            made.nonblocking = 1
        except BaseException:
            made.finish()
            raise
        return cls(made)

    async def read(self, within: float) -> list[Change]:
        """What has come; nothing if nothing comes within so many seconds.

        Raises:
            Lost: the connection broke, or the server has ended the stream.
        """
        found = list(self._buffered())
        if not found:
            await self._readable(within)
            try:
                self._connection.consume_input()
            except Error as error:
                raise Lost(str(error)) from error
            found = list(self._buffered())
        return found

    def confirm(self, lsn: int) -> None:
        """Let the server forget what is before; the same place again says that we are alive.

        Raises:
            Lost: the connection broke.
        """
        self.confirmed = max(self.confirmed, lsn)
        now = int((time.time() - _EPOCH_2000) * 1_000_000)
        at = self.confirmed
        try:
            self._connection.put_copy_data(_FEEDBACK.pack(b"r", at, at, at, now, False))
            self._connection.flush()
        except Error as error:
            raise Lost(str(error)) from error

    def close(self) -> None:
        """Hang up; the slot stays."""
        self._connection.finish()

    def _buffered(self) -> Iterator[Change]:
        for _ in range(MOST_MESSAGES):
            try:
                size, data = self._connection.get_copy_data(1)
            except Error as error:
                raise Lost(str(error)) from error
            if size == 0:
                return
            if size < 0:
                raise Lost(_said(self._connection) or "the server ended the stream")
            message = bytes(data)
            if message[:1] == b"w":
                change = self._decoder.decode(message[_XLOG_DATA.size :])
                if change is not None:
                    yield change
            elif message[:1] == b"k":
                yield Alive(_KEEPALIVE.unpack(message)[1])

    async def _readable(self, within: float) -> None:
        loop, ready = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._connection.socket, ready.set)
        try:
            async with asyncio.timeout(within):
                await ready.wait()
        except TimeoutError:
            return
        finally:
            loop.remove_reader(self._connection.socket)


class _Decoder:
    """Messages of pgoutput, version 1."""

    def __init__(self) -> None:
        self._columns: dict[int, list[str]] = {}
        """Of each table that is ours, by its number on the wire."""

    def decode(self, data: bytes) -> Change | None:
        """None for what is of no interest."""
        kind = data[:1]
        if kind == b"B":
            return Begun(_BEGIN.unpack(data)[1])
        if kind == b"C":
            return Committed(_COMMIT.unpack(data)[3])
        if kind == b"R":
            self._describe(data)
        elif kind == b"I":
            columns = self._columns.get(_number(data, 1))
            if columns is not None:
                return _row(dict(zip(columns, _values(data, 6), strict=True)))
        return None

    def _describe(self, data: bytes) -> None:
        number = _number(data, 1)
        _, at = _text(data, 5)  # the schema
        name, at = _text(data, at)
        if name != es_outbox.name:
            return
        columns: list[str] = []
        at += 3  # replica identity, number of columns
        while at < len(data):
            column, at = _text(data, at + 1)
            columns.append(column)
            at += 8  # type, modifier
        self._columns[number] = columns


def _row(values: dict[str, str | None]) -> Row:
    at = values["at"]
    return Row(
        position=int(values["position"] or 0),
        id=values["id"] or "",
        service=values["service"] or "",
        aggregate_type=values["aggregate_type"] or "",
        aggregate_id=values["aggregate_id"] or "",
        type=values["type"] or "",
        payload=values["payload"] or "",
        attributes=values["attributes"],
        at=None if at is None else float(at),
    )


def _values(data: bytes, at: int) -> Iterator[str | None]:
    (count,) = struct.unpack_from("!H", data, at)
    at += 2
    for _ in range(count):
        kind, at = data[at : at + 1], at + 1
        if kind == b"t":
            size = _number(data, at)
            yield data[at + 4 : at + 4 + size].decode()
            at += 4 + size
        else:
            yield None


def _number(data: bytes, at: int) -> int:
    found: int = struct.unpack_from("!I", data, at)[0]
    return found


def _text(data: bytes, at: int) -> tuple[str, int]:
    """Up to a zero byte, and where the next thing begins."""
    end = data.index(0, at)
    return data[at:end].decode(), end + 1


def _dsn(url: sa.URL) -> str:
    """As libpq takes it."""
    words, options = url.get_dialect()().create_connect_args(url)
    return conninfo.make_conninfo(
        *words, **{**options, "replication": "database", "client_encoding": "utf8"}
    )


def _said(connection: PGconn) -> str:
    return connection.error_message.decode(errors="replace").strip()
