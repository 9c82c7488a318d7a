"""A limit is a view on the ledger (rule 11): totals of any window and any terms equal a plain sum over the calls."""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.attribution import Attribution
from gateway.core.ledger import Amounts, CallVoided, HoldPlaced
from gateway.core.report import TotalsAsk
from gateway.storage.books import SqliteBooks
from gateway.storage.spans import DAY_US as SPAN_DAY_US
from gateway.storage.spans import FOREVER_US, Source, spans
from tests.storage.entries import (
    ALICE,
    BOB,
    DAY_US,
    HOUR_US,
    MIDNIGHT_US,
    MINUTE_US,
    POSTED,
    QUARTER_US,
    SECOND_US,
    child_session,
    denied,
    opened,
    placed,
    session,
    settled,
)

NAMELESS = Attribution("key_3", "shared", model="gpt-5-mini", roles=("contractor",))
SESSIONS = ("ses_1", "ses_2", "ses_3")
SPAN_US = 3 * DAY_US


@dataclass(frozen=True)
class Booked:
    attribution: Attribution
    session_id: str
    at_us: int
    amounts: Amounts


def history(count: int = 400) -> list[tuple[HoldPlaced, Amounts | None]]:
    """Calls over three days, many of them on the edges of minutes, quarters of an hour and days; None = voided."""
    chance = random.Random(5)
    edges = (1, MINUTE_US, QUARTER_US, HOUR_US, DAY_US)
    found: list[tuple[HoldPlaced, Amounts | None]] = []
    for number in range(count):
        at_us = chance.randrange(SPAN_US)
        if chance.random() < 0.5:
            at_us -= at_us % chance.choice(edges)
        hold = placed(
            f"call_{number}",
            chance.choice((ALICE, BOB, NAMELESS)),
            at_us=MIDNIGHT_US + at_us,
            session_id=chance.choice(SESSIONS),
        )
        posted = Amounts(*(chance.randrange(1, 10_000) for _ in range(6)))
        found.append((hold, posted if chance.random() < 0.9 else None))
    return found


HISTORY = history()
BOOKED = [Booked(h.attribution, h.session_id, h.at_us, posted) for h, posted in HISTORY if posted is not None]


@pytest.fixture(scope="module")
def full_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("totals") / "books.db"


@pytest.fixture
async def full(full_path: Path):
    """Books with the whole history, written once and opened by each test."""
    books = await SqliteBooks.open(full_path, node="local", now_us=MIDNIGHT_US)
    try:
        if await books.reports.call(HISTORY[0][0].call_id) is None:
            for hold, posted in HISTORY:
                await books.commit(hold)
                voided = CallVoided(hold.call_id, hold.at_us, "refused", 502)
                books.post(voided if posted is None else settled(hold, posted))
        yield books
    finally:
        await books.close()


def matching(conditions: dict[str, str | None]) -> list[Booked]:
    def fits(call: Booked) -> bool:
        for kind, value in conditions.items():
            if kind == "session":
                fitting = call.session_id == value
            elif kind == "role":
                fitting = value in call.attribution.roles
            elif kind == "key":
                fitting = call.attribution.key_id == value
            else:
                fitting = call.attribution.value(kind) == (value or "-")
            if not fitting:
                return False
        return True

    return [call for call in BOOKED if fits(call)]


def summed(calls: Sequence[Booked], start: int | None, end: int | None, bucket: int | None) -> dict[int, Amounts]:
    sums: defaultdict[int, Amounts] = defaultdict(Amounts)
    for call in calls:
        if (start is None or call.at_us >= start) and (end is None or call.at_us < end):
            sums[call.at_us // bucket * bucket if bucket else 0] = sums[
                call.at_us // bucket * bucket if bucket else 0
            ].plus(call.amounts)
    return dict(sums)


