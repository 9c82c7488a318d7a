"""The sessions of a node on real books: calls that begin a session together share one look into the books."""

import asyncio

import pytest

from gateway.core.session import Session, SessionMark, SessionRules
from gateway.pipeline.sessions import SessionRegistry
from gateway.storage.books import SqliteBooks
from gateway.wiring.system import RandomIds
from tests.storage.entries import MIDNIGHT_US, opened, session

MARK = SessionMark("header", "run-1")
RULES = SessionRules()
TOGETHER = 8


class AskedBooks:
    """Real books that tell how often a session was looked for, and can be made to answer late."""

    def __init__(self, real: SqliteBooks) -> None:
        self.real = real
        self.asked = 0
        self.may_answer = asyncio.Event()

    async def find_session(self, key_id: str, mark_kind: str, client_id: str) -> Session | None:
        self.asked += 1
        await self.may_answer.wait()
        return await self.real.find_session(key_id, mark_kind, client_id)


@pytest.fixture
def asked(books: SqliteBooks) -> AskedBooks:
    return AskedBooks(books)


def resolving(registry: SessionRegistry) -> "list[asyncio.Task[object]]":
    at_us = MIDNIGHT_US + 1
    return [asyncio.create_task(registry.resolve("key_1", MARK, RULES, at_us)) for _ in range(TOGETHER)]


@pytest.mark.parametrize("known", [True, False], ids=["in-the-books", "new"])
async def test_calls_that_begin_a_session_together_ask_the_books_once(asked: AskedBooks, *, known: bool) -> None:
    if known:
        await asked.real.commit(opened(session("ses_1")))
    calls = resolving(SessionRegistry(asked, RandomIds()))  # type: ignore[arg-type]
    asked.may_answer.set()
    found = await asyncio.gather(*calls)
    assert asked.asked == 1
    assert len({id(live) for live in found}) == 1


async def test_whoever_waits_for_a_look_up_asks_itself_when_the_asking_call_is_gone(asked: AskedBooks) -> None:
    first, second, *others = resolving(SessionRegistry(asked, RandomIds()))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    first.cancel()
    second.cancel()
    asked.may_answer.set()
    found = await asyncio.gather(*others)
    assert asked.asked == 2
    assert len({id(live) for live in found}) == 1
    assert first.cancelled()
    assert second.cancelled()
