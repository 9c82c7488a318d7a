"""The sessions of a node on real books: calls that begin a session together share one look into the books."""

import asyncio
import gc

import pytest

from gateway.core.session import Session, SessionMark, SessionRules
from gateway.pipeline.sessions import SessionRegistry
from gateway.ports import BooksUnavailable
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
        self.out = False

    async def find_session(self, key_id: str, mark_kind: str, client_id: str) -> Session | None:
        self.asked += 1
        await self.may_answer.wait()
        if self.out:
            raise BooksUnavailable("the books are away")
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


async def test_whoever_waits_for_a_look_up_that_fails_fails_with_it_and_asks_nothing(asked: AskedBooks) -> None:
    registry = SessionRegistry(asked, RandomIds())  # type: ignore[arg-type]
    asked.out = True
    calls = resolving(registry)
    await asyncio.sleep(0)
    asked.may_answer.set()
    told = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(each) for each in told] == [BooksUnavailable] * TOGETHER
    assert asked.asked == 1
    asked.out = False
    await registry.resolve("key_1", MARK, RULES, MIDNIGHT_US + 1)
    assert asked.asked == 2


async def test_a_look_up_that_fails_with_nobody_waiting_leaves_no_failure_behind(asked: AskedBooks) -> None:
    unseen: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
    asked.out = True
    asked.may_answer.set()
    with pytest.raises(BooksUnavailable):
        await SessionRegistry(asked, RandomIds()).resolve("key_1", MARK, RULES, MIDNIGHT_US)  # type: ignore[arg-type]
    gc.collect()
    assert unseen == []
