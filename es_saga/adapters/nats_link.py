"""The connection to NATS: kept up for ever, with a queue for what goes out without being awaited.

nats-py reconnects by itself, but closes for good when the server reports an error such as an
expired credential. The link then opens another client and subscribes anew, so that everybody else
sees one connection that is up or down.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from ssl import SSLContext
from typing import Any, Final, cast

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import BadSubjectError, Error, OutboundBufferLimitError

from es_saga.core.errors import Unavailable

CONNECT_SECONDS: Final = 5.0
"""How long the first connection may take, all servers together."""

RECONNECT_SECONDS: Final = 0.25
"""Pause between two attempts at one server."""

RESETS: Final = 4
"""Connections a server may reset, without a word, until the first connection has failed."""

PING_SECONDS: Final = 10.0
"""A silent peer is given up after three of these."""

FLUSH_SECONDS: Final = 5.0
"""How long a full buffer, or closing, waits for the socket."""

MAX_QUEUED: Final = 200_000
"""Messages waiting for the socket. Beyond that acks and tellings are dropped."""

BURST: Final = 128
"""Messages handed to the client before others get a turn of the loop."""

_log = structlog.get_logger("es_saga.nats")

_GONE: Final = (Error, OSError, TimeoutError, RuntimeError)
"""What nats-py raises while we let go of a connection that breaks; the last one comes from uvloop,
whose sockets cannot be written to once they are closed."""

Callback = Callable[[Msg], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Who we are to the server, and how the line is protected. Leave out what is not needed."""

    credentials: Path | str | None = None
    """A `.creds` file: JWT and seed."""
    nkey: str | None = field(default=None, repr=False)
    """An nkey seed itself (`SU…`)."""
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    tls: SSLContext | None = None
    tls_hostname: str | None = None

    def options(self) -> dict[str, Any]:
        """As nats-py's `connect` takes them."""
        given = {
            "user_credentials": str(self.credentials) if self.credentials else None,
            "nkeys_seed_str": self.nkey,
            "user": self.user,
            "password": self.password,
            "token": self.token,
            "tls": self.tls,
            "tls_hostname": self.tls_hostname,
        }
        return {key: value for key, value in given.items() if value is not None}


@dataclass(slots=True)
class _Listener:
    """Who is called for a subject, and over which client it was subscribed."""

    callback: Callback
    client: Client
    subscription: Subscription | None = None


