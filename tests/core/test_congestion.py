"""How a provider's refusals and figures steer what may be sent to a model, and how it recovers."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.capacity import CapacityRules
from gateway.core.congestion import PAUSE_US_MAX, Gate
from gateway.core.fair_share import FairShare
from gateway.core.provider_signal import Remaining, Signal

SECOND_US = 1_000_000


def in_flight(calls: int) -> Gate:
    gate = Gate("m")
    for _ in range(calls):
        gate.took(1)
    return gate


def test_a_refusal_halves_what_may_be_in_flight_once_for_all_calls_under_way() -> None:
    gate = in_flight(64)
    for _ in range(10):
        gate.refused(100, 2 * SECOND_US, 64, 200)
    assert gate.in_flight_max == 32
    gate.refused(201, 2 * SECOND_US, 64, 300)
    assert gate.in_flight_max == 16, "a call that was let in afterwards counts anew"


def test_a_pause_lasts_as_long_as_the_provider_asks_but_never_for_ever() -> None:
    gate = in_flight(1)
    gate.refused(0, 2 * SECOND_US, None, 1000)
    assert gate.opens_at_us(1, 1000) == 1000 + 2 * SECOND_US
    gate.refused(0, 3600 * SECOND_US, None, 1000)
    assert gate.opens_at_us(1, 1000) == 1000 + PAUSE_US_MAX


def test_pauses_that_a_provider_does_not_name_grow_until_a_call_succeeds() -> None:
    gate, now_us, pauses = in_flight(8), 0, []
    for _ in range(4):
        gate.refused(now_us, None, 8, now_us + 1)
        now_us = gate.opens_at_us(1, now_us)
        pauses.append(now_us)
    assert [later - sooner for sooner, later in zip([0, *pauses], pauses, strict=False)] == [
        500_001, 1_000_001, 2_000_001, 4_000_001,
    ]  # fmt: skip
    gate.succeeded()
    gate.refused(now_us, None, 8, now_us)
    assert gate.opens_at_us(1, now_us) - now_us == SECOND_US // 2


def test_successes_raise_it_step_by_step_until_it_is_as_before() -> None:
    gate = in_flight(64)
    gate.refused(1, 0, 64, 2)
    seen = []
    for _ in range(2000):
        gate.succeeded()
        seen.append(gate.in_flight_max)
        if gate.in_flight_max is None:
            break
    assert seen[-1] is None
    assert seen[:-1] == sorted(seen[:-1], key=lambda bound: bound or 0)
    assert 8 * 4 <= len(seen) <= 64 * 16, "some rounds of calls, not one and not for ever"


def test_a_minute_without_a_refusal_forgets_it() -> None:
    gate = in_flight(2)
    gate.refused(1, 0, 64, 2)
    assert gate.full(SECOND_US)
    assert not gate.full(62 * SECOND_US)


def test_what_the_provider_says_is_left_is_not_passed_and_fills_up_again() -> None:
    gate = Gate("m")
    gate.heard(Signal(Remaining(2, 60, 58 * SECOND_US), None, None), 0)
    for _ in range(2):
        assert gate.opens_at_us(1, 0) <= 0
        gate.took(1)
    assert gate.opens_at_us(1, 0) == 58 * SECOND_US // 60
    gate.heard(Signal(None, Remaining(100, 1000, SECOND_US), None), 0)
    assert gate.opens_at_us(1000, 2 * SECOND_US) <= 2 * SECOND_US
    gate.heard(Signal(None, Remaining(0, 0, 3 * SECOND_US), None), 0)
    assert gate.opens_at_us(1, 0) == 3 * SECOND_US, "a limit that is not named fills up at once"


def test_one_model_of_a_provider_that_is_paused_does_not_hold_up_another() -> None:
    fair = FairShare(CapacityRules("p", 4))
    paused = fair.enter("others", "busy", "key", 1, 0)
    assert fair.admit(0) is paused
    paused.gate.refused(0, 5 * SECOND_US, 4, 1)
    fair.leave(paused, 0, 1)
    waiting = fair.enter("others", "busy", "key", 1, 2)
    free = fair.enter("others", "free", "key", 1, 3)
    assert fair.admit(3) is free
    assert fair.admit(3) is None
    assert fair.opens_at_us(3) == 1 + 5 * SECOND_US
    assert fair.wait_us(waiting, 3) >= 5 * SECOND_US - 2
    assert fair.bottleneck(waiting, 3).resource == "upstream"
    assert fair.admit(1 + 5 * SECOND_US) is waiting


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 10 * SECOND_US), st.integers(1, 70)), max_size=60))
def test_it_never_closes_for_good(steps: list[tuple[bool, int, int]]) -> None:
    gate, now_us = Gate("m"), 0
    for success, pause_us, calls in steps:
        now_us += pause_us
        gate.in_flight = calls
        if success:
            gate.succeeded()
        else:
            gate.refused(now_us, pause_us, 64, now_us)
        assert gate.in_flight_max is None or 1 <= gate.in_flight_max <= 64
    gate.in_flight = 0
    assert not gate.full(now_us)
    assert gate.opens_at_us(1, now_us) <= now_us + PAUSE_US_MAX
