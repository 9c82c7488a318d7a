"""Who spent what, what happened, in clear: every report equals the ledger."""

import random
from collections import defaultdict
from dataclasses import replace

import pytest

from gateway.core.identity import VirtualKey
from gateway.core.ledger import AdminChanged, Amounts, CallVoided, KeySaved, Refusals
from gateway.core.report import USAGE_DIMENSIONS, AuditSearch, UsageRow
from gateway.core.session import SessionState
from gateway.storage.books import SqliteBooks
from tests.storage.entries import (
    ALICE,
    BOB,
    DAY_US,
    HOUR_US,
    MIDNIGHT_US,
    POSTED,
    QUARTER_US,
    SECOND_US,
    changed,
    denied,
    opened,
    placed,
    session,
    settled,
)


@pytest.fixture
async def full(books: SqliteBooks) -> SqliteBooks:
    """Alice: two calls and a denial in ses_1, one call next day in ses_2. Bob: one estimated call, one voided."""
    live = session()
    first = placed("call_a1")
    second = placed("call_a2", at_us=MIDNIGHT_US + 20 * QUARTER_US + 7)
    next_day = placed("call_a3", at_us=MIDNIGHT_US + DAY_US, session_id="ses_2")
    of_bob = placed("call_b1", BOB, at_us=MIDNIGHT_US + HOUR_US, session_id="ses_3")
    lost = placed("call_b2", BOB, session_id="ses_3")
    await books.commit(opened(live), first, second, next_day, of_bob, lost)
    await books.commit(denied("call_a4"), CallVoided("call_b2", MIDNIGHT_US + 5, "refused", 502))
    for hold in (first, second, next_day):
        books.post(settled(hold))
    await books.commit(settled(of_bob, replace(POSTED, tool_calls=2), estimated="tiktoken"))
    return books


def row(*group: str, calls: int, denied: int = 0, tool_calls: int = 0, estimated_calls: int = 0) -> UsageRow:
    return UsageRow(
        group=group,
        calls=calls,
        denied=denied,
        input_tokens=800 * calls,
        cached_input_tokens=100 * calls,
        output_tokens=200 * calls,
        reasoning_tokens=50 * calls,
        tool_calls=tool_calls,
        cost_usd_micros=700 * calls,
        estimated_calls=estimated_calls,
    )


BOBS = {"calls": 1, "tool_calls": 2, "estimated_calls": 1}


@pytest.mark.parametrize(
    ("by", "rows"),
    [
        ((), [row(calls=4, denied=1, tool_calls=2, estimated_calls=1)]),
        (("user",), [row("alice", calls=3, denied=1), row("bob", **BOBS)]),
        (("team",), [row("platform", calls=4, denied=1, tool_calls=2, estimated_calls=1)]),
        (("app",), [row("-", calls=3, denied=1), row("ci", **BOBS)]),
        (("service",), [row("-", calls=4, denied=1, tool_calls=2, estimated_calls=1)]),
        (("agent",), [row("reviewer", calls=3, denied=1), row("-", **BOBS)]),
        (("model",), [row("gpt-5-mini", calls=3, denied=1), row("coder", **BOBS)]),
        (("model_tier",), [row("small", calls=3, denied=1), row("-", **BOBS)]),
        (("provider",), [row("openai", calls=3, denied=1), row("claude", **BOBS)]),
        (("key",), [row("alice-laptop", calls=3, denied=1), row("bob-ci", **BOBS)]),
        (("environment",), [row("test", calls=3, denied=1), row("-", **BOBS)]),
        (("cost_center",), [row("CC-100", calls=3, denied=1), row("-", **BOBS)]),
        (("tag",), [row("project=apollo", calls=3, denied=1), row("ticket=42", calls=3, denied=1), row("-", **BOBS)]),
        (("session",), [row("ses_1", calls=2, denied=1), row("ses_2", calls=1), row("ses_3", **BOBS)]),
        (
            ("session", "user"),
            [row("ses_1", "alice", calls=2, denied=1), row("ses_2", "alice", calls=1), row("ses_3", "bob", **BOBS)],
        ),
        (("user", "model"), [row("alice", "gpt-5-mini", calls=3, denied=1), row("bob", "coder", **BOBS)]),
    ],
)
async def test_usage_is_told_by_any_dimension(full: SqliteBooks, by: tuple[str, ...], rows: list[UsageRow]) -> None:
    assert await full.reports.usage(by, None, None) == rows
    # The same from the calls themselves, as an odd span cannot be answered by rollups.
    assert await full.reports.usage(by, MIDNIGHT_US - 17, MIDNIGHT_US + 5 * DAY_US + 17) == rows


@pytest.mark.parametrize(
    ("since", "until", "calls"),
    [
        (0, DAY_US, 3),
        (DAY_US, None, 1),
        (1, None, 3),
        (None, 20 * QUARTER_US, 2),
        (None, 20 * QUARTER_US + 8, 3),
        (9, 9, 0),
    ],
)
@pytest.mark.parametrize("by", [(), ("session",)])
async def test_rule_26_usage_counts_calls_by_the_time_of_their_hold(
    full: SqliteBooks, by: tuple[str, ...], since: int | None, until: int | None, calls: int
) -> None:
    since_us, until_us = (None if edge is None else MIDNIGHT_US + edge for edge in (since, until))
    assert sum(found.calls for found in await full.reports.usage(by, since_us, until_us)) == calls


async def test_every_dimension_is_known(full: SqliteBooks) -> None:
    for dimension in USAGE_DIMENSIONS:
        rows = await full.reports.usage((dimension,), None, None)
        assert sum(found.cost_usd_micros for found in rows) >= 4 * 700
    with pytest.raises(ValueError, match="colour"):
        await full.reports.usage(("user", "colour"), None, None)


