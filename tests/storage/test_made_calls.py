"""What the books remember of Idempotency-Keys: written with the hold, or not at all."""

import pytest

from gateway.core.idempotency import EarlierCall, KeyUsed
from gateway.core.ledger import CallState, CallVoided
from gateway.storage.books import SqliteBooks
from tests.storage.conftest import OpenBooks
from tests.storage.entries import MIDNIGHT_US, POSTED, placed, settled

USED = KeyUsed("key_1", "digest", "body", "call_1", MIDNIGHT_US)


async def found(books: SqliteBooks) -> EarlierCall | None:
    return await books.made_calls.find("key_1", "digest", MIDNIGHT_US - 1)


async def test_a_call_and_what_became_of_it(books: SqliteBooks) -> None:
    assert await found(books) is None
    hold = placed("call_1")
    await books.commit(USED, hold)
    assert await found(books) == EarlierCall("call_1", "body", CallState.HELD, 0)
    books.post(settled(hold))
    assert await found(books) == EarlierCall("call_1", "body", CallState.SETTLED, POSTED.usd_micros)
    assert await books.made_calls.find("key_2", "digest", 0) is None
    assert await books.made_calls.find("key_1", "other", 0) is None
    assert await books.made_calls.find("key_1", "digest", MIDNIGHT_US) is None


async def test_a_voided_call_gives_its_key_to_the_next(books: SqliteBooks) -> None:
    await books.commit(USED, placed("call_1"))
    books.post(CallVoided("call_1", MIDNIGHT_US, "the upstream answered 503", 503))
    assert await found(books) == EarlierCall("call_1", "body", CallState.VOIDED, 0)
    await books.commit(KeyUsed("key_1", "digest", "body 2", "call_2", MIDNIGHT_US + 5), placed("call_2"))
    assert await found(books) == EarlierCall("call_2", "body 2", CallState.HELD, 0)


async def test_it_is_written_with_its_hold_or_not_at_all(books: SqliteBooks) -> None:
    await books.commit(placed("call_1"))
    with pytest.raises(ValueError, match="held already"):
        await books.commit(USED, placed("call_1"))
    assert await found(books) is None


async def test_a_new_process_knows_the_orphan_as_charged(open_books: OpenBooks) -> None:
    books = await open_books()
    await books.commit(USED, placed("call_1"))
    await books.close()
    earlier = await found(await open_books())
    assert earlier is not None
    assert earlier.state is CallState.SETTLED


async def test_old_keys_are_forgotten(books: SqliteBooks) -> None:
    await books.commit(USED, placed("call_1"))
    await books.made_calls.forget(MIDNIGHT_US - 1)
    assert await found(books) is not None
    await books.made_calls.forget(MIDNIGHT_US)
    assert await found(books) is None
