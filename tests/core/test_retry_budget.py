"""Retries are a share of recent calls, and a few are free."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.retry_budget import FREE, WINDOW_US, RetryBudget


def taken(budget: RetryBudget, times: int, now_us: int, percent: int = 20) -> int:
    return sum(budget.take(percent, now_us) for _ in range(times))


def test_a_few_are_free_and_then_a_share_of_the_calls_decides():
    budget = RetryBudget()
    assert taken(budget, 100, 0) == FREE
    for _ in range(100):
        budget.called(0)
    assert taken(budget, 100, 0) == 20 - FREE
    assert (budget.taken, budget.refused) == (20, 180)


def test_what_is_older_than_two_windows_is_forgotten():
    budget = RetryBudget()
    for _ in range(100):
        budget.called(0)
    assert taken(budget, 100, WINDOW_US) == 20
    assert taken(budget, 100, 3 * WINDOW_US) == FREE


def test_a_share_of_nothing_means_no_retries():
    assert taken(RetryBudget(), 10, 0, percent=0) == 0


@given(st.lists(st.tuples(st.booleans(), st.integers(0, WINDOW_US // 4)), max_size=300), st.integers(1, 100))
def test_retries_never_pass_their_share_beyond_the_free_ones(steps, percent):
    budget, now_us, calls, retries = RetryBudget(), 0, [], []
    for is_call, later_us in steps:
        now_us += later_us
        if is_call:
            budget.called(now_us)
            calls.append(now_us)
        elif budget.take(percent, now_us):
            retries.append(now_us)
            since = (now_us // WINDOW_US - 1) * WINDOW_US
            recent = len([at for at in retries if at >= since])
            assert recent <= max(FREE, len([at for at in calls if at >= since]) * percent / 100)
