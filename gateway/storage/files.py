"""The files of the books: the database, its lock, its install key. Private to their owner; never made anew in silence.

`<db>` is the database, `<db>.lock` is locked while a process has it open, `<db>.key` holds the install key: 32 random
bytes that pseudonyms and signatures are made with, kept apart so that a copy of the database alone reveals no name.
"""

import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

INSTALL_KEY_BYTES = 32
FSYNC_ROUNDS = 20
_FSYNC_BYTES = 4096


class BooksRefused(Exception):
    """The books cannot be opened as they are. The message says what is wrong and what to do about it."""


class BooksOpen(BooksRefused):
    """A process has the books open."""


def prepare_directory(path: Path) -> None:
    """Makes the directory of the database if it is missing, for its owner only. Raises BooksRefused if it cannot."""
    if not path.parent.is_dir():
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise _not_writable(path, error) from error


class FileLock:
    """Held while a process has the books open; goes away with the process, however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def take(self) -> None:
        """Raises BooksOpen if another process (or this one) has the books, BooksRefused if they cannot be written."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _not_writable(self._path.with_suffix(""), error) from error
        file = os.fdopen(descriptor, "r+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = file.read().strip() or "unknown"
            file.close()
            raise BooksOpen(
                f"{self._path.with_suffix('')} is open in process {owner}. One process owns the books: stop it, "
                "ask it through its admin API, or give this one another storage.url."
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        self._file = file

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def install_key(path: Path, *, database_exists: bool) -> bytes:
    """Reads the install key; makes it at the first start. Raises BooksRefused where it should be there and is not."""
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        if database_exists:
            raise BooksRefused(
                f"{path} is missing. The books beside it cannot be read or continued without this key: put it back "
                "from a backup. To begin new books instead, move the database away."
            ) from None
        key = secrets.token_bytes(INSTALL_KEY_BYTES)
        _write_private(path, key)
        return key
    if len(key) != INSTALL_KEY_BYTES:
        raise BooksRefused(f"{path} is damaged ({len(key)} bytes, not {INSTALL_KEY_BYTES}): put it back from a backup.")
    return key


@contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """A name under which a new file is built, so that a half-made one never has the real name."""
    building = path.with_name(f"{path.name}.new")
    building.unlink(missing_ok=True)
    os.close(os.open(building, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        yield building
        building.replace(path)
        sync_directory(path.parent)
    finally:
        with suppress(FileNotFoundError):
            building.unlink()


def sync_directory(directory: Path) -> None:
    """Makes a rename durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def measure_fsync_ms(directory: Path) -> float:
    """The median time of a small durable write in this directory: what a group commit costs at least."""
    path = directory / f".fsync-{os.getpid()}-{secrets.token_hex(4)}"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    times_ns = []
    try:
        for _ in range(FSYNC_ROUNDS):
            os.write(descriptor, bytes(_FSYNC_BYTES))
            begun_ns = time.perf_counter_ns()
            os.fsync(descriptor)
            times_ns.append(time.perf_counter_ns() - begun_ns)
    finally:
        os.close(descriptor)
        path.unlink()
    return sorted(times_ns)[FSYNC_ROUNDS // 2] / 1e6


def _not_writable(books: Path, error: OSError) -> BooksRefused:
    why = error.strerror or str(error)
    return BooksRefused(f"{books} cannot be opened: {why}. Let this user write to {books.parent}, or set storage.url.")


def _write_private(path: Path, content: bytes) -> None:
    with unfinished(path) as building, building.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
