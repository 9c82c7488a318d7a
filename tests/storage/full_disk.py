"""A process whose disk is full for a while: the largest size of a file is lowered under the books and raised again.

python -m tests.storage.full_disk PATH
"""

import asyncio
import resource
import signal
import sys
from pathlib import Path

from gateway.core.report import TotalsAsk
from gateway.ports import BooksUnavailable
from gateway.storage.books import SqliteBooks
from tests.storage.entries import MIDNIGHT_US, POSTED, placed, settled

EVERYTHING = TotalsAsk((), None, None, None)


def largest_file(size_bytes: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))


def size_bytes(path: Path) -> int:
    return path.stat().st_size


async def refused(books: SqliteBooks, call_id: str) -> bool:
    try:
        await books.commit(placed(call_id))
    except BooksUnavailable:
        return True
    return False


async def main(path: Path) -> None:
    books = await SqliteBooks.open(path, node="local", now_us=MIDNIGHT_US)
    hold = placed("call_before")
    await books.commit(hold)
    largest_file(size_bytes(path.with_name(f"{path.name}-wal")))
    assert await refused(books, "call_refused")
    waiting = [books.behind]
    books.post(settled(hold))
    assert await refused(books, "call_refused_too")
    waiting.append(books.behind)
    assert waiting == [False, True], "only what must not get lost is waited for"
    try:
        await books.totals([EVERYTHING])
    except BooksUnavailable:
        pass
    else:
        raise AssertionError("totals were told although a settlement waits")
    assert (await books.reports.verify()).faults == (), "what was written before can still be read"

    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    largest_file(hard)
    async with asyncio.timeout(20):
        while books.behind:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    (found,) = await books.totals([EVERYTHING])
    assert found.buckets == {0: POSTED}, found
    for call_id in ("call_refused", "call_refused_too"):
        assert await books.reports.call(call_id) is None
        assert not await refused(books, call_id), "it recovers by itself"
    verified = await books.reports.verify()
    assert verified.faults == (), verified
    assert await books.close()
    print("recovered")


if __name__ == "__main__":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    asyncio.run(main(Path(sys.argv[1])))
