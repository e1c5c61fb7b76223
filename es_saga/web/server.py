"""One listening socket, served until it is told to stop.

A client that stops reading is dropped: what waits for it is bounded by the socket's buffers, and
after a while the connection is aborted.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Generator
from ipaddress import ip_address
from typing import Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from es_saga.core.errors import InvalidInput
from es_saga.web.app import create_app
from es_saga.web.desk import Desk

FIRST_PORT: Final = 8080
"""Where we listen unless told otherwise; if it is taken, at the next one that is free."""

PORTS_TRIED: Final = 20
STALLED_SECONDS: Final = 15.0
"""How long a client may leave its answer unread before it is dropped."""

SEND_BUFFER_BYTES: Final = 256 * 1024
"""What the system keeps for one client that does not read."""

MAX_CONNECTIONS: Final = 1_000
"""Connections at once; beyond, the answer is 503."""

STOP_SECONDS: Final = 5
"""How long requests may take to end once we are told to stop."""

BACKLOG: Final = 512


def listen(host: str, port: int | None, *, guarded: bool) -> socket.socket:
    """A listening socket at `port`, or without one at the first free from FIRST_PORT on.

    Raises:
        InvalidInput: it is taken, the host is not one of this machine, or others could reach it
            and it is not `guarded` by tokens.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port or FIRST_PORT, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise InvalidInput(f"{host[:80]!r} is no address of this machine.") from error
    if not guarded and not ip_address(str(address[0]).partition("%")[0]).is_loopback:
        raise InvalidInput(
            f"Others could reach {host}, and nothing keeps them out.",
            hint="Set ES_SAGA_TOKENS or ES_SAGA_TOKENS_FILE, or listen at 127.0.0.1.",
        )
    last: OSError | None = None
    for number in [port] if port is not None else range(FIRST_PORT, FIRST_PORT + PORTS_TRIED):
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            listener.bind((address[0], number, *address[2:]))
            listener.listen(BACKLOG)
            return listener
        except OSError as error:
            listener.close()
            last = error
    assert last is not None, "at least one port was tried"
    raise InvalidInput(
        f"Nothing can listen at {host}"
        f"{f':{port}' if port is not None else f', ports from {FIRST_PORT}'}: {last.strerror}.",
        hint="Choose another one with --host and --port.",
    )


def address(listener: socket.socket) -> str:
    """Where a browser finds it."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


class _Connection(H11Protocol):
    """One client; dropped when it leaves what it asked for unread."""

    _stalled: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(STALLED_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        self._moving()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._moving()
        super().connection_lost(exc)

    def _moving(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None


class _Server(uvicorn.Server):
    """Leaves signals to whoever runs it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


async def serve(
    desk: Desk, listener: socket.socket, stopped: Callable[[], Awaitable[object]]
) -> None:
    """Serve until `stopped` returns, then let requests end; the socket is closed afterwards."""
    server = _Server(
        uvicorn.Config(
            create_app(desk),
            http=_Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=MAX_CONNECTIONS,
            backlog=BACKLOG,
            timeout_graceful_shutdown=STOP_SECONDS,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    stopping = asyncio.ensure_future(stopped())
    try:
        await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        await desk.feed.close()  # streams would not end by themselves
        server.should_exit = True
        await serving
        listener.close()
