"""A small pool of read-only connections for reports, opened when they are first needed."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiosqlite

from gateway.ports import BooksUnavailable
from gateway.storage.database import open_reader

READERS_MAX = 2


class Readers:
    """Reports wait for a connection rather than open ever more of them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: list[aiosqlite.Connection] = []
        self._slots = asyncio.Semaphore(READERS_MAX)

    async def fetch(self, sql: str, parameters: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """All rows of one statement. Raises BooksUnavailable."""
        async with self.connection() as connection:
            return list(await connection.execute_fetchall(sql, parameters))

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[aiosqlite.Connection]:
        """A connection for several statements. SQLite's errors become BooksUnavailable."""
        async with self._slots:
            try:
                connection = self._idle.pop() if self._idle else await open_reader(self._path)
                try:
                    yield connection
                finally:
                    self._idle.append(connection)
            except sqlite3.Error as error:
                raise BooksUnavailable(f"the books cannot be read: {error}") from error

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[aiosqlite.Connection]:
        """A connection on which all statements see the same moment."""
        async with self.connection() as connection:
            await connection.execute_fetchall("BEGIN")
            try:
                yield connection
            finally:
                await connection.execute_fetchall("ROLLBACK")

    async def close(self) -> None:
        while self._idle:
            await self._idle.pop().close()
