"""No way out of a simulated world: who asks the network for something reaches nobody."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Final

_WAYS_OUT: Final = ("connect", "connect_ex", "sendto")


@contextmanager
def no_sockets() -> Generator[None]:
    """Have Python's sockets raise, in this thread. Libraries in C may have sockets of their own."""
    thread = threading.get_ident()
    before = {name: getattr(socket.socket, name) for name in _WAYS_OUT}

    def shut(way: Callable[..., Any]) -> Callable[..., Any]:
        def ask(*arguments: Any) -> Any:
            if threading.get_ident() == thread:
                raise ConnectionError("There is no network in a simulated world.")
            return way(*arguments)

        return ask

    for name, way in before.items():
        setattr(socket.socket, name, shut(way))
    try:
        yield
    finally:
        for name, way in before.items():
            setattr(socket.socket, name, way)
