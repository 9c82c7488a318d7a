"""Faults under the books: killed processes, full disks, other programs' locks, writes of which nobody knows."""

import asyncio
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiosqlite
import pytest

from gateway.core.audit import BEGINNING
from gateway.core.ledger import CallState, CallVoided, Refusals
from gateway.ports import BooksUnavailable
from gateway.storage import database
from gateway.storage.batch import Opening
from gateway.storage.books import SqliteBooks
from gateway.storage.pseudonyms import Pseudonyms
from gateway.storage.reports import SqliteReports
from gateway.storage.writer import INSERT_BATCH, READ_HEAD, Writer
from tests.storage.entries import MIDNIGHT_US, POSTED, placed, settled
from tests.storage.test_contract import EVERYTHING, total

ROOT = Path(__file__).resolve().parents[2]
LIVES = 3
CALLS_BEFORE_DEATH = 400


async def start(module: str, *arguments: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"tests.storage.{module}", *arguments, cwd=ROOT, stdout=pipe, stderr=pipe
    )


async def killed_in_flight(path: Path, life: int) -> set[str]:
    """What a process told was durable, before it was killed with hundreds of calls in flight."""
    process = await start("crash_writer", str(path), str(life))
    told: set[str] = set()
    assert process.stdout is not None
    async for line in process.stdout:
        told.add(line.decode().strip())
        if len(told) == CALLS_BEFORE_DEATH:
            process.kill()
    await process.communicate()
    return {text for text in told if text.startswith(("held", "settled"))}


async def test_rule_8_kill_leaves_no_hold_and_loses_nothing_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "books.db"
    told: set[str] = set()
    for life in range(LIVES):
        told |= await killed_in_flight(path, life)
    assert len(told) > LIVES * CALLS_BEFORE_DEATH * 0.9
    books = await SqliteBooks.open(path, node="local", now_us=MIDNIGHT_US)
    try:
        assert books.orphans > 0
        with closing(sqlite3.connect(path)) as connection:
            states = dict(connection.execute("SELECT call_id, state FROM calls").fetchall())
            reported = {row[0] for row in connection.execute("SELECT call_id FROM calls WHERE estimated IS NULL")}
        assert set(states.values()) == {"settled"}
        assert {text.split()[1] for text in told} <= set(states)
        assert {text.split()[1] for text in told if text.startswith("settled")} <= reported
        verified = await books.reports.verify()
        assert (verified.segments, verified.faults) == (LIVES + 1, ())
        assert (await total(books)).requests == len(states)
    finally:
        await books.close()


async def test_a_full_disk_is_told_and_recovered_from(tmp_path: Path) -> None:
    process = await start("full_disk", str(tmp_path / "books.db"))
    out, err = await process.communicate()
    assert out.decode().strip() == "recovered", err.decode()


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    path = tmp_path / "books.db"
    await (await SqliteBooks.open(path, node="local", now_us=MIDNIGHT_US)).close()
    return path


@pytest.fixture
async def books(path: Path) -> AsyncIterator[SqliteBooks]:
    books = await SqliteBooks.open(path, node="local", now_us=MIDNIGHT_US)
    try:
        yield books
    finally:
        await books.close()


def is_behind(books: SqliteBooks) -> bool:
    """A call, so that the type checker does not take the first answer for the last."""
    return books.behind


async def test_a_lock_of_another_program_is_waited_for_then_told(path: Path, books: SqliteBooks) -> None:
    hold = placed("call_1")
    await books.commit(hold)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        books.post(settled(hold))
        with pytest.raises(BooksUnavailable, match="locked"):
            await books.commit(placed("call_2"))
        assert is_behind(books)
        assert (await books.reports.verify()).faults == ()
        other.execute("ROLLBACK")
    await books.commit(placed("call_3"))
    assert not is_behind(books)
    assert await total(books) == POSTED
    assert await books.reports.call("call_2") is None
    assert (await books.reports.verify()).faults == ()


async def test_another_writer_is_never_overwritten(path: Path, books: SqliteBooks) -> None:
    await books.commit(placed("call_1"))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        (before,) = other.execute("SELECT hash FROM head").fetchone()
        other.execute("UPDATE head SET hash = ?", ("f" * 64,))
        with pytest.raises(BooksUnavailable):
            await books.commit(placed("call_2"))
        assert books.behind
        other.execute("UPDATE head SET hash = ?", (before,))
    await books.commit(placed("call_3"))
    assert await books.reports.call("call_2") is None
    assert (await books.reports.verify()).faults == ()


def commit_frames(path: Path) -> int:
    """Transactions in the write-ahead log: frames whose header gives the size of the database after them."""
    log = path.with_name(f"{path.name}-wal").read_bytes()
    page_size = int.from_bytes(log[8:12], "big")
    starts = range(32, len(log), 24 + page_size)
    return sum(int.from_bytes(log[at + 4 : at + 8], "big") > 0 for at in starts)


