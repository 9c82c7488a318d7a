"""The circuit breaker of a deployment, on a clock moved by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.breaker import REST_US_MAX, Breaker, BreakerRules, BreakerState

RULES = BreakerRules(failures=3, pause_us=5_000_000, pause_us_max=20_000_000)
S = 1_000_000


def opened(at_us: int = 0) -> Breaker:
    breaker = Breaker()
    for _ in range(RULES.failures):
        assert breaker.admit(RULES, at_us)
        breaker.failed(RULES, at_us)
    return breaker


def test_failures_in_a_row_open_it_and_a_success_between_them_does_not():
    breaker = Breaker()
    for _ in range(10):
        breaker.failed(RULES, 0)
        breaker.failed(RULES, 0)
        breaker.succeeded()
    assert breaker.state is BreakerState.CLOSED
    assert opened().state is BreakerState.OPEN


def test_it_lets_nobody_through_during_the_pause_and_one_call_after_it():
    breaker = opened()
    assert not breaker.admit(RULES, 5 * S - 1)
    assert breaker.admit(RULES, 5 * S)
    assert breaker.state == "half_open"
    assert not breaker.admit(RULES, 5 * S)
    breaker.answered(RULES)
    assert breaker.state == "closed"
    assert breaker.admit(RULES, 5 * S)
    assert breaker.admit(RULES, 5 * S)


def test_a_probe_that_never_tells_is_followed_by_another():
    breaker = opened()
    assert breaker.admit(RULES, 5 * S)
    assert not breaker.admit(RULES, 10 * S - 1)
    assert breaker.admit(RULES, 10 * S)


def test_each_failed_probe_doubles_the_pause_up_to_its_bound_and_a_whole_answer_forgets_it():
    breaker, now_us = opened(), 0
    for pause_s in (5, 10, 20, 20):
        assert breaker.open_until_us == now_us + pause_s * S
        now_us += pause_s * S
        assert breaker.admit(RULES, now_us)
        breaker.failed(RULES, now_us)
    breaker.succeeded()
    for _ in range(RULES.failures):
        breaker.failed(RULES, now_us)
    assert breaker.open_until_us == now_us + 5 * S


def test_an_answer_that_breaks_off_after_a_probe_opens_it_again_at_once():
    breaker = opened()
    assert breaker.admit(RULES, 5 * S)
    breaker.answered(RULES)
    breaker.failed(RULES, 6 * S)
    assert breaker.state is BreakerState.OPEN
    assert breaker.open_until_us == 16 * S


def test_calls_that_were_under_way_do_not_lengthen_the_pause():
    breaker = opened()
    breaker.failed(RULES, 4 * S)
    assert breaker.open_until_us == 5 * S


@pytest.mark.parametrize(
    ("asked_s", "until_s"), [(1, 5), (30, 30), (3600, REST_US_MAX // S)], ids=["shorter", "longer", "absurd"]
)
def test_a_longer_pause_that_the_provider_asks_for_is_kept(asked_s, until_s):
    breaker = Breaker()
    for _ in range(RULES.failures):
        breaker.failed(RULES, 0, asked_s * S)
    assert breaker.open_until_us == until_s * S


def test_it_can_be_switched_off_also_while_it_is_open():
    never = BreakerRules(failures=0)
    breaker = Breaker()
    for _ in range(100):
        breaker.failed(never, 0)
    assert breaker.state is BreakerState.CLOSED
    assert opened().admit(never, 0)


@given(st.lists(st.tuples(st.sampled_from(["call", "fail", "succeed", "answer"]), st.integers(0, 3 * S))))
def test_between_two_probes_lies_at_least_the_shortest_pause(steps):
    breaker, now_us, probed_us = Breaker(), 0, None
    for what, later_us in steps:
        now_us += later_us
        if what == "call":
            was_open = breaker.state is not BreakerState.CLOSED
            if breaker.admit(RULES, now_us) and was_open:
                assert probed_us is None or now_us - probed_us >= RULES.pause_us
                probed_us = now_us
        elif what == "fail":
            breaker.failed(RULES, now_us)
        elif what == "succeed":
            breaker.succeeded()
            probed_us = None
        else:
            breaker.answered(RULES)
            probed_us = None
