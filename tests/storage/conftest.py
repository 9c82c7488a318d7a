"""Books to test. The contract is asked of every backend by name, so that one more is one more parameter."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from gateway.storage.books import SqliteBooks
from tests.storage.entries import MIDNIGHT_US

OpenBooks = Callable[..., Awaitable[SqliteBooks]]


@pytest.fixture(params=["sqlite"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def open_books(backend: str, tmp_path: Path) -> AsyncIterator[OpenBooks]:
    """Opens the test's books, as often as it is called; all are closed in the end."""
    async with AsyncExitStack() as stack:

        async def opening(now_us: int = MIDNIGHT_US) -> SqliteBooks:
            books = await SqliteBooks.open(tmp_path / "var" / "books.db", node="local", now_us=now_us)
            stack.push_async_callback(books.close)
            return books

        yield opening


@pytest.fixture
async def books(open_books: OpenBooks) -> SqliteBooks:
    return await open_books()
