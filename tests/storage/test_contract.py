"""What every backend of the books promises: see `Books` in gateway/ports.py."""

import asyncio
from dataclasses import replace

import pytest

from gateway.core.identity import KeyLimit, KeyState, VirtualKey
from gateway.core.ledger import (
    AdminChanged,
    Amounts,
    CallState,
    CallVoided,
    Entry,
    HoldRaised,
    KeySaved,
    Outcome,
    Refusals,
)
from gateway.core.report import TotalsAsk
from gateway.core.session import SessionState
from gateway.ports import BooksUnavailable
from gateway.storage.books import SqliteBooks
from tests.storage.conftest import OpenBooks
from tests.storage.entries import (
    ALICE,
    BOB,
    DAY_US,
    HELD,
    HOUR_US,
    MIDNIGHT_US,
    POSTED,
    SECOND_US,
    changed,
    denied,
    opened,
    placed,
    session,
    settled,
)

EVERYTHING = TotalsAsk((), None, None, None)


async def total(books: SqliteBooks, ask: TotalsAsk = EVERYTHING) -> Amounts:
    (found,) = await books.totals([ask])
    return found.buckets.get(0, Amounts())


async def state_of(books: SqliteBooks, call_id: str) -> CallState | None:
    found = await books.reports.call(call_id)
    assert found is not None
    return found.state


async def test_a_call_is_held_then_settled(books: SqliteBooks) -> None:
    hold = placed("call_1")
    await books.commit(hold)
    found = await books.reports.call("call_1")
    assert found is not None
    assert (found.state, found.held, found.posted) == (CallState.HELD, HELD, Amounts())
    assert await total(books) == Amounts()
    await books.commit(settled(hold))
    found = await books.reports.call("call_1")
    assert found is not None
    assert (found.state, found.held, found.posted) == (CallState.SETTLED, HELD, POSTED)
    assert (found.outcome, found.estimated, found.status) == (Outcome.OK, None, 200)
    assert found.group["user"] == "alice"
    assert found.group["key"] == "alice-laptop"
    assert await total(books) == POSTED


async def test_a_voided_call_costs_nothing(books: SqliteBooks) -> None:
    await books.commit(placed("call_1"))
    await books.commit(CallVoided("call_1", MIDNIGHT_US + 1, "connection refused", 502))
    assert await state_of(books, "call_1") is CallState.VOIDED
    assert await total(books) == Amounts()


async def test_a_raised_hold_shows_the_whole_hold(books: SqliteBooks) -> None:
    await books.commit(placed("call_1", stream=True, sliced=True))
    await books.commit(HoldRaised("call_1", MIDNIGHT_US + 1, replace(HELD, output_tokens=2_548)))
    found = await books.reports.call("call_1")
    assert found is not None
    assert found.held.output_tokens == 2_548


@pytest.mark.parametrize("first", ["settled", "voided"])
@pytest.mark.parametrize("second", ["settled", "voided", "raised"])
@pytest.mark.parametrize("together", [True, False])
async def test_a_hold_ends_once(books: SqliteBooks, first: str, second: str, *, together: bool) -> None:
    hold = placed("call_1")
    ends: dict[str, Entry] = {
        "settled": settled(hold, POSTED),
        "voided": CallVoided("call_1", MIDNIGHT_US + 2, "late", 499),
        "raised": HoldRaised("call_1", MIDNIGHT_US + 3, HELD),
    }
    await books.commit(hold)
    if together:
        await books.commit(ends[first], ends[second])
    else:
        await books.commit(ends[first])
        books.post(ends[second])
    assert await total(books) == (POSTED if first == "settled" else Amounts())
    assert await state_of(books, "call_1") is CallState(first)
    assert (await books.reports.verify()).faults == ()


async def test_an_ending_without_a_hold_changes_nothing(books: SqliteBooks) -> None:
    await books.commit(settled(placed("call_1")))
    assert await books.reports.call("call_1") is None
    assert await total(books) == Amounts()


async def test_a_call_is_held_once(books: SqliteBooks) -> None:
    hold = placed("call_1")
    await books.commit(hold)
    with pytest.raises(ValueError, match="call_1"):
        await books.commit(hold)
    await books.commit(settled(hold))
    with pytest.raises(ValueError, match="cannot be written"):
        await books.commit(hold)
    assert await total(books) == POSTED


async def test_entries_of_one_commit_are_written_together_or_not_at_all(books: SqliteBooks) -> None:
    unwritable = placed("call_2", session_id="lone surrogate \ud800")
    with pytest.raises(ValueError, match="cannot be written"):
        await books.commit(placed("call_1"), unwritable)
    assert await books.reports.call("call_1") is None
    await books.commit(placed("call_1"))
    assert await state_of(books, "call_1") is CallState.HELD