WINDOWS = {
    "everything": (None, None, None),
    "one day": (0, DAY_US, None),
    "an hour across midnight": (DAY_US - HOUR_US // 2, DAY_US + HOUR_US // 2, None),
    "a day in a zone of five and a half hours": (DAY_US - 11 * QUARTER_US * 2, 2 * DAY_US - 11 * QUARTER_US * 2, None),
    "a minute": (HOUR_US, HOUR_US + MINUTE_US, None),
    "since an odd instant": (HOUR_US + 1_234_567, None, None),
    "until an odd instant": (None, DAY_US + 1_234_567, None),
    "an odd span": (HOUR_US + 17, 2 * DAY_US + 4_711, None),
    "within one quarter": (17, 4_711_000_000 // 10, None),
    "seconds of an hour": (DAY_US, DAY_US + HOUR_US, SECOND_US),
    "buckets of 5h": (HOUR_US + 17, None, 5 * MINUTE_US),
    "buckets of 15h": (HOUR_US + 17, None, QUARTER_US),
    "buckets of 60 days": (HOUR_US + 17, None, DAY_US),
    "nothing": (5 * DAY_US, 6 * DAY_US, None),
}
CONDITIONS: dict[str, dict[str, str | None]] = {
    "org": {},
    "user": {"user": "alice"},
    "no user": {"user": None},
    "team": {"team": "platform"},
    "team and model": {"team": "platform", "model": "coder"},
    "key": {"key": "key_2"},
    "no agent, some team": {"agent": None, "team": "platform"},
    "no team, no agent": {"agent": None, "team": None},
    "session": {"session": "ses_2"},
    "user in session": {"session": "ses_2", "user": "bob"},
    "label": {"label:seniority": "staff"},
    "role": {"role": "contractor"},
    "nobody": {"user": "carol"},
}
CARRIERS = {"carol": replace(ALICE, user="carol"), "bob": BOB, "coder": BOB, "key_2": BOB}


def ask_for(books: SqliteBooks, conditions: dict[str, str | None], window: tuple[int | None, int | None, int | None]):
    terms: list[tuple[str, str | None]] = []
    for kind, value in conditions.items():
        if kind == "session":
            continue
        carrier = NAMELESS if value is None else CARRIERS.get(value, ALICE)
        terms += books.recorded_terms(carrier, (f"role:{value}" if kind == "role" else kind,))
    start, end = (None if edge is None else MIDNIGHT_US + edge for edge in window[:2])
    return TotalsAsk(tuple(terms), conditions.get("session"), start, end, window[2])


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("conditions", CONDITIONS)
async def test_rule_11_a_limit_is_a_view(full: SqliteBooks, conditions: str, window: str) -> None:
    ask = ask_for(full, CONDITIONS[conditions], WINDOWS[window])
    (found,) = await full.totals([ask])
    expected = summed(matching(CONDITIONS[conditions]), ask.start_us, ask.end_us, ask.bucket_us)
    assert dict(found.buckets) == expected


async def test_many_asks_are_answered_in_their_order(full: SqliteBooks) -> None:
    asks = [ask_for(full, conditions, window) for conditions in CONDITIONS.values() for window in WINDOWS.values()]
    together = await full.totals(asks)
    one_by_one = [(await full.totals([ask]))[0] for ask in asks]
    assert together == one_by_one
    assert sum(bool(found.buckets) for found in together) > 100


async def test_no_asks_no_answers(books: SqliteBooks) -> None:
    assert await books.totals([]) == []


async def test_rule_26_a_call_is_charged_to_the_window_of_its_hold(books: SqliteBooks) -> None:
    hold = placed("call_1", at_us=MIDNIGHT_US - 1)
    await books.commit(hold)
    await books.commit(settled(hold))
    before = TotalsAsk((), None, MIDNIGHT_US - DAY_US, MIDNIGHT_US)
    after = TotalsAsk((), None, MIDNIGHT_US, MIDNIGHT_US + DAY_US)
    charged, free = await books.totals([before, after])
    assert dict(charged.buckets) == {0: POSTED}
    assert dict(free.buckets) == {}


async def test_rule_27_a_missing_value_is_one_shared_counter(books: SqliteBooks) -> None:
    first, second = replace(NAMELESS, key_id="key_4"), replace(NAMELESS, key_id="key_5")
    for number, attribution in enumerate((first, second, ALICE)):
        hold = placed(f"call_{number}", attribution)
        await books.commit(hold, settled(hold))
    terms = books.recorded_terms(first, ("user",))
    assert terms == (("user", None),)
    (found,) = await books.totals([TotalsAsk(terms, None, None, None)])
    assert dict(found.buckets) == {0: POSTED.plus(POSTED)}


@pytest.mark.parametrize(
    ("kind", "calls"),
    [("role", 1), ("role:contractor", 2), ("role:developer", 1), ("role:auditor", 1)],
)
async def test_a_set_of_roles_and_one_role_are_told_apart(books: SqliteBooks, kind: str, calls: int) -> None:
    for number, attribution in enumerate((ALICE, NAMELESS, BOB)):
        hold = placed(f"call_{number}", attribution)
        await books.commit(hold, settled(hold))
    (found,) = await books.totals([TotalsAsk(books.recorded_terms(ALICE, (kind,)), None, None, None)])
    assert found.buckets[0].requests == calls


@pytest.mark.parametrize(
    ("start_us", "end_us", "opened_in_it"),
    [(None, None, 2), (0, DAY_US, 1), (HOUR_US + 1, None, 1), (0, HOUR_US, 0), (HOUR_US, HOUR_US + 1, 1)],
)
async def test_opened_sessions_are_counted(
    books: SqliteBooks, start_us: int | None, end_us: int | None, opened_in_it: int
) -> None:
    await books.commit(opened(session("ses_1", at_us=MIDNIGHT_US + HOUR_US)))
    await books.commit(opened(session("ses_2", at_us=MIDNIGHT_US + DAY_US)), denied("call_1"))
    ask = TotalsAsk(
        books.recorded_terms(ALICE, ("agent",)),
        None,
        None if start_us is None else MIDNIGHT_US + start_us,
        None if end_us is None else MIDNIGHT_US + end_us,
    )
    ask_of_others = replace(ask, terms=books.recorded_terms(BOB, ("app",)))
    ours, theirs = await books.totals([ask, ask_of_others])
    assert (ours.sessions_opened, theirs.sessions_opened) == (opened_in_it, 0)


async def test_rule_16_a_sum_of_a_session_is_one_of_its_tree(books: SqliteBooks) -> None:
    tree = {"ses_1": (), "ses_c": ("ses_1",), "ses_d": ("ses_1",), "ses_g": ("ses_c", "ses_1"), "ses_2": ()}
    for session_id, above in tree.items():
        await books.commit(opened(child_session(session_id, *above) if above else session(session_id)))
    for number, session_id in enumerate(tree):
        hold = placed(f"call_{number}", session_id=session_id, at_us=MIDNIGHT_US + number * HOUR_US)
        await books.commit(hold, settled(hold, Amounts(input_tokens=10**number, requests=1)))
    sums = {}
    for session_id in tree:
        for start_us in (None, MIDNIGHT_US + 2 * HOUR_US):
            (found,) = await books.totals([TotalsAsk((), session_id, start_us, None)])
            sums[session_id, start_us is None] = found.buckets.get(0, Amounts()).input_tokens
    assert [sums[session_id, True] for session_id in tree] == [1111, 1010, 100, 1000, 10_000]
    assert [sums[session_id, False] for session_id in tree] == [1100, 1000, 100, 1000, 10_000]
    (theirs,) = await books.totals([TotalsAsk(books.recorded_terms(BOB, ("app",)), "ses_1", None, None)])
    assert theirs.buckets.get(0, Amounts()) == Amounts()
    assert [each.id for each in await books.descendants("ses_1")] == ["ses_c", "ses_d", "ses_g"]
    assert await books.session("ses_g") == replace(
        child_session("ses_g", "ses_c", "ses_1"), last_active_us=MIDNIGHT_US + 3 * HOUR_US + SECOND_US
    )
    root = await books.session("ses_1")
    assert root is not None
    assert root.last_active_us == MIDNIGHT_US + 3 * HOUR_US + SECOND_US, "a descendant's call is its activity"
    assert await books.reports.recount() == []


instants = st.one_of(st.none(), st.integers(0, 10 * DAY_US), st.integers(0, 1000).map(lambda n: n * QUARTER_US))


@given(
    start=instants, end=instants, bucket=st.sampled_from((None, 1, MINUTE_US, QUARTER_US, HOUR_US, DAY_US, 2 * DAY_US))
)
def test_parts_of_a_span_join_without_gap_or_overlap(start: int | None, end: int | None, bucket: int | None) -> None:
    parts = spans(start, end, bucket)
    at_us = start or 0
    for part in parts:
        assert part.start_us == at_us < part.end_us
        at_us = part.end_us
        grain = {Source.DAYS: SPAN_DAY_US, Source.QUARTERS: QUARTER_US, Source.CALLS: 1}[part.source]
        assert part.start_us % grain == 0
        assert part.end_us == FOREVER_US or part.end_us % grain == 0
        assert bucket is None or part.source is Source.CALLS or bucket % grain == 0
    last = FOREVER_US if end is None else end
    assert at_us == last or (not parts and last <= (start or 0))
