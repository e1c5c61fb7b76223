"""The event loop of the suites: the engine is asyncio's, and so are its adapters."""

from __future__ import annotations

from typing import ClassVar

import pytest


class OnAsyncio:
    """Tests that are coroutines, run by anyio's plugin on asyncio, whatever else is installed."""

    pytestmark: ClassVar[pytest.MarkDecorator] = pytest.mark.anyio

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"
