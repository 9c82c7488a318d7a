"""The one writer: a queue, a task, group commit without a timer (rule 9).

Rules: whatever queued while the last batch was being written is the next batch, one statement in one thread hop; reads
that must see earlier writes stand in the same queue; what nobody waits for waits a moment for company. Commits of a
failed batch fail; posts stay in front, in order, and are tried again with every next batch and by a timer. After a
failure the head of the chain is read back before anything else is written, as it may have been written after all.
"""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import aiosqlite

from gateway.core.audit import Head, Segment
from gateway.core.ledger import CallVoided, HoldPlaced
from gateway.core.report import Totals, TotalsAsk
from gateway.ports import BooksUnavailable
from gateway.storage.batch import Batch, OpenCalls, Opening, Written
from gateway.storage.pseudonyms import Pseudonyms
from gateway.storage.totals import SELECT_TOTALS, TotalsRead, answers, parameter

ENTRIES_WAITING_MAX = 20_000
BATCH_ENTRIES_MAX = 2_000
POSTS_LINGER_S = 0.005
"""How long a post may wait for company. Nobody waits for it, and where calls follow each other the next hold takes it
along: half the batches, and a hold never finds the writer busy with the settlement before it."""
RETRY_MIN_S = 0.2
RETRY_MAX_S = 2.0

READ_HEAD = "SELECT seq, hash FROM head"
# One value for each column of the view in 0001_books.sql. What is empty is bound as '': for each None the driver would
# ask for an adapter anew, which raises and drops two errors.
INSERT_BATCH = """
INSERT INTO intake VALUES
    (?, ?, ?, ?, ?, ?,
    nullif(?, ''), nullif(?, ''), nullif(?, ''), nullif(?, ''), nullif(?, ''), nullif(?, ''), nullif(?, ''),
    nullif(?, ''), nullif(?, ''), nullif(?, ''), nullif(?, ''), nullif(?, ''), nullif(?, ''), nullif(?, ''),
    nullif(?, ''), nullif(?, ''), nullif(?, ''), nullif(?, ''), nullif(?, ''), nullif(?, ''), nullif(?, ''))
"""


@dataclass(slots=True, eq=False)
class Work:
    """Entries that are written together. Without a `done` nobody waits, and they must not get lost.

    One who stops waiting must assume that it was written; so it is written.
    """

    entries: Sequence[Written]
    done: asyncio.Future[None] | None = None


@dataclass(slots=True, eq=False)
class Read:
    """A query that sees all entries queued before it."""

    sql: str
    parameters: Sequence[Any]
    done: asyncio.Future[list[Any]]


@dataclass(slots=True, eq=False)
class _Doubt:
    """A batch whose write failed, until the head tells whether it was written after all."""

    batch: Batch
    works: list[Work]
    told: bool = False


