"""Sessions and connections of SQLAlchemy that are asynchronous, told from those that are not.

Its asynchronous side needs greenlet, which not everybody has; who hands us something of it has
imported it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
    from typing_extensions import TypeIs

_ASYNC: Final = "sqlalchemy.ext.asyncio"


def is_async_connection(given: object) -> TypeIs[AsyncConnection]:
    """Whether it is an asynchronous connection."""
    return _is(given, "AsyncConnection")


def is_async_session(given: object) -> TypeIs[AsyncSession]:
    """Whether it is an asynchronous session."""
    return _is(given, "AsyncSession")


def _is(given: object, name: str) -> bool:
    side: Any = sys.modules.get(_ASYNC)
    return side is not None and isinstance(given, getattr(side, name))
