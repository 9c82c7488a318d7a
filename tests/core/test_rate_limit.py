"""GCRA: never above the rate in any stretch of time, and a retry-after that is true to the microsecond."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.rate_limit import FRESH_TAT_US, Rate, admits, default_burst, give_back, replay, verdict

MINUTE_US = 60_000_000
SECOND_US = 1_000_000
START_US = 1_795_521_600_000_000
SIXTY_A_MINUTE = Rate(60, MINUTE_US, 6)

rates = st.builds(
    Rate, st.integers(1, 1_000), st.sampled_from([SECOND_US, MINUTE_US, 60 * MINUTE_US]), st.integers(1, 20)
)
gaps = st.lists(st.integers(0, 3 * SECOND_US) | st.integers(0, 10) | st.integers(0, 2 * MINUTE_US), max_size=60)


def _run(rate: Rate, arrivals_us: list[int]) -> tuple[list[int], int]:
    """Those that were admitted, and the state after the last."""
    admitted, tat_us = [], FRESH_TAT_US
    for at_us in arrivals_us:
        answer = verdict(tat_us, at_us, rate)
        tat_us = answer.tat_us
        if answer.allowed:
            admitted.append(at_us)
    return admitted, tat_us


def _arrivals(gaps_us: list[int]) -> list[int]:
    arrivals, at_us = [], START_US
    for gap_us in gaps_us:
        at_us += gap_us
        arrivals.append(at_us)
    return arrivals


@pytest.mark.parametrize(("limit", "burst"), [(1, 1), (9, 1), (10, 1), (19, 1), (20, 2), (60, 6), (1000, 100)])
def test_rule_26_the_default_burst_is_a_tenth_and_at_least_one(limit: int, burst: int) -> None:
    assert default_burst(limit) == burst


def test_rule_26_sixty_a_minute() -> None:
    tat_us = FRESH_TAT_US
    for left in (5, 4, 3, 2, 1, 0):
        answer = verdict(tat_us, START_US, SIXTY_A_MINUTE)
        assert (answer.allowed, answer.retry_after_us, answer.remaining) == (True, 0, left)
        tat_us = answer.tat_us
    assert verdict(tat_us, START_US, SIXTY_A_MINUTE) == (False, tat_us, SECOND_US, 0)
    assert verdict(tat_us, START_US + SECOND_US - 1, SIXTY_A_MINUTE) == (False, tat_us, 1, 0)
    assert verdict(tat_us, START_US + SECOND_US, SIXTY_A_MINUTE) == (True, tat_us + SECOND_US, 0, 0)
    assert verdict(tat_us, START_US + MINUTE_US, SIXTY_A_MINUTE).remaining == 5


@given(rates, gaps)
@example(Rate(7, MINUTE_US, 1), [0, 8_571_428, 1, 8_571_428])
@example(Rate(60, MINUTE_US, 6), [0] * 20 + [SECOND_US] * 20)
def test_rule_26_no_stretch_of_time_admits_more_than_burst_and_rate(rate: Rate, gaps_us: list[int]) -> None:
    admitted, _ = _run(rate, _arrivals(gaps_us))
    for first, begin_us in enumerate(admitted):
        for last in range(first, len(admitted)):
            allowance = rate.burst * rate.period_us + rate.limit * (admitted[last] - begin_us)
            assert (last - first + 1) * rate.period_us <= allowance


@given(rates, gaps, st.integers(1, 20))
def test_retry_after_is_exact_to_the_microsecond(rate: Rate, gaps_us: list[int], cost: int) -> None:
    arrivals = _arrivals([0, *gaps_us])
    _, tat_us = _run(rate, arrivals)
    answer = verdict(tat_us, arrivals[-1], rate, cost)
    if answer.retry_after_us is None:
        assert cost > rate.burst
        assert not verdict(tat_us, arrivals[-1] + 10**12, rate, cost).allowed
    elif not answer.allowed:
        assert verdict(tat_us, arrivals[-1] + answer.retry_after_us, rate, cost).allowed
        assert not verdict(tat_us, arrivals[-1] + answer.retry_after_us - 1, rate, cost).allowed


@given(rates, gaps)
def test_remaining_is_how_many_more_are_admitted_now(rate: Rate, gaps_us: list[int]) -> None:
    arrivals = _arrivals([0, *gaps_us])
    _, tat_us = _run(rate, arrivals[:-1])
    answer = verdict(tat_us, arrivals[-1], rate)
    admitted, _ = 0, 0
    tat_us = answer.tat_us
    while (after := verdict(tat_us, arrivals[-1], rate)).allowed:
        tat_us = after.tat_us
        admitted += 1
    assert admitted == answer.remaining


@given(rates, gaps)
def test_a_refusal_costs_nothing(rate: Rate, gaps_us: list[int]) -> None:
    arrivals = _arrivals(gaps_us)
    admitted, tat_us = _run(rate, arrivals)
    assert _run(rate, admitted) == (admitted, tat_us)


@given(rates, gaps, st.randoms(use_true_random=False))
def test_the_state_can_be_replayed_from_the_admissions(rate: Rate, gaps_us: list[int], random) -> None:
    admitted, tat_us = _run(rate, _arrivals(gaps_us))
    shuffled = list(admitted)
    random.shuffle(shuffled)
    assert replay(shuffled, rate) == tat_us


def test_an_admission_that_is_undone_at_once_leaves_no_trace() -> None:
    before = verdict(FRESH_TAT_US, START_US, SIXTY_A_MINUTE)
    taken = verdict(before.tat_us, START_US, SIXTY_A_MINUTE, cost=3)
    undone = give_back(taken.tat_us, SIXTY_A_MINUTE, admitted_us=START_US, now_us=START_US, cost=3)
    assert undone == before.tat_us


@given(
    rates, st.lists(st.tuples(st.integers(0, 2 * SECOND_US), st.none() | st.integers(0, 3 * SECOND_US)), max_size=25)
)
@example(Rate(60, MINUTE_US, 2), [(0, 10 * SECOND_US), (10 * SECOND_US, None), (0, None), (0, None)])
def test_what_is_given_back_late_never_lets_the_rate_be_passed(rate: Rate, calls: list[tuple[int, int | None]]) -> None:
    """Each call comes after a gap, and is undone after a while or not at all."""
    events: list[tuple[int, int, int | None]] = []
    at_us = START_US
    for number, (gap_us, undone_after_us) in enumerate(calls):
        at_us += gap_us
        events.append((at_us, number, undone_after_us))
    undos: list[tuple[int, int]] = []
    kept: dict[int, int] = {}
    tat_us = FRESH_TAT_US
    for now_us, number, undone_after_us in events:
        for due in sorted(undo for undo in undos if undo[0] <= now_us):
            undos.remove(due)
            tat_us = give_back(tat_us, rate, admitted_us=kept.pop(due[1]), now_us=due[0])
        answer = verdict(tat_us, now_us, rate)
        tat_us = answer.tat_us
        if answer.allowed:
            kept[number] = now_us
            if undone_after_us is not None:
                undos.append((now_us + undone_after_us, number))
    stayed = sorted(kept[number] for number in kept if number not in {number for _, number in undos})
    for first, begin_us in enumerate(stayed):
        for last in range(first, len(stayed)):
            allowance = rate.burst * rate.period_us + rate.limit * (stayed[last] - begin_us)
            assert (last - first + 1) * rate.period_us <= allowance


def test_a_clock_that_is_set_back_locks_nobody_out() -> None:
    tat_us = replay([START_US] * 6, SIXTY_A_MINUTE)
    yesterday_us = START_US - 24 * 60 * MINUTE_US
    refused = verdict(tat_us, yesterday_us, SIXTY_A_MINUTE)
    assert refused.retry_after_us == SECOND_US
    assert verdict(refused.tat_us, yesterday_us + SECOND_US, SIXTY_A_MINUTE).allowed


@pytest.mark.parametrize("counts", [(0, 1, 1), (1, 0, 1), (1, 1, 0), (-1, 1, 1)])
def test_a_rate_of_nothing_cannot_be_made(counts: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Rate(*counts)


@given(rates, gaps, st.integers(-MINUTE_US, 2 * MINUTE_US))
def test_rule_26_admits_says_what_the_verdict_says(rate: Rate, gaps_us: list[int], later_us: int) -> None:
    arrivals = _arrivals(gaps_us)
    _, tat_us = _run(rate, arrivals)
    now_us = (arrivals[-1] if arrivals else START_US) + later_us
    assert admits(tat_us, now_us, rate) == verdict(tat_us, now_us, rate).allowed
