"""Pricing: invoices worked out by hand, and a bound that no cost passes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.money import usd_per_mtok_to_picos
from gateway.core.pricing import (
    CostLine,
    LongContext,
    Rates,
    Schedule,
    ServiceTier,
    TokenRates,
    bound,
    cost,
    flat_rates,
)
from gateway.core.usage import Usage


def _rates(*usd_per_mtok: str) -> TokenRates:
    return TokenRates(*(usd_per_mtok_to_picos(rate) for rate in usd_per_mtok))


# Input, cached input, cache write, output, audio input, audio output in USD per million tokens.
SONNET = Rates(Schedule(_rates("3", "0.30", "3.75", "15", "3", "15")))
GEMINI_PRO = Rates(
    Schedule(
        _rates("1.25", "0.125", "1.25", "10", "1.25", "10"),
        (LongContext(200_000, _rates("2.50", "0.25", "2.50", "15", "2.50", "15")),),
    )
)
GPT_MINI = Rates(
    Schedule(_rates("0.25", "0.025", "0.25", "2", "0.25", "2")),
    (
        ServiceTier("flex", Schedule(_rates("0.125", "0.0125", "0.125", "1", "0.125", "1"))),
        ServiceTier("priority", Schedule(_rates("0.45", "0.045", "0.45", "3.6", "0.45", "3.6"))),
    ),
)
VOICE = Rates(Schedule(_rates("2.50", "2.50", "2.50", "10", "40", "80")))
SONAR = Rates(Schedule(_rates("1", "1", "1", "1", "1", "1")), request_fee_usd_micros=5_000)


@pytest.mark.parametrize(
    ("rates", "usage", "service_tier", "micros"),
    [
        # 10,000 new x 3 + 80,000 read x 0.30 + 10,000 written x 3.75 + 2,000 out x 15 dollars per million:
        # 30,000 + 24,000 + 37,500 + 30,000 micro-dollars.
        (SONNET, Usage(100_000, 80_000, 10_000, 2_000, 1_500), None, 121_500),
        # The last token below the threshold, and the first above: everything is repriced, not the excess.
        (GEMINI_PRO, Usage(200_000, 0, 0, 1_000, 0), None, 260_000),
        (GEMINI_PRO, Usage(200_001, 0, 0, 1_000, 0), None, 515_003),
        (GEMINI_PRO, Usage(300_000, 300_000, 0, 0, 0), None, 75_000),
        (GPT_MINI, Usage(1_000, 0, 0, 1_000, 0), None, 2_250),
        (GPT_MINI, Usage(1_000, 0, 0, 1_000, 0), "default", 2_250),
        (GPT_MINI, Usage(1_000, 0, 0, 1_000, 0), "flex", 1_125),
        (GPT_MINI, Usage(1_000, 0, 0, 1_000, 0), "priority", 4_050),
        (GPT_MINI, Usage(1_000, 0, 0, 1_000, 0), "scale", 2_250),
        # Text 500 x 2.50 + 200 x 10; audio 500 x 40 + 300 x 80.
        (VOICE, Usage(1_000, 0, 0, 500, 0, 500, 300), None, 1_250 + 20_000 + 2_000 + 24_000),
        (SONAR, Usage(100, 0, 0, 50, 0), None, 5_150),
        (SONAR, Usage(0, 0, 0, 0, 0), None, 5_000),
        (SONNET, Usage(0, 0, 0, 0, 0), None, 0),
        # Half a micro rounds up, once per meter: 1 x 0.25, 2 x 0.25 (two meters), 6 x 0.25 = 1.5.
        (GPT_MINI, Usage(1, 0, 0, 0, 0), None, 0),
        (GPT_MINI, Usage(2, 0, 0, 0, 0), None, 1),
        (GPT_MINI, Usage(4, 0, 2, 0, 0), None, 2),
        (GPT_MINI, Usage(6, 0, 0, 0, 0), None, 2),
    ],
)
def test_rule_06_an_invoice_by_hand(rates: Rates, usage: Usage, service_tier: str | None, micros: int) -> None:
    assert cost(usage, rates, service_tier).total_usd_micros == micros


def test_rule_06_one_line_a_meter_and_the_total_is_their_sum() -> None:
    bill = cost(Usage(10, 3, 2, 5, 4, 1, 1), VOICE)
    assert bill.lines == (
        CostLine("input", 4, 2_500_000, 10),
        CostLine("cached_input", 3, 2_500_000, 8),
        CostLine("cache_write", 2, 2_500_000, 5),
        CostLine("audio_input", 1, 40_000_000, 40),
        CostLine("output", 4, 10_000_000, 40),
        CostLine("audio_output", 1, 80_000_000, 80),
    )
    assert bill.total_usd_micros == 183
    assert cost(Usage(0, 0, 0, 0, 0), SONAR).lines == (CostLine("request", 1, 5_000_000_000, 5_000),)


@pytest.mark.parametrize(
    ("input_tokens", "output_tokens", "rates", "micros"),
    [
        # All input at the cache write rate; up to half a micro for each of four input and two output meters.
        (100_000, 2_000, SONNET, 375_000 + 30_000 + 3),
        (200_000, 1_000, GEMINI_PRO, 250_000 + 10_000 + 3),
        (200_001, 1_000, GEMINI_PRO, 500_002 + 15_000 + 3),
        (1_000, 1_000, GPT_MINI, 450 + 3_600 + 3),
        (0, 0, SONAR, 5_000),
        (0, 0, SONNET, 0),
        (10**6, 10**6, flat_rates(0, 0), 0),
    ],
)
def test_rule_06_the_bound_takes_the_dearest_rate(
    input_tokens: int, output_tokens: int, rates: Rates, micros: int
) -> None:
    assert bound(input_tokens, output_tokens, rates) == micros


def test_rule_06_the_bound_leaves_out_what_the_request_cannot_trigger() -> None:
    assert bound(1_000, 1_000, GPT_MINI, service_tiers=()) == 250 + 2_000 + 3
    assert bound(1_000, 1_000, GPT_MINI, service_tiers=("priority",)) == bound(1_000, 1_000, GPT_MINI)
    # A request for flex may still be served as standard.
    assert bound(1_000, 1_000, GPT_MINI, service_tiers=("flex",)) == 250 + 2_000 + 3
    assert bound(1_000, 1_000, VOICE, audio=False) < bound(1_000, 1_000, VOICE) // 5


def test_rates_that_make_no_sense_cannot_be_made() -> None:
    rates = _rates("1", "1", "1", "1", "1", "1")
    with pytest.raises(ValueError, match="rise"):
        Schedule(rates, (LongContext(200, rates), LongContext(100, rates)))
    with pytest.raises(ValueError, match="negative"):
        flat_rates(-1, 0)
    with pytest.raises(ValueError, match="negative"):
        flat_rates(0, 0, request_fee_usd_micros=-1)


picos = st.integers(0, 200_000_000) | st.sampled_from([0, 250_000, 500_000, 1_000_000])
token_rates = st.builds(TokenRates, picos, picos, picos, picos, picos, picos)
schedules = st.builds(
    Schedule,
    token_rates,
    st.dictionaries(st.integers(0, 3_000), token_rates, max_size=2).map(
        lambda tiers: tuple(LongContext(above, tiers[above]) for above in sorted(tiers))
    ),
)
all_rates = st.builds(
    Rates,
    schedules,
    st.dictionaries(st.sampled_from(["flex", "priority"]), schedules).map(
        lambda tiers: tuple(ServiceTier(name, schedule) for name, schedule in tiers.items())
    ),
    st.integers(0, 10_000),
)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    counts = st.integers(0, 2_000) | st.integers(0, 3)
    plain, cached, written, audio, output = (draw(counts) for _ in range(5))
    return Usage(
        input_tokens=plain + cached + written + audio,
        cached_input_tokens=cached,
        cache_write_tokens=written,
        output_tokens=output,
        reasoning_tokens=draw(st.integers(0, output)),
        audio_input_tokens=audio,
        audio_output_tokens=draw(st.integers(0, output)),
    )


@given(usages(), all_rates, st.sampled_from([None, "flex", "priority", "scale"]), st.integers(0, 2_000))
def test_rule_06_no_cost_passes_its_bound(usage: Usage, rates: Rates, service_tier: str | None, slack: int) -> None:
    input_max, output_max = usage.input_tokens + slack, usage.output_tokens + slack // 2
    billed = cost(usage, rates, service_tier).total_usd_micros
    assert billed <= bound(input_max, output_max, rates)
    assert billed <= bound(input_max, output_max, rates, service_tiers=[service_tier] if service_tier else [])
    if not usage.audio_input_tokens and not usage.audio_output_tokens:
        assert billed <= bound(input_max, output_max, rates, audio=False)


@given(all_rates, st.integers(0, 5_000), st.integers(0, 5_000), st.integers(0, 5_000))
def test_a_larger_request_never_has_a_smaller_bound(rates: Rates, tokens: int, more: int, output: int) -> None:
    assert (
        bound(tokens, output, rates) <= bound(tokens + more, output, rates) <= bound(tokens + more, output + 1, rates)
    )


@given(usages(), all_rates)
def test_a_cost_is_within_half_a_micro_a_line_of_the_exact_one(usage: Usage, rates: Rates) -> None:
    bill = cost(usage, rates)
    exact_picos = sum(line.quantity * line.rate_picos for line in bill.lines)
    assert abs(bill.total_usd_micros * 1_000_000 - exact_picos) <= 500_000 * len(bill.lines)
