"""Tokens in place of keys: when they are fetched, by whom, how often, and what a failure does. A hand moves time."""

import asyncio
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.bearer_token import LIFETIME_S_MAX, Issued, rest_us, token_of
from gateway.core.upstream import TokenUnavailable
from gateway.upstream.token_source import FORCED_AGAIN_US, TokenSource

S = 1_000_000


@dataclass
class HandClock:
    at_us: int = 1_000 * S

    def now_us(self) -> int:
        return self.at_us

    def monotonic_ns(self) -> int:
        return self.at_us * 1000


class Issuer:
    """Gives `token-1`, `token-2` ... each for an hour; a fetch waits until `gate` is set."""

    def __init__(self) -> None:
        self.fetches = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: TokenUnavailable | None = None

    async def fetch(self) -> Issued:
        self.fetches += 1
        number = self.fetches
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return Issued(f"token-{number}", 3600)


@pytest.fixture
async def parts() -> tuple[HandClock, Issuer, TokenSource]:
    clock, issuer = HandClock(), Issuer()
    return clock, issuer, TokenSource(issuer.fetch, clock)


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_one_fetch_serves_all_who_wait_and_who_leaves_ends_nothing(parts):
    _, issuer, source = parts
    issuer.gate.clear()
    waiters = [asyncio.create_task(source.token()) for _ in range(50)]
    await turn()
    waiters[0].cancel()
    waiters[1].cancel()
    await turn()
    issuer.gate.set()
    found = await asyncio.gather(*waiters, return_exceptions=True)
    assert [isinstance(each, asyncio.CancelledError) for each in found[:2]] == [True, True]
    assert set(found[2:]) == {"token-1"}
    assert issuer.fetches == 1


async def test_a_token_is_kept_and_renewed_ahead_without_anybody_waiting(parts):
    clock, issuer, source = parts
    assert await source.token() == "token-1"
    clock.at_us += 3000 * S
    assert await source.token() == "token-1"
    assert issuer.fetches == 1
    clock.at_us += 300 * S
    issuer.gate.clear()
    assert [await source.token() for _ in range(10)] == ["token-1"] * 10
    await turn()
    assert issuer.fetches == 2
    issuer.gate.set()
    await turn()
    assert await source.token() == "token-2"
    assert source.values == ("token-1", "token-2")


async def test_a_renewal_that_fails_is_not_felt_while_the_token_lasts(parts):
    clock, issuer, source = parts
    await source.token()
    clock.at_us += 3400 * S
    issuer.failure = TokenUnavailable("away", refused=False)
    for _ in range(20):
        assert await source.token() == "token-1"
        await turn()
    assert issuer.fetches == 2, "it rests after a failure"
    assert source.resting
    clock.at_us += 150 * S
    with pytest.raises(TokenUnavailable, match="away"):
        await source.token()


@pytest.mark.parametrize("refused", [False, True])
async def test_after_a_failure_the_issuer_rests_and_callers_hear_it_at_once(parts, refused):
    clock, issuer, source = parts
    issuer.failure = TokenUnavailable("it says no", refused=refused)
    for _ in range(5):
        with pytest.raises(TokenUnavailable, match="it says no") as caught:
            await source.token()
        assert caught.value.refused is refused
    assert issuer.fetches == 1
    clock.at_us += rest_us(1, refused=refused)
    issuer.failure = None
    assert await source.token() == "token-2"
    assert not source.resting


async def test_a_refused_token_is_replaced_once(parts):
    clock, issuer, source = parts
    first = await source.token()
    assert await asyncio.gather(*(source.instead_of(first) for _ in range(10))) == ["token-2"] * 10
    assert issuer.fetches == 2
    assert await source.instead_of("token-2") is None, "it is not the token"
    assert issuer.fetches == 2
    clock.at_us += FORCED_AGAIN_US
    assert await source.instead_of("token-2") == "token-3"


async def test_where_no_other_token_is_had_the_refusal_stands(parts):
    _, issuer, source = parts
    first = await source.token()
    issuer.failure = TokenUnavailable("away", refused=False)
    assert await source.instead_of(first) is None


@given(st.floats(allow_nan=False), st.integers(0, 1 << 60))
def test_no_lifetime_makes_a_token_usable_beyond_it(lifetime_s, asked_us):
    token = token_of(Issued("t", lifetime_s), asked_us)
    assert asked_us <= token.renew_from_us <= token.usable_until_us
    assert token.usable_until_us <= asked_us + max(0.0, min(lifetime_s, LIFETIME_S_MAX)) * 1e6


def test_an_issuer_rests_longer_with_each_failure_up_to_a_bound():
    rests = [rest_us(failures, refused=False) // S for failures in range(1, 12)]
    assert rests == [1, 2, 4, 8, 16, 32, 32, 32, 32, 32, 32]
