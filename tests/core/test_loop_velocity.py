"""An agent is measured by its own past, and only where there is enough of it."""

import pytest

from gateway.core.loop_error import UpstreamErrors
from gateway.core.loop_velocity import QUARTER_US, QUARTERS_KEPT, QUARTERS_NEEDED, SpendPast

NOW_US = 1_795_521_600_000_000 // QUARTER_US * QUARTER_US
CENT = 10_000
DOLLAR = 1_000_000


def times(past: SpendPast, now_us: int = NOW_US, from_usd_micros: int = DOLLAR) -> int:
    found = past.finding(now_us, 10, from_usd_micros)
    return 0 if found is None else found.times


def steady(quarters: int, usd_micros: int = 10 * CENT) -> SpendPast:
    past = SpendPast()
    past.recall([usd_micros] * quarters)
    return past


def test_spend_is_counted_in_what_is_usual() -> None:
    past = steady(20)
    for spent, expected in ((DOLLAR - 1, 0), (1, 10), (DOLLAR, 20)):
        past.add(spent, NOW_US)
        assert times(past) == expected
    found = past.finding(NOW_US, 10, DOLLAR)
    assert found is not None
    assert found.figures == {"spent_usd": 2.0, "usual_usd": 0.1, "high_usd": 0.1, "quarters": 20}


def test_too_little_past_is_no_measure() -> None:
    for quarters, expected in ((QUARTERS_NEEDED - 1, 0), (QUARTERS_NEEDED, 50)):
        past = steady(quarters)
        past.add(5 * DOLLAR, NOW_US)
        assert times(past) == expected


def test_an_agent_with_bursts_is_no_runaway_at_each_of_them() -> None:
    past = SpendPast()
    past.recall([5 * CENT, 5 * CENT, 5 * CENT, 2 * DOLLAR] * 10)
    past.add(3 * DOLLAR, NOW_US)
    assert times(past) < 10
    past.add(DOLLAR, NOW_US)
    assert times(past) == 10


def test_small_sums_never_count() -> None:
    past = steady(20, usd_micros=10)
    past.add(DOLLAR - 1, NOW_US)
    assert times(past) == 0


def test_each_quarter_begins_anew_and_becomes_the_past() -> None:
    past = SpendPast()
    for quarter in range(QUARTERS_NEEDED):
        past.add(10 * CENT, NOW_US + quarter * QUARTER_US)
    now_us = NOW_US + (QUARTERS_NEEDED + 3) * QUARTER_US
    past.add(2 * DOLLAR, now_us)
    assert times(past, now_us) == 20
    assert times(past, now_us + QUARTER_US) == 0
    assert past.usual_usd_micros == 10 * CENT


def test_the_past_is_bounded() -> None:
    past = SpendPast()
    past.recall([DOLLAR] * QUARTERS_KEPT)
    past.recall([CENT] * QUARTERS_KEPT)
    assert past.usual_usd_micros == CENT


def test_what_the_books_have_of_this_quarter_counts_once() -> None:
    past = steady(20)
    past.add(DOLLAR, NOW_US)
    past.spent_so_far(DOLLAR, NOW_US)
    assert times(past) == 10


SECOND_US = 1_000_000


@pytest.mark.parametrize(
    ("gap_s", "retries", "count"), [(0.1, False, 10), (0.1, True, 1), (2.0, False, 1), (0.99, False, 10)]
)
def test_only_who_neither_waits_nor_says_that_it_retries_piles_up_errors(
    gap_s: float, retries: bool, count: int
) -> None:
    errors, now_us = UpstreamErrors(), NOW_US
    for _ in range(10):
        impatient = errors.impatient(now_us, retries=retries)
        errors.failed(now_us, 1.0, impatient=impatient)
        now_us += int(gap_s * SECOND_US)
    assert errors.count == count
    errors.succeeded()
    assert errors.count == 0
    assert not errors.impatient(now_us, retries=False)
