"""How far `action: throttle` slows down (rule 28)."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.budget import Shortfall
from gateway.core.limit import Action, Limit, Unit
from gateway.core.throttling import DELAY_MAX_US, PACE_MAX_US, Paces, pace_us
from gateway.core.window import parse

SLOW = Limit("slow", Unit.TOKENS, 1_000, parse("day"), action=Action.THROTTLE)
NOW_US = 1_800_000_000_000_000


def over(by: int) -> Shortfall:
    return Shortfall(SLOW, "org", 1_000, 1_000, 0, by, None)


@pytest.mark.parametrize(
    ("tokens_over", "seconds"), [(1, 0.02), (10, 0.2), (100, 2), (250, 5), (500, 10), (1_500, 30), (9_000, 30)]
)
def test_the_pace_grows_with_what_is_over_the_limit(tokens_over: int, seconds: float) -> None:
    assert pace_us(over(tokens_over)) == seconds * 1_000_000


def test_the_first_call_past_the_limit_waits_too_and_the_next_one_after_it() -> None:
    paces = Paces()
    assert paces.wait_us((over(100),), NOW_US) == 2_000_000
    assert paces.wait_us((over(100),), NOW_US) == 4_000_000
    assert paces.wait_us((over(100),), NOW_US) == 6_000_000  # too long: it takes no place
    assert paces.wait_us((over(100),), NOW_US + 1_000_000) == 5_000_000


def test_who_comes_back_when_it_was_told_gets_in() -> None:
    paces = Paces()
    first = paces.wait_us((over(800),), NOW_US)
    assert first == DELAY_MAX_US
    refused = paces.wait_us((over(800),), NOW_US + first)
    assert refused == 16_000_000
    retry_us = NOW_US + first + refused - DELAY_MAX_US
    assert paces.wait_us((over(800),), retry_us) == DELAY_MAX_US


def test_a_rate_waits_for_its_own_place() -> None:
    rate = replace(over(1), wait_us=700_000)
    assert Paces().wait_us((rate,), NOW_US) == 700_000


@given(st.lists(st.tuples(st.integers(1, 3_000), st.integers(0, 40_000_000)), max_size=60))
def test_calls_that_go_ahead_are_a_pace_apart_and_nobody_waits_for_ever(calls: list[tuple[int, int]]) -> None:
    paces, now_us, last_us = Paces(), NOW_US, NOW_US - PACE_MAX_US
    for tokens_over, later_us in calls:
        now_us += later_us
        wait_us = paces.wait_us((over(tokens_over),), now_us)
        assert 0 < wait_us <= PACE_MAX_US + DELAY_MAX_US
        if wait_us <= DELAY_MAX_US:
            assert now_us + wait_us - last_us >= pace_us(over(tokens_over))
            last_us = now_us + wait_us
