"""Real books that answer late when told to, and whose disk fails before or after it has written."""

import asyncio
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from gateway.core.ledger import Entry
from gateway.core.report import Totals, TotalsAsk
from gateway.ports import BooksUnavailable
from gateway.storage.books import SqliteBooks
from gateway.storage.writer import INSERT_BATCH


class MoodyDisk:
    """A driver connection; see tests/storage/test_faults.py. Lost = written, but the answer got lost and the disk is
    gone with it, so that nobody can look."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.full = False
        self.lost = False
        self._gone = False

    @property
    def well(self) -> bool:
        return not (self.full or self.lost or self._gone)

    def recover(self) -> None:
        self.full = self.lost = self._gone = False

    async def execute_fetchall(self, sql: str, parameters: Iterable[Any] = ()) -> Sequence[Any]:
        if self._gone or (self.full and sql == INSERT_BATCH):
            raise sqlite3.OperationalError("disk I/O error")
        rows = list(await self._connection.execute_fetchall(sql, parameters))
        if self.lost and sql == INSERT_BATCH:
            self._gone = True
            raise sqlite3.OperationalError("disk I/O error")
        return rows

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


class MoodyBooks:
    """See `gateway.ports.Books`, as far as a limiter asks; `slow` and `broken` as those of `ListedBooks`."""

    def __init__(self, real: SqliteBooks) -> None:
        self.real = real
        self.disk = MoodyDisk(real._writer._connection)
        real._writer._connection = self.disk  # type: ignore[assignment]
        self.broken = False
        self._busy = 0
        self._held_back: asyncio.Event | None = None

    @classmethod
    async def open(cls, path: Path, now_us: int) -> "MoodyBooks":
        return cls(await SqliteBooks.open(path, node="local", now_us=now_us))

    def be_slow(self) -> None:
        self._held_back = self._held_back or asyncio.Event()

    def answer(self) -> None:
        if self._held_back is not None:
            self._held_back.set()
            self._held_back = None

    @property
    def slow(self) -> bool:
        return self._held_back is not None

    async def quiet(self) -> None:
        """Until nobody waits for the disk any more: who waits for an answer that is held back does not count. So what a
        step of a test has led to does not depend on how fast a thread was."""
        still = 0
        while still < 3:
            await asyncio.sleep(0.0002 if self._busy else 0)
            still = 0 if self._busy else still + 1

    async def commit(self, *entries: Entry) -> None:
        self._busy += 1
        try:
            await self.real.commit(*entries)
        finally:
            self._busy -= 1

    def post(self, *entries: Entry) -> None:
        self.real.post(*entries)

    async def totals(self, asks: Sequence[TotalsAsk]) -> list[Totals]:
        self._busy += 1
        try:
            answers = await self.real.totals(asks)
        finally:
            self._busy -= 1
        if self._held_back is not None:
            await self._held_back.wait()
        if self.broken:
            raise BooksUnavailable("broken")
        return answers
