"""The books of one node in one SQLite file: what `gateway.ports.Books` asks for."""

import logging
import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import aiosqlite
import orjson

from gateway.core.attribution import Attribution
from gateway.core.idempotency import KeyUsed
from gateway.core.identity import VirtualKey
from gateway.core.ledger import Entry
from gateway.core.outbox import OutboxEntry
from gateway.core.report import Totals, TotalsAsk
from gateway.core.session import Session
from gateway.core.stop import Stop
from gateway.storage import database, requests, stored
from gateway.storage.batch import MetaSaved, NameErased
from gateway.storage.files import BooksRefused, FileLock, install_key, prepare_directory
from gateway.storage.made_calls import SqliteMadeCalls
from gateway.storage.outbox import SqliteOutbox
from gateway.storage.pseudonyms import PSEUDONYM, Pseudonyms, Terms, reveal
from gateway.storage.recovery import recover
from gateway.storage.reports import SqliteReports
from gateway.storage.writer import Writer


class SqliteBooks:
    """See `gateway.ports.Books`. Made by `open`; `close` it in the end.

    `orphans` = how many calls of a dead process were settled at start; `reports` reads the same file; `outbox` has
    the alerts. Pseudonyms and signatures are made with `install_key`.
    """

    def __init__(
        self,
        lock: FileLock,
        connection: aiosqlite.Connection,
        writer: Writer,
        pseudonyms: Pseudonyms,
        reports: SqliteReports,
        install_key: bytes,
        orphans: int,
    ) -> None:
        self.reports = reports
        self.outbox = SqliteOutbox(writer)
        self.made_calls = SqliteMadeCalls(writer)
        self.install_key = install_key
        self.orphans = orphans
        self._lock = lock
        self._connection = connection
        self._writer = writer
        self._pseudonyms = pseudonyms

    @classmethod
    async def open(cls, path: str | Path, *, node: str, now_us: int) -> "SqliteBooks":
        """Opens the books, makes them if there are none, settles what a dead process left. Raises BooksRefused."""
        path = Path(path)
        # At this level the driver would log every statement with its values.
        logging.getLogger("aiosqlite").setLevel(logging.WARNING)
        prepare_directory(path)
        lock = FileLock(path.with_name(f"{path.name}.lock"))
        lock.take()
        try:
            there = database.exists(path)
            key = install_key(path.with_name(f"{path.name}.key"), database_exists=there)
            if not there:
                database.create(path)
            connection = await database.open_writer(path)
        except BaseException:
            lock.release()
            raise
        pseudonyms = Pseudonyms(key)
        try:
            found = await recover(connection, key, pseudonyms, node, now_us)
        except BaseException as error:
            await connection.close()
            lock.release()
            if isinstance(error, sqlite3.Error):
                raise BooksRefused(f"{path} cannot be continued: {error}") from error
            raise
        writer = Writer(connection, key, pseudonyms, found.head, found.opening, found.segment)
        writer.start()
        return cls(lock, connection, writer, pseudonyms, SqliteReports(path, key, writer.caught_up), key, found.orphans)

    async def close(self) -> bool:
        """Writes what waits, seals the segment, lets go of the file. Returns whether everything could be written."""
        try:
            return await self._writer.close()
        finally:
            await self.reports.close()
            await self._connection.close()
            self._lock.release()

    async def commit(self, *entries: Entry | KeyUsed) -> None:
        await self._writer.commit(entries)

    def post(self, *entries: Entry | OutboxEntry) -> None:
        self._writer.post(entries)

    @property
    def behind(self) -> bool:
        return self._writer.behind

    @property
    def rejected(self) -> int:
        """Entries that could not be written at all since the start; more than none is a fault of this program."""
        return self._writer.rejected

    def recorded_terms(self, attribution: Attribution, kinds: Sequence[str]) -> Terms:
        """The terms of a TotalsAsk, as stored: pseudonyms for names, the id for `key`, the set of roles for `role`,
        one role for `role:<name>`."""
        return self._pseudonyms.terms(attribution, kinds)

    async def totals(self, asks: Sequence[TotalsAsk]) -> list[Totals]:
        return await self._writer.totals(asks)

    async def find_session(self, key_id: str, mark_kind: str, client_id: str) -> Session | None:
        mark = (key_id, mark_kind, self._pseudonyms.client(client_id))
        found = await self._session(stored.SELECT_SESSION_BY_MARK, mark)
        # Whoever asks knows the client's id, also where its name was erased.
        return None if found is None else replace(found, mark=replace(found.mark, client_id=client_id))

    async def session(self, session_id: str) -> Session | None:
        return await self._session(stored.SELECT_SESSION_BY_ID, (session_id,))

    async def descendants(self, session_id: str) -> list[Session]:
        """Reasons still hold pseudonyms."""
        rows = await self._writer.read(stored.SELECT_DESCENDANTS, (session_id,))
        return [stored.session_of(row) for row in rows]

    async def sessions_opened(self, since_us: int) -> Mapping[str, Sequence[int]]:
        found: defaultdict[str, list[int]] = defaultdict(list)
        for at_us, agent, key in await self._writer.read(stored.SELECT_OPENINGS, (since_us,)):
            found[f"key:{key}" if agent is None else f"agent:{agent}"].append(at_us)
        return dict(found)

    async def stops(self) -> list[Stop]:
        rows = await self._writer.read(stored.SELECT_STOPS)
        names = await self._names(" ".join(f"{row[3]} {row[4]}" for row in rows))
        return [stored.stop_of(row, names) for row in rows]

    async def keys(self) -> list[VirtualKey]:
        return [stored.key_of(*row) for row in await self._writer.read(stored.SELECT_KEYS)]

    async def remember(self, name: str, value: str) -> None:
        await self._writer.commit([MetaSaved(name, value)])

    async def recall(self, name: str) -> str | None:
        rows = await self._writer.read(stored.SELECT_META, (name,))
        return rows[0][0] if rows else None

    async def erase(self, kind: str, name: str, actor: str, now_us: int) -> int:
        """Takes a name out of the books for good; its figures stay under the pseudonym. Returns how many ids it had.

        Raises ValueError while a usable key carries the name: the next call would write it down again.
        """
        carrying = [row[0] for row in await self._writer.read(stored.SELECT_KEYS_NAMING, (kind, name))]
        if carrying:
            raise ValueError(f"keys {', '.join(carrying)} still carry this name; change or revoke them first")
        ids = tuple(row[0] for row in await self._writer.read(stored.SELECT_IDS_OF_NAME, (kind, name)))
        await self._writer.commit([NameErased(now_us, actor, kind, ids)])
        await self._writer.read(stored.ERASE_NAME_IN_KEYS, (kind, name, self._pseudonyms.of(kind, name)))
        await self._writer.read(requests.ERASE_SAID, (name, orjson.dumps(ids).decode()))
        await self._writer.read(stored.ERASE_NAME, (kind, name))
        await self._writer.read(stored.EMPTY_LOG)
        self._pseudonyms.forget()
        return len(ids)

    async def _session(self, sql: str, parameters: Sequence[str]) -> Session | None:
        rows = await self._writer.read(sql, parameters)
        if not rows:
            return None
        found = stored.session_of(rows[0])
        return replace(found, reason=reveal(found.reason, await self._names(found.reason)))

    async def _names(self, text: str) -> Mapping[str, str]:
        """Those that are on file for the pseudonyms in a text."""
        pseudonyms = PSEUDONYM.findall(text)
        if not pseudonyms:
            return {}
        return dict(await self._writer.read(stored.SELECT_NAMES, (orjson.dumps(pseudonyms).decode(),)))
