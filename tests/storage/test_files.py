"""The files of the books: private, locked, and never made anew over what is there."""

import asyncio
import hashlib
import sqlite3
import stat
import sys
from pathlib import Path

import pytest

from gateway.storage.books import SqliteBooks
from gateway.storage.database import migrations
from gateway.storage.files import BooksRefused, measure_fsync_ms
from tests.storage.entries import MIDNIGHT_US, POSTED, placed, settled
from tests.storage.test_contract import total


async def opened_at(path: Path) -> SqliteBooks:
    return await SqliteBooks.open(path, node="local", now_us=MIDNIGHT_US)


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """Closed books with one settled call."""
    path = tmp_path / "var" / "books.db"
    books = await opened_at(path)
    hold = placed("call_1")
    await books.commit(hold, settled(hold))
    await books.close()
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_the_files_belong_to_their_owner_only(path: Path) -> None:
    books = await opened_at(path)
    await books.commit(placed("call_2"))
    assert mode(path.parent) == 0o700
    names = {file.name for file in path.parent.iterdir()}
    assert {"books.db", "books.db.key", "books.db.lock", "books.db-wal", "books.db-shm"} == names
    assert {mode(file) for file in path.parent.iterdir()} == {0o600}
    await books.close()


async def test_a_directory_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    before = mode(tmp_path)
    await (await opened_at(tmp_path / "books.db")).close()
    await (await opened_at(tmp_path / "made" / "books.db")).close()
    assert mode(tmp_path) == before
    assert mode(tmp_path / "made") == 0o700


async def test_books_are_opened_once(path: Path) -> None:
    books = await opened_at(path)
    with pytest.raises(BooksRefused, match=r"is open in process \d+.*stop it"):
        await opened_at(path)
    await books.commit(placed("call_2"))
    await books.close()
    await (await opened_at(path)).close()


async def test_a_second_process_is_refused(path: Path) -> None:
    script = (
        "import fcntl, sys\n"
        "file = open(sys.argv[1], 'w'); fcntl.flock(file, fcntl.LOCK_EX); print('locked', flush=True)\n"
        "sys.stdin.read()\n"
    )
    pipe = asyncio.subprocess.PIPE
    other = await asyncio.create_subprocess_exec(sys.executable, "-c", script, f"{path}.lock", stdin=pipe, stdout=pipe)
    try:
        assert other.stdout is not None
        await other.stdout.readline()
        with pytest.raises(BooksRefused, match="is open in process"):
            await opened_at(path)
    finally:
        other.kill()
        await other.communicate()
    await (await opened_at(path)).close()


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def no_database(path: Path) -> None:
    path.write_bytes(b"this is not a database, it is a text" * 200)


def foreign(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()


def damaged_header(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[0:16] = bytes(16)
    path.write_bytes(content)


def damaged_page(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for page in range(4, len(content) // 4096):
        content[page * 4096 : page * 4096 + 200] = b"\xa5" * 200
    path.write_bytes(content)


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def from_the_future(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO schema_version (version) VALUES (999)")
    connection.close()


def without_key(path: Path) -> None:
    path.with_name("books.db.key").unlink()


def short_key(path: Path) -> None:
    path.with_name("books.db.key").write_bytes(b"short")


def only_its_log(path: Path) -> None:
    path.rename(path.with_name("books.db-wal"))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (emptied, "is empty.*Restore"),
        (no_database, "is damaged.*Restore"),
        (foreign, "not the books of Comptroller.*Restore"),
        (damaged_header, "is damaged.*Restore"),
        (damaged_page, "is damaged.*Restore"),
        (cut, "is damaged.*Restore"),
        (from_the_future, "schema version 999.*newer Comptroller"),
        (without_key, r"books.db.key is missing.*backup"),
        (short_key, r"books.db.key is damaged \(5 bytes"),
        (only_its_log, "write-ahead log.*Restore"),
    ],
)
async def test_what_is_no_sound_book_is_refused_and_left_alone(path: Path, harm, message: str) -> None:
    harm(path)
    before = contents(path)
    with pytest.raises(BooksRefused, match=message):
        await opened_at(path)
    assert contents(path) == before


def contents(path: Path) -> dict[str, str]:
    """Digests of all files but those that SQLite makes for readers."""
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in path.parent.iterdir()
        if not file.name.endswith((".lock", "-shm", "-wal"))
    }


async def test_a_start_that_died_half_way_is_made_good(path: Path) -> None:
    new = path.parent / "new.db"
    new.with_name("new.db.new").write_bytes(b"half a database")
    books = await opened_at(new)
    assert await books.reports.recount() == []
    await books.close()


async def test_what_was_written_is_there_again(path: Path) -> None:
    books = await opened_at(path)
    assert await total(books) == POSTED
    assert (await books.reports.verify()).faults == ()
    await books.close()


async def test_looking_at_the_books_writes_nothing(path: Path) -> None:
    books = await opened_at(path)
    before = await books.reports.verify()
    await books.close()
    books = await opened_at(path)
    assert await books.reports.verify() == before
    await books.close()


def test_migrations_are_numbered_without_gaps() -> None:
    assert [version for version, _ in migrations()] == list(range(1, len(migrations()) + 1))


def test_a_durable_write_is_timed(tmp_path: Path) -> None:
    assert 0 < measure_fsync_ms(tmp_path) < 10_000
    assert list(tmp_path.iterdir()) == []
