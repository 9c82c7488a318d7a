"""Credentials take turns, and a refused one rests."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.credential_pool import INVALID_US, TOO_MANY_US, TOO_MANY_US_MAX, CredentialPool


def test_credentials_take_turns():
    pool = CredentialPool(3)
    assert [pool.pick(0, 0) for _ in range(6)] == [0, 1, 2, 0, 1, 2]


def test_one_that_was_refused_rests_and_comes_back():
    pool = CredentialPool(2)
    pool.too_many(0, None, 0)
    assert [pool.pick(TOO_MANY_US - 1, 0) for _ in range(3)] == [1, 1, 1]
    assert pool.resting(TOO_MANY_US - 1) == 1
    assert {pool.pick(TOO_MANY_US, 0) for _ in range(2)} == {0, 1}
    pool.invalid(1, TOO_MANY_US)
    assert {pool.pick(INVALID_US, 0) for _ in range(3)} == {0}


def test_no_provider_can_make_one_rest_for_ever():
    pool = CredentialPool(2)
    pool.too_many(0, 10**15, 0)
    assert pool.resting(TOO_MANY_US_MAX - 1) == 1
    assert pool.resting(TOO_MANY_US_MAX) == 0


def test_if_all_rest_a_new_call_gets_the_one_whose_rest_ends_first_and_no_second():
    pool = CredentialPool(3)
    pool.invalid(0, 0)
    pool.too_many(1, 5_000_000, 0)
    pool.too_many(2, 9_000_000, 0)
    assert pool.pick(0, 0) == 1
    assert pool.pick(0, 0b10) is None


@given(st.integers(1, 6), st.sets(st.integers(0, 5)), st.integers(0, 20))
def test_a_call_tries_each_credential_that_does_not_rest_once(count, resting, turns):
    pool = CredentialPool(count)
    for _ in range(turns):
        pool.pick(0, 0)
    for at in resting:
        if at < count:
            pool.too_many(at, None, 0)
    tried, seen = 0, []
    while (at := pool.pick(0, tried)) is not None:
        seen.append(at)
        tried |= 1 << at
    well = set(range(count)) - resting
    assert len(seen) == len(set(seen))
    assert set(seen) == well if well else len(seen) == 1