async def test_rule_9_calls_that_wait_share_one_transaction(path: Path, books: SqliteBooks) -> None:
    await books.commit(Refusals(MIDNIGHT_US, "key_unknown", "10.0.0.0/24", 1))
    before = commit_frames(path)
    holds = [placed(f"call_{number}") for number in range(32)]
    await asyncio.gather(*(books.commit(hold) for hold in holds))
    assert commit_frames(path) == before + 1
    for hold in holds:
        books.post(settled(hold))
    assert (await total(books)).requests == 32
    assert commit_frames(path) == before + 2


class Moody:
    """A driver connection that fails when it is told to, before or after it did what it was asked."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection
        self.before: list[str] = []
        self.after: list[str] = []

    async def execute_fetchall(self, sql: str, parameters: Iterable[Any] | None = None) -> Sequence[Any]:
        if sql in self.before:
            self.before.remove(sql)
            raise sqlite3.OperationalError("disk I/O error")
        rows = list(await self._connection.execute_fetchall(sql, parameters))
        if sql in self.after:
            self.after.remove(sql)
            raise sqlite3.OperationalError("disk I/O error")
        return rows


INSTALL_KEY = bytes(32)


@pytest.fixture
async def moody(tmp_path: Path) -> AsyncIterator[tuple[Moody, Writer, SqliteReports]]:
    path = tmp_path / "moody.db"
    database.create(path)
    connection = await database.open_writer(path)
    driver = Moody(connection)
    opening = Opening("local", 1)
    writer = Writer(driver, INSTALL_KEY, Pseudonyms(INSTALL_KEY), BEGINNING, opening, None)  # type: ignore[arg-type]
    writer.start()
    reports = SqliteReports(path, INSTALL_KEY)
    try:
        yield driver, writer, reports
    finally:
        await writer.close()
        await reports.close()
        await connection.close()


Parts = tuple[Moody, Writer, SqliteReports]


async def eventually(condition: Callable[[], bool]) -> None:
    """For what the writer does by itself and tells nobody."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def sound(writer: Writer, reports: SqliteReports) -> None:
    await writer.totals([])
    assert not writer.behind
    assert (await reports.verify()).faults == ()
    assert await reports.recount() == []


async def test_a_failed_write_that_was_written_is_not_told_as_failed(moody: Parts) -> None:
    driver, writer, reports = moody
    driver.after = [INSERT_BATCH]
    await writer.commit([placed("call_1")])
    await writer.commit([settled(placed("call_1"))])
    found = await reports.call("call_1")
    assert found is not None
    assert found.posted == POSTED
    await sound(writer, reports)


async def test_a_write_that_failed_left_nothing(moody: Parts) -> None:
    driver, writer, reports = moody
    driver.before = [INSERT_BATCH]
    with pytest.raises(BooksUnavailable, match="disk I/O error"):
        await writer.commit([placed("call_1")])
    assert not writer.behind
    await writer.commit([placed("call_1")])
    await sound(writer, reports)


async def test_posts_are_tried_again_by_themselves_and_in_order(moody: Parts) -> None:
    driver, writer, reports = moody
    hold = placed("call_1")
    await writer.commit([hold])
    driver.before = [INSERT_BATCH] * 2
    writer.post([settled(hold)])
    writer.post([CallVoided("call_1", MIDNIGHT_US, "too late", 499)])
    await eventually(lambda: writer.behind)
    await eventually(lambda: not writer.behind)
    found = await reports.call("call_1")
    assert found is not None
    assert (found.state, found.posted) == (CallState.SETTLED, POSTED)
    await sound(writer, reports)


async def test_a_hold_that_was_refused_in_doubt_is_voided_when_it_turns_up(moody: Parts) -> None:
    driver, writer, reports = moody
    driver.after = [INSERT_BATCH]
    driver.before = [READ_HEAD] * 2
    with pytest.raises(BooksUnavailable):
        await writer.commit([placed("call_1")])
    assert writer.behind
    with pytest.raises(BooksUnavailable, match="in doubt"):
        await writer.totals([EVERYTHING])
    await eventually(lambda: not writer.behind)
    await writer.totals([])
    found = await reports.call("call_1")
    assert found is not None
    assert found.state is CallState.VOIDED
    await sound(writer, reports)


async def test_settlements_in_doubt_are_booked_once(moody: Parts) -> None:
    driver, writer, reports = moody
    hold = placed("call_1")
    await writer.commit([hold])
    driver.after = [INSERT_BATCH]
    driver.before = [READ_HEAD]
    writer.post([settled(hold)])
    await eventually(lambda: writer.behind)
    await eventually(lambda: not writer.behind)
    (found,) = await writer.totals([EVERYTHING])
    assert dict(found.buckets) == {0: POSTED}
    await sound(writer, reports)


async def test_a_settlement_that_cannot_be_written_is_counted_and_holds_up_nothing(books: SqliteBooks) -> None:
    hold = placed("call_1")
    broken = placed("call_2")
    await books.commit(hold, broken)
    books.post(replace(settled(broken), price_source="\ud800"))
    books.post(settled(hold))
    assert await total(books) == POSTED
    assert not books.behind
    assert books.rejected == 1
