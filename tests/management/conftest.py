from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.management.opening import Opened, opening


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Opened]:
    async with opening(tmp_path) as opened:
        yield opened
