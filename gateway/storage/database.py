"""Opening the SQLite file: what it must be, how it is set, how it is brought to the present schema.

Rules: one connection writes and it alone checkpoints (SQLite before 3.51.3 can corrupt a WAL in which two connections
do); readers open the file read-only. A damaged, empty or foreign file is refused, never replaced.
"""

import sqlite3
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

import aiosqlite

from gateway.storage.files import BooksRefused, unfinished

BUSY_TIMEOUT_S = 2.0
SQLITE_MIN = (3, 38, 0)
"""STRICT tables and `->>`."""
CHECKED_BYTES_MAX = 512 * 1024 * 1024
"""Larger files are not read whole at start; `SqliteReports.damage` does that."""

WRITER_SETTINGS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA secure_delete = ON",
    "PRAGMA cell_size_check = ON",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -16000",
    "PRAGMA journal_size_limit = 67108864",
)
READER_SETTINGS = (
    "PRAGMA query_only = ON",
    "PRAGMA wal_autocheckpoint = 0",
    "PRAGMA cache_size = -8000",
)

_RESTORE = "Restore the database and its .key file from a backup, or move both away to begin new books."


def exists(path: Path) -> bool:
    """Whether there are books, in whatever state. Raises BooksRefused where only remains of them are left."""
    if path.exists():
        if path.stat().st_size == 0:
            raise BooksRefused(f"{path} is empty although it should hold the books. {_RESTORE}")
        return True
    if path.with_name(f"{path.name}-wal").exists():
        raise BooksRefused(f"{path} is missing but its write-ahead log is there. {_RESTORE}")
    return False


def create(path: Path) -> None:
    """Makes a new database under another name and gives it the real one when it is complete."""
    with unfinished(path) as building:
        connection = sqlite3.connect(building, isolation_level=None)
        try:
            for _, script in migrations():
                connection.executescript(script)
        finally:
            connection.close()


def migrations() -> list[tuple[int, str]]:
    """(version, script) in order; each script is one transaction that also records its version."""
    folder = files("gateway.storage") / "migrations"
    found = sorted((file.name, file) for file in folder.iterdir() if file.name.endswith(".sql"))
    return [(int(name.partition("_")[0]), file.read_text(encoding="utf-8")) for name, file in found]


async def open_writer(path: Path) -> aiosqlite.Connection:
    """The one connection that writes, checked and migrated. Raises BooksRefused."""
    if sqlite3.sqlite_version_info < SQLITE_MIN:
        needed = ".".join(map(str, SQLITE_MIN))
        raise BooksRefused(f"SQLite {sqlite3.sqlite_version} is too old for the books; {needed} or newer is needed.")
    connection = await aiosqlite.connect(_uri(path, "rw"), uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_S)
    try:
        # A file that is not ours must be left as it is, so it is looked at before WAL is set.
        await _check(connection, path)
        for setting in WRITER_SETTINGS:
            await connection.execute_fetchall(setting)
        await _migrate(connection, path)
    except sqlite3.Error as error:
        await connection.close()
        raise BooksRefused(_damage(path, error)) from error
    except BaseException:
        await connection.close()
        raise
    return connection


async def open_reader(path: Path) -> aiosqlite.Connection:
    connection = await aiosqlite.connect(_uri(path, "ro"), uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_S)
    connection.row_factory = sqlite3.Row
    # Bytes that are no UTF-8 are damage to be reported, not a crash of the report.
    connection.text_factory = _forgiving
    for setting in READER_SETTINGS:
        await connection.execute_fetchall(setting)
    return connection


async def _check(connection: aiosqlite.Connection, path: Path) -> None:
    if _size_bytes(path) <= CHECKED_BYTES_MAX:
        found = [row[0] for row in await connection.execute_fetchall("PRAGMA quick_check(1)")]
        if found != ["ok"]:
            raise BooksRefused(f"{path} is damaged ({found[0]}). {_RESTORE}")
    tables = {
        row[0] for row in await connection.execute_fetchall("SELECT name FROM sqlite_master WHERE type = 'table'")
    }
    if not {"schema_version", "journal", "head"} <= tables:
        raise BooksRefused(f"{path} is a database, but not the books of Comptroller. {_RESTORE}")


async def _migrate(connection: aiosqlite.Connection, path: Path) -> None:
    (row,) = await connection.execute_fetchall("SELECT max(version) FROM schema_version")
    present = row[0]
    known = migrations()
    if present > known[-1][0]:
        raise BooksRefused(
            f"{path} has schema version {present}; this program knows versions up to {known[-1][0]}. "
            "Install the newer Comptroller again, or restore the backup made before the upgrade."
        )
    for version, script in known:
        if version > present:
            await connection.executescript(script)


def _damage(path: Path, error: sqlite3.Error) -> str:
    name = getattr(error, "sqlite_errorname", "")
    if name in {"SQLITE_BUSY", "SQLITE_LOCKED"}:
        return f"{path} is locked by another program ({error}). Close what has it open and start again."
    if name in {"SQLITE_CORRUPT", "SQLITE_NOTADB"}:
        return f"{path} is damaged ({error}). {_RESTORE}"
    return f"{path} cannot be opened ({error}). Check that the disk has room and that this user may write the file."


def _size_bytes(path: Path) -> int:
    return path.stat().st_size


def _forgiving(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _uri(path: Path, mode: str) -> str:
    return f"file:{quote(str(path.resolve()))}?mode={mode}"