class Writer:
    """Owns the connection that writes, the end of the chain and the map of open calls. Runs from `start` to `close`."""

    def __init__(
        self,
        connection: aiosqlite.Connection,
        install_key: bytes,
        pseudonyms: Pseudonyms,
        head: Head,
        opening: Opening,
        segment: Segment | None,
    ) -> None:
        self.rejected = 0
        self.ignored = 0
        self.batches = 0
        self._connection = connection
        self._install_key = install_key
        self._pseudonyms = pseudonyms
        self._head = head
        self._opening = opening
        self._segment = segment
        self._open_calls: OpenCalls = {}
        self._queue: deque[Work | Read | TotalsRead] = deque()
        self._waiting = 0
        self._wake = asyncio.Event()
        self._hurried = False
        self._lingering: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._failing = False
        self._doubt: _Doubt | None = None
        self._retry_s = RETRY_MIN_S
        self._closed = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = self._loop.create_task(self._run(), name="books writer")

    @property
    def behind(self) -> bool:
        return self._failing

    @property
    def open_calls(self) -> int:
        return len(self._open_calls)

    async def commit(self, entries: Sequence[Written]) -> None:
        if self._waiting + len(entries) > ENTRIES_WAITING_MAX:
            raise BooksUnavailable("overloaded")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._put(Work(entries, done))
        await done

    def post(self, entries: Sequence[Written]) -> None:
        """Never raises: a settlement after the end leaves its hold to the recovery of the next start."""
        if self._closed:
            self.rejected += 1
        else:
            self._put(Work(entries))

    async def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Rows as of all entries queued before this. Raises BooksUnavailable."""
        done: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._put(Read(sql, parameters, done))
        return await done

    async def totals(self, asks: Sequence[TotalsAsk]) -> list[Totals]:
        done: asyncio.Future[list[Totals]] = asyncio.get_running_loop().create_future()
        self._put(TotalsRead(asks, done))
        return await done

    async def caught_up(self) -> None:
        """Whatever was queued before this is in the file when this returns, as far as it can be written now."""
        with suppress(BooksUnavailable):
            await self.totals([])

    async def close(self) -> bool:
        """Writes what waits and seals the segment. Returns whether all of it could be written."""
        self._closed = True
        self._wake.set()
        if self._task is not None:
            await self._task
        return not self._failing

    def _put(self, item: Work | Read | TotalsRead) -> None:
        if self._closed:
            raise BooksUnavailable("the books are closed")
        self._queue.append(item)
        if isinstance(item, Work):
            self._waiting += len(item.entries)
        if item.done is not None:
            self._hurry()
        elif self._lingering is None:
            self._lingering = self._loop.call_later(POSTS_LINGER_S, self._hurry)

    def _hurry(self) -> None:
        """What is queued is to be written now."""
        self._hurried = True
        self._wake.set()

    async def _run(self) -> None:
        try:
            while not (self._closed and (self._failing or not self._queue)):
                await self._something_to_do()
                await self._step()
            if self._failing:
                await self._step()
            if self._segment is not None and not self._failing:
                await self._seal(self._segment)
        except BaseException:
            self._failing = True
            raise
        finally:
            self._closed = True
            self._refuse_waiting("the books are closed")

    async def _something_to_do(self) -> None:
        if self._closed or (self._hurried and self._queue and not self._failing):
            return
        self._wake.clear()
        self._hurried = False
        if self._failing:
            if any(item.done is not None for item in self._queue):
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._retry_s)
            self._retry_s = min(2 * self._retry_s, RETRY_MAX_S)
        else:
            await self._wake.wait()

    async def _step(self) -> None:
        if self._doubt is not None and not await self._clear_doubt(self._doubt):
            self._refuse_waiting("the last write is in doubt")
            return
        works = self._leading_works()
        if works:
            await self._write(works)
        if self._failing:
            self._refuse_waiting("settlements wait to be written", reads_only=True)
        else:
            await self._serve_reads()

    def _leading_works(self) -> list[Work]:
        works: list[Work] = []
        entries = 0
        while self._queue and entries < BATCH_ENTRIES_MAX and isinstance(item := self._queue[0], Work):
            works.append(item)
            entries += len(item.entries)
            self._queue.popleft()
        self._waiting -= entries
        self._hurried = bool(self._queue)
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None
        return works

    async def _write(self, works: list[Work]) -> None:
        batch = Batch(self._head, self._opening, self._segment, self._open_calls, self._pseudonyms)
        try:
            for work in works:
                batch.add(work.entries)
            if not batch.empty:
                await self._connection.execute_fetchall(INSERT_BATCH, batch.parameters(self._install_key))
        except (TypeError, ValueError, OverflowError, sqlite3.Error) as error:
            if isinstance(error, sqlite3.Error) and (
                not isinstance(error, sqlite3.IntegrityError) or _stale_head(error)
            ):
                self._doubt = _Doubt(batch, works)
                await self._clear_doubt(self._doubt, error)
            else:
                batch.undo()
                await self._write_singly(works, error)
        except BaseException:
            _fail_commits(works, "the books are closed")
            raise
        else:
            self._adopt(batch, works)

    async def _write_singly(self, works: list[Work], error: Exception) -> None:
        """One of these works cannot be written at all; the others must not suffer for it."""
        if len(works) > 1:
            while works and not self._failing:
                await self._write([works.pop(0)])
            self._requeue(works)
            return
        self.rejected += 1
        _fail(works[0].done, ValueError(f"this cannot be written into the books: {error}"))

    def _adopt(self, batch: Batch, works: list[Work]) -> None:
        batch.written()
        self._head = batch.head
        self._segment = batch.segment
        self._failing = False
        self._retry_s = RETRY_MIN_S
        self.ignored += batch.ignored
        self.batches += 1
        for work in works:
            if work.done is not None and not work.done.done():
                work.done.set_result(None)

    async def _clear_doubt(self, doubt: _Doubt, error: sqlite3.Error | None = None) -> bool:
        """Reads the head back to learn whether a failed write was written after all. Returns whether that is known."""
        reason = f"the write failed: {error}"
        try:
            ((seq, last_hash),) = await self._connection.execute_fetchall(READ_HEAD)
        except sqlite3.Error as read_error:
            found, reason = None, f"the books cannot be read: {read_error}"
        else:
            found = Head(seq, last_hash)
        batch = doubt.batch
        if found == batch.head != batch.before:
            self._doubt = None
            self._adopt(batch, doubt.works)
            if doubt.told:
                self._void_refused(doubt.works)
        elif found == batch.before:
            self._doubt = None
            batch.undo()
            _fail_commits(doubt.works, reason)
            self._requeue([work for work in doubt.works if work.done is None])
        else:
            doubt.told = self._failing = True
            _fail_commits(doubt.works, reason)
        return self._doubt is None

    def _requeue(self, works: list[Work]) -> None:
        """Puts works that are still to be written back in front. Only posts make the books fall behind."""
        self._queue.extendleft(reversed(works))
        self._hurry()
        self._waiting += sum(len(work.entries) for work in works)
        self._failing = self._failing or any(work.done is None for work in works)

    def _void_refused(self, works: list[Work]) -> None:
        """Holds that were written although their callers were told that they were not."""
        placed = [
            entry for work in works if work.done is not None for entry in work.entries if isinstance(entry, HoldPlaced)
        ]
        voided = [CallVoided(entry.call_id, entry.at_us, "the books answered too late", 503) for entry in placed]
        if voided:
            self._queue.appendleft(Work(voided))
            self._hurry()
            self._waiting += len(voided)

    async def _serve_reads(self) -> None:
        while self._queue and not isinstance(item := self._queue[0], Work):
            if isinstance(item, Read):
                self._queue.popleft()
                await self._serve(item)
            else:
                await self._serve_totals()

    async def _serve(self, read: Read) -> None:
        try:
            rows = list(await self._connection.execute_fetchall(read.sql, read.parameters))
        except sqlite3.Error as error:
            _fail(read.done, BooksUnavailable(f"the books cannot be read: {error}"))
        else:
            if not read.done.done():
                read.done.set_result(rows)

    async def _serve_totals(self) -> None:
        """All asks that stand one behind the other are one statement."""
        reads: list[TotalsRead] = []
        while self._queue and isinstance(item := self._queue[0], TotalsRead):
            reads.append(item)
            self._queue.popleft()
        asks = [ask for read in reads for ask in read.asks]
        try:
            rows = await self._connection.execute_fetchall(SELECT_TOTALS, (parameter(asks),))
        except sqlite3.Error as error:
            for read in reads:
                _fail(read.done, BooksUnavailable(f"the books cannot be read: {error}"))
            return
        found = iter(answers(asks, rows))
        for read in reads:
            own = [next(found) for _ in read.asks]
            if not read.done.done():
                read.done.set_result(own)

    def _refuse_waiting(self, reason: str, *, reads_only: bool = False) -> None:
        kept: list[Work] = []
        for item in self._queue:
            if isinstance(item, Work) and (reads_only or item.done is None):
                kept.append(item)
            else:
                _fail(item.done, BooksUnavailable(reason))
        self._queue = deque(kept)
        self._waiting = sum(len(work.entries) for work in kept)

    async def _seal(self, segment: Segment) -> None:
        batch = Batch(self._head, self._opening, segment, self._open_calls, self._pseudonyms)
        batch.seal(segment, self._install_key)
        with suppress(sqlite3.Error):
            await self._connection.execute_fetchall(INSERT_BATCH, batch.parameters(self._install_key))


def _stale_head(error: sqlite3.Error) -> bool:
    """Whether the chain ended elsewhere than where this batch begins: someone else wrote."""
    return getattr(error, "sqlite_errorname", "") == "SQLITE_CONSTRAINT_TRIGGER"


def _fail(done: asyncio.Future[Any] | None, error: Exception) -> None:
    if done is not None and not done.done():
        done.set_exception(error)


def _fail_commits(works: Sequence[Work], reason: str) -> None:
    for work in works:
        _fail(work.done, BooksUnavailable(reason))