async def test_one_bad_commit_does_not_harm_the_others_of_its_batch(books: SqliteBooks) -> None:
    good = [books.commit(placed(f"call_{n}")) for n in range(5)]
    bad = books.commit(placed("call_bad", session_id="\udfff"), placed("call_lost"))
    results = await asyncio.gather(*good[:3], bad, *good[3:], return_exceptions=True)
    assert [type(result) for result in results] == [type(None)] * 3 + [ValueError] + [type(None)] * 2
    assert await books.reports.call("call_lost") is None
    assert (await books.reports.verify()).faults == ()


async def test_posts_are_seen_by_whatever_is_asked_after_them(books: SqliteBooks) -> None:
    """The limiter loads a counter between two settlements: it must see the first and not the second."""
    first, second = placed("call_1"), placed("call_2")
    await books.commit(first, second)
    books.post(settled(first))
    between = asyncio.ensure_future(total(books))
    await asyncio.sleep(0)
    books.post(settled(second))
    after = asyncio.ensure_future(total(books))
    assert await between == POSTED
    assert await after == POSTED.plus(POSTED)


async def test_a_cancelled_waiter_does_not_break_its_batch(books: SqliteBooks) -> None:
    left = asyncio.ensure_future(books.commit(placed("call_1")))
    stays = asyncio.ensure_future(books.commit(placed("call_2")))
    await asyncio.sleep(0)
    left.cancel()
    await stays
    # Who stopped waiting must assume that the hold was written, and gives it back.
    books.post(CallVoided("call_1", MIDNIGHT_US, "the caller left", 499))
    assert await total(books) == Amounts()
    assert await state_of(books, "call_1") is CallState.VOIDED
    assert await state_of(books, "call_2") is CallState.HELD


async def test_a_queue_without_end_is_refused(books: SqliteBooks) -> None:
    with pytest.raises(BooksUnavailable, match="overloaded"):
        await books.commit(*[Refusals(MIDNIGHT_US, "key_unknown", "10.0.0.0/24", 1)] * 20_001)
    await books.commit(placed("call_1"))


async def test_closed_books_take_nothing(open_books: OpenBooks) -> None:
    books = await open_books()
    hold = placed("call_1")
    await books.commit(hold)
    books.post(settled(hold))
    assert await books.close()
    with pytest.raises(BooksUnavailable):
        await books.commit(placed("call_2"))
    books.post(settled(placed("call_2")))
    assert books.rejected == 1
    again = await open_books()
    assert again.orphans == 0
    assert await total(again) == POSTED


async def test_rule_8_orphans_are_settled_at_start(open_books: OpenBooks) -> None:
    books = await open_books()
    plain = placed("call_plain", at_us=MIDNIGHT_US + 5)
    sliced = placed("call_sliced", BOB, stream=True, sliced=True, session_id="ses_2")
    await books.commit(plain, sliced)
    await books.commit(HoldRaised("call_sliced", MIDNIGHT_US + 9, replace(HELD, output_tokens=2_000, usd_micros=2_400)))
    await books.close()

    books = await open_books(MIDNIGHT_US + HOUR_US)
    assert books.orphans == 2
    found = await books.reports.call("call_plain")
    assert found is not None
    assert (found.state, found.outcome, found.estimated) == (CallState.SETTLED, Outcome.ORPHAN, "orphan")
    assert found.posted == Amounts(input_tokens=1_000, output_tokens=300, usd_micros=660, requests=1)
    found = await books.reports.call("call_sliced")
    assert found is not None
    assert found.posted == Amounts(input_tokens=1_000, output_tokens=2_000, usd_micros=2_400, requests=1)
    # Booked on the time of the hold, as any other settlement.
    assert (await total(books, TotalsAsk((), None, MIDNIGHT_US, MIDNIGHT_US + 6))).requests == 2
    assert (await books.reports.verify()).faults == ()
    assert await books.reports.recount() == []
    await books.close()
    assert (await open_books()).orphans == 0


async def test_rule_33_refusals_and_admin_changes_are_rows_of_the_journal(books: SqliteBooks) -> None:
    await books.commit(Refusals(MIDNIGHT_US, "key_unknown", "10.1.0.0/16", 17))
    await books.commit(AdminChanged(MIDNIGHT_US, "user:carol", "policy.reload", "policy", {"version": "v2"}))
    verified = await books.reports.verify()
    assert (verified.rows, verified.segments, verified.faults) == (3, 1, ())


