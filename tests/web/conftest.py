"""The HTTP side over a small system that really runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.web.office import Office, open_office


@pytest.fixture(scope="module")
async def still(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Office]:
    """One that is shared by all who are refused: nothing comes of what they ask."""
    async with open_office(tmp_path_factory.mktemp("still")) as found:
        yield found


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with open_office(tmp_path) as found:
        yield found