class Link:
    """One connection, and what goes out over it; `on_up` and `on_down` are told of changes."""

    def __init__(
        self,
        servers: Sequence[str],
        login: Login,
        *,
        name: str,
        on_up: Callable[[], None],
        on_down: Callable[[], None],
    ) -> None:
        self._servers = list(servers)
        self._login = login
        self._name = name
        self._on_up = on_up
        self._on_down = on_down
        self._client = Client()
        self._out: deque[tuple[str, bytes, str, dict[str, str] | None]] = deque()
        self._work = asyncio.Event()
        self._listening: dict[str, _Listener] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._sender: asyncio.Task[None] | None = None
        self._closing = False
        self._opened = False
        self._up = False
        self._failures = 0.0
        self._failed = asyncio.Event()
        self._lost = asyncio.Event()
        """Set while there is no connection; another one for each connection."""
        self.last_error = ""
        """What the server or the network said last; permission errors show nowhere else."""
        self.epoch = 0
        """Counts the times the connection came up."""

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        # Not before we know it: a moment earlier nats-py says so, but `_lost` is the last one's.
        return self._up and self._client.is_connected

    @property
    def max_payload(self) -> int:
        """Largest message the server takes, in bytes."""
        return self._client.max_payload

    # ── coming and going ─────────────────────────────────────────────────────────────────────────

    async def open(self) -> None:
        """Connect for the first time.

        Raises:
            Unavailable: every server has failed once, or CONNECT_SECONDS are over.
        """
        connecting = asyncio.ensure_future(self._connect(self._client))
        failing = asyncio.ensure_future(self._failed.wait())
        connected = False
        try:
            await asyncio.wait(
                (connecting, failing), timeout=CONNECT_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            connected = connecting.done() and connecting.exception() is None
        finally:  # also when we are not waited for any longer
            failing.cancel()
            if not connected:
                self._closing = True
                connecting.cancel()
                await asyncio.gather(connecting, failing, return_exceptions=True)
                await self._close_client()
        if not connected:
            raise Unavailable(
                f"NATS cannot be reached at {', '.join(map(_public, self._servers))}: "
                f"{self.last_error or 'no answer'}.",
                hint="Is nats-server running there (with -js), and are URL and credentials right?",
            )
        self._opened = True
        self._came_up()
        self._sender = asyncio.create_task(self._send_all())

    async def close(self) -> None:
        """Send what is queued, then disconnect. Never raises."""
        self._closing = True
        tasks = [*self._tasks, *([self._sender] if self._sender else [])]
        for task in tasks:
            task.cancel()
        if tasks:
            # Bounded: nats-py swallows a cancellation here and there.
            await asyncio.wait(tasks, timeout=FLUSH_SECONDS)
        if self.connected:
            with contextlib.suppress(*_GONE):
                async with asyncio.timeout(FLUSH_SECONDS):
                    while self._out:
                        await self._client.publish(*self._out.popleft())
                    await self._client.flush()
        await self._close_client()
        self._opened = self._up = False

    async def _connect(self, client: Client) -> None:
        await client.connect(
            self._servers,
            name=self._name,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnected,
            reconnected_cb=self._on_reconnected,
            closed_cb=self._on_closed,
            max_reconnect_attempts=-1,
            # nats-py says int; it is handed to `asyncio.sleep`.
            reconnect_time_wait=cast(int, RECONNECT_SECONDS),
            ping_interval=cast(int, PING_SECONDS),
            flush_timeout=FLUSH_SECONDS,
            **self._login.options(),
        )

    async def _close_client(self) -> None:
        with contextlib.suppress(*_GONE):
            async with asyncio.timeout(FLUSH_SECONDS):
                await self._client.close()

    def _came_up(self) -> None:
        self.epoch += 1
        self._lost = asyncio.Event()
        self._up = True
        self._work.set()
        self._on_up()

    # ── what nats-py reports ─────────────────────────────────────────────────────────────────────

    async def _on_error(self, error: Exception) -> None:
        self.last_error = str(error) or type(error).__name__
        if not self._opened:
            # A server that turns us away may hang up before we have read why: ask it again.
            self._failures += 1 / RESETS if isinstance(error, ConnectionResetError) else 1
            if self._failures >= len(self._servers):
                self._failed.set()
        elif not self._closing and self._up:
            _log.warning("nats_error", error=self.last_error)

    async def _on_disconnected(self) -> None:
        self._out.clear()  # acks are for this connection; publishes are sent again
        self._up = False
        self._lost.set()
        if self._opened and not self._closing:
            _log.warning("nats_disconnected", error=self.last_error)
            self._on_down()

    async def _on_reconnected(self) -> None:
        if not self._closing:
            _log.info("nats_reconnected")
            self._came_up()

    async def _on_closed(self) -> None:
        if self._opened and not self._closing:
            self._start(self._reopen())

    async def _reopen(self) -> None:
        """nats-py has given up for good: go on with another client."""
        last = self._client.last_error
        _log.error("nats_closed", error=str(last or self.last_error))
        await asyncio.sleep(RECONNECT_SECONDS)
        client = Client()
        try:
            await self._connect(client)  # tries for ever
        except BaseException:
            await client.close()
            raise
        self._client = client
        for subject, listener in list(self._listening.items()):
            if listener.client is not client and subject in self._listening:
                await self.listen(subject, listener.callback)
        if self._sender is not None:
            self._sender.cancel()  # it may wait for a flush of the old client
        self._sender = asyncio.create_task(self._send_all())
        self._came_up()

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # ── in ───────────────────────────────────────────────────────────────────────────────────────

    def new_inbox(self) -> str:
        """An address nobody else has."""
        return self._client.new_inbox()

    async def listen(self, subject: str, callback: Callback) -> None:
        """Have what is sent to `subject` given to `callback`, over every reconnect."""
        listener = self._listening[subject] = _Listener(callback, self._client)
        with contextlib.suppress(Error):  # closed just now: subscribed by `_reopen`
            # nats-py leaves the type of a future open that we do not use.
            listener.subscription = await self._client.subscribe(  # pyright: ignore[reportUnknownMemberType]
                subject, cb=callback, pending_msgs_limit=0, pending_bytes_limit=0
            )

    async def unlisten(self, subject: str) -> None:
        """Undo `listen`; what is on its way still reaches the callback."""
        listener = self._listening.pop(subject, None)
        subscription = listener.subscription if listener is not None else None
        if subscription is None:
            return
        if self.connected:
            await self._while_connected(self._start(self._drain(subscription)))
        else:
            with contextlib.suppress(Error, OSError):
                await subscription.unsubscribe()

    def unlisten_later(self, subject: str, seconds: float) -> None:
        """Undo `listen`, once nothing can be on its way any more."""

        async def wait() -> None:
            await asyncio.sleep(seconds)
            await self.unlisten(subject)

        self._start(wait())

    async def _drain(self, subscription: Subscription) -> None:
        """Never to be cancelled: it flushes, and nats-py's reader dies of a cancelled flush."""
        with contextlib.suppress(*_GONE):
            await subscription.drain()  # type: ignore[no-untyped-call]  # not annotated there

    # ── out ──────────────────────────────────────────────────────────────────────────────────────

    def send(
        self,
        subject: str,
        payload: bytes = b"",
        reply: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        """Send soon. Never raises, never waits; lost when the connection is."""
        if len(self._out) >= MAX_QUEUED:
            _log.warning("nats_queue_full", dropped=subject)
            return
        self._out.append((subject, payload, reply, headers))
        if not self._work.is_set():
            self._work.set()

    async def request(self, subject: str, payload: bytes, *, within: float) -> Msg:
        """Ask the server itself.

        Raises:
            Unavailable: no connection, nobody there, or no answer in `within` seconds.
        """
        if not self.connected:
            raise Unavailable("NATS is not connected.", hint=self.last_error)
        before = self.last_error
        asking = asyncio.ensure_future(self._client.request(subject, payload, timeout=within))
        try:
            await self._while_connected(asking)
            if not asking.done():
                raise Unavailable("The connection to NATS was lost.", hint=self.last_error)
            return asking.result()
        except (Error, OSError, TimeoutError) as error:
            # A missing permission looks like no answer; what the server says comes separately.
            said = self.last_error if self.last_error != before else ""
            raise Unavailable(
                f"NATS does not answer {subject}: {said or type(error).__name__}.",
                hint="Is JetStream on (nats-server -js), and may we use it?",
            ) from error
        finally:
            asking.cancel()

    async def _while_connected(self, working: asyncio.Future[Any]) -> None:
        """Wait until it is done, or the connection is lost: nats-py would go on waiting."""
        losing = asyncio.ensure_future(self._lost.wait())
        try:
            await asyncio.wait((working, losing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            losing.cancel()

    async def _send_all(self) -> None:
        out, work = self._out, self._work
        while True:
            if not out or not self._client.is_connected:
                work.clear()
                await work.wait()
                continue
            publish = self._client.publish
            for _ in range(min(BURST, len(out))):
                subject, payload, reply, headers = out.popleft()
                try:
                    await publish(subject, payload, reply, headers)
                except BadSubjectError:
                    _log.warning("nats_bad_subject", subject=subject[:200])
                except OutboundBufferLimitError:
                    break  # the connection is gone
                except (Error, OSError) as error:
                    _log.warning("nats_not_sent", subject=subject, error=str(error))
            await asyncio.sleep(0)


def _public(url: str) -> str:
    """A URL without user and password."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}" if separator else url.rpartition("@")[2]
