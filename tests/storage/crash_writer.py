"""A process that writes to the books until it is killed. Prints `held <id>` or `settled <id>` once that is durable.

python -m tests.storage.crash_writer PATH LIFE
"""

import asyncio
import os
import sys

from gateway.storage.books import SqliteBooks
from tests.storage.entries import ALICE, BOB, MIDNIGHT_US, opened, placed, session, settled

WORKERS = 300


def tell(text: str) -> None:
    os.write(1, f"{text}\n".encode())


async def work(books: SqliteBooks, life: str, worker: int) -> None:
    number = 0
    while True:
        number += 1
        call_id = f"call_{life}_{worker}_{number}"
        hold = placed(call_id, (ALICE, BOB)[worker % 2], at_us=MIDNIGHT_US + number, session_id=f"ses_{worker % 7}")
        await books.commit(hold)
        tell(f"held {call_id}")
        if worker % 3:
            # The call is under way; some of these are still open when the process dies.
            await asyncio.sleep(0.001 * (worker % 50))
        await books.commit(settled(hold))
        tell(f"settled {call_id}")


async def main(path: str, life: str) -> None:
    books = await SqliteBooks.open(path, node="local", now_us=MIDNIGHT_US)
    tell(f"orphans {books.orphans}")
    await books.commit(opened(session(f"ses_{life}")))
    async with asyncio.TaskGroup() as workers:
        for worker in range(WORKERS):
            workers.create_task(work(books, life, worker))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