async def test_usage_agrees_with_the_sum_of_its_calls(books: SqliteBooks) -> None:
    chance = random.Random(3)
    costs: defaultdict[str, int] = defaultdict(int)
    for number in range(300):
        attribution = replace(chance.choice((ALICE, BOB)), user=f"user {chance.randrange(7)}")
        hold = placed(f"call_{number}", attribution, at_us=MIDNIGHT_US + chance.randrange(3 * DAY_US))
        cost = chance.randrange(10**9)
        await books.commit(hold)
        books.post(settled(hold, Amounts(1, 1, 0, cost, 1)))
        costs[attribution.user] += cost
    await books.totals([])
    found = {usage.group[0]: usage.cost_usd_micros for usage in await books.reports.usage(("user",), None, None)}
    assert found == costs
    assert await books.reports.recount() == []


async def test_sessions_are_listed_with_what_was_booked_on_them(full: SqliteBooks) -> None:
    other = session("ses_2", at_us=MIDNIGHT_US + DAY_US, key_id="key_2")
    key = VirtualKey("key_2", "bob-ci", "d" * 64, user="bob")
    await full.commit(KeySaved(MIDNIGHT_US, "admin", "created", key), opened(other, BOB))
    await full.commit(changed(session(), SessionState.PAUSED, "loop", at_us=MIDNIGHT_US + 9))
    second, first = await full.reports.sessions(key_id=None, state=None, limit=10)
    assert (first.session.id, first.session.state, first.session.reason) == ("ses_1", SessionState.PAUSED, "loop")
    assert first.session.last_active_us == MIDNIGHT_US + 20 * QUARTER_US + 7 + SECOND_US
    assert (first.posted, first.calls, first.denied) == (POSTED.plus(POSTED), 2, 1)
    assert (first.user, first.team, first.agent, first.key) == ("alice", "platform", "reviewer", "alice-laptop")
    assert (second.session.id, second.user, second.agent, second.key) == ("ses_2", "bob", "-", "bob-ci")
    reports = full.reports
    assert [s.session.id for s in await reports.sessions(key_id="key_2", state=None, limit=10)] == ["ses_2"]
    assert [s.session.id for s in await reports.sessions(key_id=None, state="paused", limit=10)] == ["ses_1"]
    assert [s.session.id for s in await reports.sessions(key_id=None, state=None, limit=1)] == ["ses_2"]


@pytest.mark.parametrize(
    ("search", "kinds"),
    [
        (AuditSearch(call_id="call_a1"), ["settled", "held"]),
        (AuditSearch(call_id="call_none"), []),
        (AuditSearch(session_id="ses_3"), ["settled", "voided", "held", "held"]),
        (AuditSearch(session_id="ses_1", kind="session"), ["session"]),
        (AuditSearch(session_id="ses_3", call_id="call_a1"), []),
        (AuditSearch(kind="denied"), ["denied"]),
        (AuditSearch(text="connection lost"), ["admin"]),
        (AuditSearch(text="carol"), ["admin"]),
        (AuditSearch(text="bob", kind="held"), ["held", "held"]),
        (AuditSearch(text="project=apollo", kind="settled"), ["settled"] * 3),
        (AuditSearch(since_us=MIDNIGHT_US + 2 * DAY_US), ["admin", "refusals"]),
        (AuditSearch(until_us=MIDNIGHT_US + 1, kind="session"), ["session"]),
        (AuditSearch(limit=2), ["admin", "refusals"]),
    ],
)
async def test_the_audit_log_is_searched(full: SqliteBooks, search: AuditSearch, kinds: list[str]) -> None:
    late_us = MIDNIGHT_US + 2 * DAY_US
    await full.commit(Refusals(late_us, "key_unknown", "10.0.0.0/24", 3))
    await full.commit(AdminChanged(late_us, "user:carol", "policy.rollback", "policy", {"why": "connection lost"}))
    found = await full.reports.audit(search)
    assert [audit.kind for audit in found] == kinds
    assert [audit.seq for audit in found] == sorted((audit.seq for audit in found), reverse=True)


async def test_audit_rows_are_shown_with_names(full: SqliteBooks) -> None:
    (refused,) = await full.reports.audit(AuditSearch(kind="denied"))
    assert refused.doc["denial"] == denied("call_a4").denial
    assert refused.doc["attribution"]["user"] == "alice"
    assert refused.doc["attribution"]["tag"] == "project=apollo,ticket=42"
    assert refused.doc["subject"] == "call_a4"
    assert (refused.at_us, refused.segment, len(refused.hash)) == (MIDNIGHT_US, "local-1", 64)


async def test_a_name_cannot_break_the_document_it_is_shown_in(books: SqliteBooks) -> None:
    quoting = replace(ALICE, user='O"Brien \\ \n {')
    refusal = denied("call_1", quoting)
    await books.commit(refusal)
    found = await books.reports.call("call_1")
    assert found is not None
    assert found.denial == refusal.denial


async def test_reports_of_empty_books(books: SqliteBooks) -> None:
    reports = books.reports
    assert await reports.usage(("user",), None, None) == []
    assert await reports.sessions(key_id=None, state=None, limit=5) == []
    assert await reports.call("call_1") is None
    assert await reports.audit(AuditSearch()) == []
    assert await reports.damage() == []
    verified = await reports.verify()
    assert (verified.rows, verified.segments, verified.faults) == (0, 0, ())
    assert await reports.recount() == []
