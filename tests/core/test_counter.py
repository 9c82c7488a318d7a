"""One counter: posted, held, and when what was posted stops counting."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.counter import NEVER_US, Counter, RateCounter, RollingCounter, rate_of, rated
from gateway.core.limit import Limit, Unit
from gateway.core.window import ROLLING_BUCKETS, parse

NOW_US = 1_795_521_600_000_000
MINUTE_US = 60_000_000


def limit(window: str = "day", unit: Unit = Unit.TOKENS, amount: int = 1_000, burst: int | None = None) -> Limit:
    return Limit("l", unit, amount, parse(window), burst=burst)


def test_a_hold_is_replaced_by_what_was_really_used() -> None:
    counter = Counter(limit(), "org", 0, NEVER_US, posted=10)
    counter.hold(100, NOW_US)
    counter.raise_hold(50)
    assert (counter.spent(NOW_US), counter.held, counter.holds) == (10, 150, 1)
    counter.release(150)
    counter.post(70, NOW_US)
    assert (counter.spent(NOW_US), counter.held, counter.holds) == (80, 0, 0)


@pytest.mark.parametrize(
    ("end_us", "asked", "frees"),
    [(NOW_US + 5, 1_000, NOW_US + 5), (NOW_US + 5, 1_001, None), (NEVER_US, 1, None)],
)
def test_rule_29_a_sum_frees_when_its_window_ends(end_us: int, asked: int, frees: int | None) -> None:
    assert Counter(limit(), "org", 0, end_us).frees_at_us(asked, 1_000, NOW_US) == frees


ROLLING = limit("60m")  # buckets of a minute


def test_rule_26_a_bucket_counts_until_it_is_wholly_outside() -> None:
    counter = RollingCounter(ROLLING, "org")
    start_us = NOW_US - NOW_US % MINUTE_US
    counter.post(7, start_us + 30_000_000)
    leaves_us = start_us + MINUTE_US + 60 * MINUTE_US
    assert counter.spent(leaves_us - 1) == 7
    assert counter.spent(leaves_us) == 0


posts = st.lists(st.tuples(st.integers(0, 5 * 60), st.integers(0, 100)), max_size=40)


@given(posts=posts, looks=st.lists(st.integers(0, 8 * 60), max_size=10), window=st.sampled_from(["60m", "2h", "5h"]))
def test_rule_26_a_rolling_counter_is_the_sum_of_its_buckets(
    posts: list[tuple[int, int]], looks: list[int], window: str
) -> None:
    """Also when settlements come out of order; what has left never comes back."""
    rolling = limit(window)
    counter = RollingCounter(rolling, "org")
    width_us, length_us = rolling.window.bucket_us, rolling.window.length_us
    assert width_us * ROLLING_BUCKETS == length_us
    for minutes, amount in posts:
        counter.post(amount, NOW_US + minutes * MINUTE_US)
    for minutes in sorted(looks):
        now_us = NOW_US + minutes * MINUTE_US
        expected = 0
        for posted_after, amount in posts:
            at_us = NOW_US + posted_after * MINUTE_US
            if at_us - at_us % width_us + width_us > now_us - length_us:
                expected += amount
        assert counter.spent(now_us) == expected


@given(posts=posts, asked=st.integers(1, 1_200), amount=st.integers(1, 1_000))
def test_rule_29_a_rolling_counter_frees_exactly_when_it_says(
    posts: list[tuple[int, int]], asked: int, amount: int
) -> None:
    counter = RollingCounter(ROLLING, "org")
    for minutes, each in posts:
        counter.post(each, NOW_US + minutes * MINUTE_US)
    now_us = NOW_US + 300 * MINUTE_US
    frees_us = counter.frees_at_us(asked, amount, now_us)
    if asked > amount:
        assert frees_us is None
        return
    assert frees_us is not None
    if frees_us > now_us:
        assert counter.spent(frees_us - 1) + asked > amount
    assert counter.spent(frees_us) + asked <= amount


def test_rule_26_a_call_longer_than_its_rolling_window_is_forgotten() -> None:
    counter = RollingCounter(ROLLING, "org")
    counter.post(5, NOW_US + 120 * MINUTE_US)
    counter.post(9, NOW_US)
    assert counter.spent(NOW_US + 120 * MINUTE_US) == 5


@pytest.mark.parametrize(
    ("unit", "window", "expected"),
    [
        (Unit.REQUESTS, "minute", True),
        (Unit.REQUESTS, "hour", True),
        (Unit.REQUESTS, "day", False),
        (Unit.REQUESTS, "5m", False),
        (Unit.TOKENS, "minute", False),
        (Unit.SESSIONS, "hour", False),
    ],
)
def test_rule_26_requests_a_minute_or_an_hour_are_a_rate(unit: Unit, window: str, *, expected: bool) -> None:
    assert rated(limit(window, unit)) is expected


@pytest.mark.parametrize(
    ("window", "amount", "burst", "at_once", "interval_us"),
    [
        ("minute", 60, None, 6, 1_000_000),
        ("minute", 5, None, 1, 12_000_000),
        ("minute", 60, 20, 20, 1_000_000),
        ("hour", 60, None, 6, 60_000_000),
    ],
)
def test_rule_26_burst_and_interval(
    window: str, amount: int, burst: int | None, at_once: int, interval_us: int
) -> None:
    counted = limit(window, Unit.REQUESTS, amount, burst)
    rate = rate_of(counted, amount)
    assert (rate.burst, rate.interval_us) == (at_once, interval_us)
    counter = RateCounter(counted, "org", amount)
    for _ in range(at_once):
        assert counter.retry_after_us(NOW_US, amount) == 0
        counter.hold(1, NOW_US)
    assert counter.retry_after_us(NOW_US, amount) == interval_us
    assert counter.retry_after_us(NOW_US + interval_us - 1, amount) == 1
    assert counter.retry_after_us(NOW_US + interval_us, amount) == 0


@given(
    amount=st.integers(1, 200),
    burst=st.none() | st.integers(1, 50),
    gaps=st.lists(st.integers(0, 3_000_000), max_size=60),
)
def test_rule_26_figures_of_a_rate_say_whether_the_next_request_waits(
    amount: int, burst: int | None, gaps: list[int]
) -> None:
    counter = RateCounter(limit("minute", Unit.REQUESTS, amount, burst), "org", amount)
    assert counter.spent(NOW_US) == 0
    now_us = NOW_US
    for gap_us in gaps:
        now_us += gap_us
        waits = counter.retry_after_us(now_us, amount) > 0
        left = amount - counter.spent(now_us)
        assert 0 <= left <= amount
        assert (left == 0) == waits
        if not waits:
            counter.hold(1, now_us)


def test_rule_25_a_rate_gives_no_request_back() -> None:
    counter = RateCounter(limit("minute", Unit.REQUESTS, 10), "org", 10)
    counter.hold(1, NOW_US)
    counter.release(1)
    counter.post(0, NOW_US)
    assert counter.holds == 0
    assert counter.retry_after_us(NOW_US, 10) == 6_000_000


def test_a_changed_rate_keeps_its_place_in_time() -> None:
    counter = RateCounter(limit("minute", Unit.REQUESTS, 60), "org", 60)
    for _ in range(6):
        counter.hold(1, NOW_US)
    assert counter.retry_after_us(NOW_US, 60) == 1_000_000
    assert counter.retry_after_us(NOW_US, 600) == 100_000
    assert counter.retry_after_us(NOW_US + 100_000, 600) == 0


def test_a_rate_is_rebuilt_from_the_requests_that_were_seen() -> None:
    counted = limit("minute", Unit.REQUESTS, 60)
    lived = RateCounter(counted, "org", 60)
    for second in range(4):
        lived.hold(1, NOW_US + second * 100_000)
    rebuilt = RateCounter(counted, "org", 60, [NOW_US + second * 100_000 for second in (2, 0, 3, 1)])
    for now_us in (NOW_US + 300_000, NOW_US + 2_000_000, NOW_US + 10_000_000):
        assert lived.spent(now_us) == rebuilt.spent(now_us)
