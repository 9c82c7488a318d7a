"""The only ways in which a hold ends, and what the call of a dead owner is booked with."""

from dataclasses import astuple, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.ledger import ENDINGS, Amounts, CallState, OpenHold, orphan_posting

HOLD = OpenHold(
    placed_at_us=1,
    call_id="call_1",
    session_id="ses_1",
    attribution_id="a",
    held=Amounts(input_tokens=1_000, output_tokens=400, usd_micros=1_400, requests=1),
    prompt_tokens=1_000,
    prompt_usd_micros=1_000,
    usual_output_tokens=100,
    stream=False,
    sliced=False,
)


@pytest.mark.parametrize(
    ("hold", "output", "usd_micros"),
    [
        (HOLD, 100, 1_100),  # the session's usual output
        (replace(HOLD, usual_output_tokens=0), 0, 1_000),
        (replace(HOLD, usual_output_tokens=9_999), 400, 1_400),  # at most its hold
        (replace(HOLD, stream=True, sliced=True), 400, 1_400),  # the slices that were topped up
        (replace(HOLD, usual_output_tokens=1, prompt_usd_micros=1_399), 1, 1_400),  # rounded up
    ],
)
def test_rule_8_an_orphan_is_booked_as_sent(hold: OpenHold, output: int, usd_micros: int) -> None:
    posted = orphan_posting(hold)
    assert (posted.input_tokens, posted.output_tokens, posted.usd_micros) == (1_000, output, usd_micros)
    assert (posted.requests, posted.tool_calls) == (1, 0)


def test_rule_8_a_tool_call_is_booked_with_its_price() -> None:
    held = Amounts(usd_micros=500, requests=1, tool_calls=1)
    hold = replace(HOLD, held=held, prompt_tokens=0, prompt_usd_micros=500, usual_output_tokens=0)
    assert orphan_posting(hold) == held


@given(
    prompt=st.integers(0, 10**6),
    output=st.integers(0, 10**6),
    prompt_usd=st.integers(0, 10**9),
    output_usd=st.integers(0, 10**9),
    usual=st.integers(0, 10**6),
    sliced=st.booleans(),
)
def test_rule_8_never_more_than_the_hold(
    prompt: int, output: int, prompt_usd: int, output_usd: int, usual: int, *, sliced: bool
) -> None:
    held = Amounts(prompt, output, 0, prompt_usd + output_usd, 1)
    hold = replace(
        HOLD,
        held=held,
        prompt_tokens=prompt,
        prompt_usd_micros=prompt_usd,
        usual_output_tokens=usual,
        stream=sliced,
        sliced=sliced,
    )
    posted = orphan_posting(hold)
    assert all(0 <= part <= whole for part, whole in zip(astuple(posted), astuple(held), strict=True))
    if posted.output_tokens == output:
        assert posted.usd_micros == held.usd_micros


def test_a_hold_ends_once() -> None:
    assert ENDINGS[CallState.HELD] == {CallState.SETTLED, CallState.VOIDED, CallState.EXPIRED}
    assert all(not ENDINGS[state] for state in CallState if state is not CallState.HELD)


@given(st.lists(st.builds(Amounts, *[st.integers(-9, 9)] * 6), max_size=5))
def test_amounts_add_up(each: list[Amounts]) -> None:
    total = Amounts()
    for amounts in each:
        total = total.plus(amounts)
    assert astuple(total) == tuple(map(sum, zip(*map(astuple, each), strict=True))) if each else total == Amounts()