async def test_rule_33_summed_denials_count_as_many(books: SqliteBooks) -> None:
    await books.commit(denied("call_1"), denied("call_2", count=60))
    (row,) = await books.reports.usage(("user",), None, None)
    assert (row.group, row.calls, row.denied, row.cost_usd_micros) == (("alice",), 0, 61, 0)
    found = await books.reports.call("call_1")
    assert found is not None
    assert found.state is None
    assert found.denial == denied("call_1").denial


async def test_rule_14_a_session_is_found_by_its_mark_inside_its_key(books: SqliteBooks) -> None:
    old, new = session("ses_old"), session("ses_new", at_us=MIDNIGHT_US + DAY_US)
    other = session("ses_other", key_id="key_2")
    await books.commit(opened(old), opened(other, BOB))
    assert await books.find_session("key_1", "header", "run-1") == old
    await books.commit(opened(new))
    assert await books.find_session("key_1", "header", "run-1") == new
    assert await books.find_session("key_2", "header", "run-1") == other
    assert await books.find_session("key_1", "header", "run-2") is None
    assert await books.find_session("key_1", "codex", "run-1") is None
    assert await books.session("ses_old") == old
    assert await books.session("ses_none") is None


async def test_an_implicit_session_has_no_client_id(books: SqliteBooks) -> None:
    implicit = session(client_id="")
    await books.commit(opened(implicit))
    assert await books.find_session("key_1", "implicit", "") == implicit


async def test_a_session_changes_and_remembers_its_last_call(books: SqliteBooks) -> None:
    live = session()
    hold = placed("call_1", at_us=MIDNIGHT_US + HOUR_US)
    await books.commit(opened(live), hold)
    reason = "loop: identical requests, says user:carol"
    await books.commit(changed(live, SessionState.PAUSED, reason, at_us=MIDNIGHT_US + 5))
    found = await books.session("ses_1")
    assert found is not None
    assert (found.state, found.last_active_us) == (SessionState.PAUSED, MIDNIGHT_US)
    assert found.reason == reason
    books.post(settled(hold))
    found = await books.session("ses_1")
    assert found is not None
    assert found.last_active_us == hold.at_us + SECOND_US


async def test_sessions_opened_are_told_by_opener(books: SqliteBooks) -> None:
    await books.commit(opened(session("ses_1")), opened(session("ses_2", at_us=MIDNIGHT_US + 7), BOB))
    reopened = replace(opened(session("ses_1", at_us=MIDNIGHT_US + 9)), action="reopened")
    await books.commit(reopened)
    assert await books.sessions_opened(MIDNIGHT_US) == {
        ALICE.value("opener"): [MIDNIGHT_US],
        BOB.value("opener"): [MIDNIGHT_US + 7],
    }
    assert await books.sessions_opened(MIDNIGHT_US + 1) == {"key:bob-ci": [MIDNIGHT_US + 7]}


KEY = VirtualKey(
    "key_1",
    "alice-laptop",
    "d" * 64,
    user="alice",
    team="platform",
    models=("gpt-*",),
    tools=(),
    limits=(KeyLimit("usd", 5_000_000, "day"),),
    expires_at_us=MIDNIGHT_US + DAY_US,
    may_assert_user=True,
    created_at_us=MIDNIGHT_US,
)


async def test_keys_come_back_as_they_were_saved(open_books: OpenBooks) -> None:
    books = await open_books()
    await books.commit(KeySaved(MIDNIGHT_US, "admin", "created", KEY))
    assert await books.keys() == [KEY]
    revoked = replace(KEY, state=KeyState.REVOKED)
    await books.commit(KeySaved(MIDNIGHT_US + 1, "admin", "revoked", revoked))
    await books.close()
    assert await (await open_books()).keys() == [revoked]


async def test_two_keys_never_share_a_secret(books: SqliteBooks) -> None:
    await books.commit(KeySaved(MIDNIGHT_US, "admin", "created", KEY))
    with pytest.raises(ValueError, match="cannot be written"):
        await books.commit(KeySaved(MIDNIGHT_US, "admin", "created", replace(KEY, id="key_2")))
    assert await books.keys() == [KEY]


async def test_installation_values_are_remembered(open_books: OpenBooks) -> None:
    books = await open_books()
    assert await books.recall("admin digest") is None
    await books.remember("admin digest", "one")
    await books.remember("admin digest", "two")
    await books.close()
    assert await (await open_books()).recall("admin digest") == "two"
