"""Rule 6 where it matters: what a reserve holds in money covers every usage within the hold, top-ups included."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.catalog import PricedRates
from gateway.core.media import Media, MediaRates
from gateway.core.pricing import LongContext, Rates, Schedule, ServiceTier, TokenRates, cost
from gateway.core.sizing import money_for
from gateway.core.usage import Usage

picos = st.integers(0, 200_000_000)
token_rates = st.builds(TokenRates, picos, picos, picos, picos, picos, picos, st.none() | picos, st.none() | picos)
schedules = st.builds(
    Schedule,
    token_rates,
    st.lists(st.builds(LongContext, st.integers(1, 300_000), token_rates), max_size=2).map(
        lambda tiers: tuple(
            sorted({t.above_input_tokens: t for t in tiers}.values(), key=lambda t: t.above_input_tokens)
        )
    ),
)
rates = st.builds(
    Rates,
    schedules,
    st.lists(
        st.builds(ServiceTier, st.sampled_from(["flex", "priority"]), schedules), max_size=2, unique_by=lambda t: t.name
    ).map(tuple),
    st.integers(0, 5_000),
    media=st.builds(
        MediaRates,
        web_search_usd_micros=st.integers(0, 50_000),
        web_search_once=st.booleans(),
        file_search_usd_micros=st.integers(0, 50_000),
    ),
)


@given(rates=rates, data=st.data())
def test_rule_6_the_held_money_covers_every_usage_within_the_hold(rates: Rates, data: st.DataObject) -> None:
    priced = PricedRates(rates)
    requested = data.draw(st.sampled_from([None, frozenset({"default"}), frozenset({"flex"}), frozenset({"priority"})]))
    served = data.draw(st.sampled_from(sorted(requested) if requested else ["default", "flex", "priority"]))
    prompt_tokens = data.draw(st.integers(0, 400_000))
    slices = data.draw(st.lists(st.integers(0, 50_000), min_size=1, max_size=4))
    dearest = priced.output_picos(prompt_tokens, requested)
    sound_tokens = data.draw(st.integers(0, prompt_tokens))
    most = Media(
        web_searches=data.draw(st.integers(0, 9)),
        file_searches=data.draw(st.integers(0, 9)),
        sound_tokens=sound_tokens,
    )
    held = (
        priced.prompt_bound(prompt_tokens, requested)
        + priced.media_bound(most, prompt_tokens)
        + sum(money_for(tokens, dearest) for tokens in slices)
    )

    used = data.draw(st.integers(0, prompt_tokens))
    cached = data.draw(st.integers(0, used))
    written = data.draw(st.integers(0, used - cached))
    sound = data.draw(st.integers(0, min(sound_tokens, used - cached - written)))
    usage = Usage(
        used,
        cached,
        written,
        data.draw(st.integers(0, sum(slices))),
        0,
        sound,
        cache_write_long_tokens=data.draw(st.integers(0, written)),
        cached_audio_tokens=data.draw(st.integers(0, min(cached, sound_tokens - sound))),
    )
    done = Media(
        web_searches=data.draw(st.integers(0, most.web_searches)),
        file_searches=data.draw(st.integers(0, most.file_searches)),
    )
    charged = cost(usage, rates, served, done).total_usd_micros
    assert charged <= held


@pytest.mark.parametrize(("tokens", "picos", "micros"), [(0, 9, 0), (1, 1, 1), (1_000_000, 1, 1), (1_000_001, 1, 2)])
def test_rule_6_a_bound_is_rounded_up(tokens: int, picos: int, micros: int) -> None:
    assert money_for(tokens, picos) == micros
