"""The price book agrees with the library below it, prefers the operator's prices, and knows what it does not know."""

from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

import genai_prices
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.media import Media
from gateway.core.money import usd_per_mtok_to_picos
from gateway.core.pricing import Rates, bound, cost, flat_rates
from gateway.core.usage import Usage
from gateway.pricing.price_book import PriceBook, PriceOverride

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
BOOK = PriceBook()


def _us(at: datetime) -> int:
    return (at - EPOCH) // timedelta(microseconds=1)


def _rates(kind: str, model: str, *, base_url: str | None = None, at: datetime = NOW, book: PriceBook = BOOK) -> Rates:
    rates = book.rates_for(kind, base_url, model, _us(at))
    assert rates is not None
    return rates


# Kind, model and the name of the provider in the list.
LISTED = [
    ("openai", "gpt-6.1-sol", "openai"),
    ("openai", "gpt-6.1-sol-2026-09-01", "openai"),
    ("openai", "gpt-5-mini", "openai"),
    ("openai", "gpt-5-mini-2025-08-07", "openai"),
    ("openai", "gpt-4.1", "openai"),
    ("openai", "gpt-4o", "openai"),
    ("openai", "gpt-4o-mini", "openai"),
    ("openai", "o3", "openai"),
    ("openai", "text-embedding-3-small", "openai"),
    ("openai", "text-embedding-3-large", "openai"),
    ("anthropic", "claude-opus-5-5", "anthropic"),
    ("anthropic", "claude-haiku-5-5", "anthropic"),
    ("anthropic", "claude-sonnet-4-5", "anthropic"),
    ("gemini", "gemini-3.8-flash", "google"),
    ("gemini", "gemini-2.5-pro", "google"),
    ("gemini", "gemini-2.5-flash", "google"),
    ("azure_openai", "gpt-5-mini", "azure"),
    ("azure_openai", "gpt-4o", "azure"),
    ("bedrock", "anthropic.claude-opus-5-5", "aws"),
    ("bedrock", "eu.anthropic.claude-opus-5-5", "aws"),
    ("bedrock", "us.anthropic.claude-haiku-5-5", "aws"),
]
SERVICE_TIERS = [None, "default", "flex", "priority", "fast"]


def _by_the_library(model: str, provider_id: str, usage: Usage, service_tier: str | None, at: datetime) -> Decimal:
    """The exact price in micro-dollars."""
    calculated = genai_prices.calc_price(
        genai_prices.Usage(
            input_tokens=usage.input_tokens,
            cache_read_tokens=usage.cached_input_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            output_tokens=usage.output_tokens,
        ),
        model,
        provider_id=provider_id,
        genai_request_timestamp=at,
        price_context={"service_tier": service_tier, "speed": service_tier} if service_tier else None,
    )
    return calculated.total_price * 1_000_000


@pytest.mark.parametrize(("kind", "model", "provider_id"), LISTED)
@pytest.mark.parametrize("service_tier", SERVICE_TIERS)
def test_costs_equal_those_of_the_library_to_the_micro(
    kind: str, model: str, provider_id: str, service_tier: str | None
) -> None:
    rates = _rates(kind, model)
    for input_tokens in (1_000_000, 200_000, 200_001, 272_000, 272_001):
        # One meter at a time, so that each rounding stands alone.
        for usage in (
            Usage(input_tokens, 0, 0, 0, 0),
            Usage(input_tokens, input_tokens, 0, 0, 0),
            Usage(input_tokens, 0, input_tokens, 0, 0),
        ):
            exact = _by_the_library(model, provider_id, usage, service_tier, NOW)
            assert cost(usage, rates, service_tier).total_usd_micros == exact.to_integral_value(ROUND_HALF_UP)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(LISTED),
    st.tuples(*[st.integers(0, 400_000)] * 4),
    st.sampled_from(SERVICE_TIERS),
    st.integers(-400, 400),
)
def test_rule_06_mixed_costs_differ_from_the_library_by_the_roundings_only(
    listed: tuple[str, str, str], counts: tuple[int, int, int, int], service_tier: str | None, days: int
) -> None:
    kind, model, provider_id = listed
    plain, cached, written, output = counts
    usage = Usage(plain + cached + written, cached, written, output, 0)
    at = NOW + timedelta(days=days)
    rates = _rates(kind, model, at=at)
    bill = cost(usage, rates, service_tier)
    exact = _by_the_library(model, provider_id, usage, service_tier, at)
    assert abs(bill.total_usd_micros - exact) <= Decimal("0.5") * len(bill.lines)
    assert bill.total_usd_micros <= bound(usage.input_tokens, usage.output_tokens, rates)


@pytest.mark.parametrize("model", ["gemini-2.0-flash", "gemini-2.5-flash", "gemini-2.5-flash-lite"])
def test_sound_is_priced_apart_and_so_is_sound_from_a_cache(model: str) -> None:
    rates = _rates("gemini", model)
    for fresh, cached in ((1_000_000, 0), (0, 1_000_000)):
        usage = Usage(1_000_000, cached, 0, 0, 0, fresh, cached_audio_tokens=cached)
        listed = genai_prices.calc_price(
            genai_prices.Usage(
                input_tokens=1_000_000,
                input_audio_tokens=1_000_000,
                cache_read_tokens=cached,
                cache_audio_read_tokens=cached,
            ),
            model,
            provider_id="google",
        )
        assert cost(usage, rates).total_usd_micros == listed.total_price * 1_000_000
        assert cost(usage, rates).total_usd_micros <= bound(1_000_000, 0, rates)
    half = cost(Usage(1_000_000, 600_000, 0, 0, 0, cached_audio_tokens=400_000), rates)
    assert [(line.meter, line.quantity) for line in half.lines] == [
        ("input", 400_000),
        ("cached_input", 200_000),
        ("cached_audio_input", 400_000),
    ]


@pytest.mark.parametrize(
    ("kind", "model", "searches", "micros"),
    [
        ("anthropic", "claude-sonnet-4-5", 3, 30_000),
        ("openai", "gpt-5-mini", 3, 30_000),
        ("gemini", "gemini-2.5-flash", 3, 35_000),  # billed by the prompt that was grounded
        ("gemini", "gemini-3-flash-preview", 3, 42_000),  # billed by the search
    ],
)
def test_searches_have_the_fee_of_the_list(kind: str, model: str, searches: int, micros: int) -> None:
    media = Media(web_searches=searches)
    rates = _rates(kind, model)
    assert cost(Usage(0, 0, 0, 0, 0), rates, media=media).total_usd_micros == micros
    assert rates.media.bound(media) >= micros


@pytest.mark.parametrize(
    ("kind", "base_url", "same_as"),
    [
        ("openai_compatible", "https://api.openai.com/v1", ("openai", "gpt-5-mini")),
        ("openai", "https://relay.example.com/v1", ("openai", "gpt-5-mini")),
        ("openai", "https://acme.openai.azure.com/openai/v1", ("azure_openai", "gpt-5-mini")),
    ],
)
def test_the_host_decides_whose_price_it_is_and_the_kind_where_the_host_is_unknown(
    kind: str, base_url: str, same_as: tuple[str, str]
) -> None:
    assert _rates(kind, same_as[1], base_url=base_url) == _rates(*same_as)


@pytest.mark.parametrize(
    ("kind", "base_url", "model"),
    [
        ("openai_compatible", "http://127.0.0.1:9101/v1", "gpt-5-mini"),
        ("openai_compatible", None, "tiny"),
        ("simulated", None, "gpt-5-mini"),
        ("openai", None, "a-model-that-does-not-exist"),
        ("openai", None, ""),
        # Listed without a price.
        ("openai", None, "moderation"),
    ],
)
def test_an_unknown_price_is_none_and_never_zero(kind: str, base_url: str | None, model: str) -> None:
    assert BOOK.rates_for(kind, base_url, model, _us(NOW)) is None


def test_regional_names_have_the_regional_price() -> None:
    world, europe = (
        _rates("bedrock", "global.anthropic.claude-opus-5-5"),
        _rates("bedrock", "eu.anthropic.claude-opus-5-5"),
    )
    assert europe.standard.usual.input_picos * 10 == world.standard.usual.input_picos * 11


def test_the_source_names_the_list_and_its_version() -> None:
    assert _rates("openai", "gpt-5-mini").source == f"genai-prices {genai_prices.__version__}"


def test_a_fee_per_request_is_part_of_the_rates() -> None:
    rates = _rates("openai_compatible", "sonar-pro", base_url="https://api.perplexity.ai")
    fourteen_dollars_a_thousand_micros = 14_000
    assert rates.request_fee_usd_micros == fourteen_dollars_a_thousand_micros


def test_a_dated_price_changes_at_midnight_utc() -> None:
    new_year = datetime(2027, 1, 1, tzinfo=UTC)
    book = PriceBook()
    for _ in range(2):
        before = _rates("gemini", "gemini-3.8-flash", at=new_year - timedelta(microseconds=1), book=book)
        after = _rates("gemini", "gemini-3.8-flash", at=new_year, book=book)
        assert after.standard.usual.input_picos == 2 * before.standard.usual.input_picos


def test_an_off_peak_price_changes_within_the_day() -> None:
    base_url = "https://api.deepseek.com"
    for minute, dear in [(0, False), (29, False), (30, True), (16 * 60 + 29, True), (16 * 60 + 30, False)]:
        at = datetime(2026, 11, 24, tzinfo=UTC) + timedelta(minutes=minute)
        rates = _rates("openai_compatible", "deepseek-chat", base_url=base_url, at=at)
        usage = Usage(10**6, 0, 0, 0, 0)
        exact = _by_the_library("deepseek-chat", "deepseek", usage, None, at)
        assert cost(usage, rates).total_usd_micros == exact == (270_000 if dear else 135_000)


FIRST = flat_rates(usd_per_mtok_to_picos("0.1"), usd_per_mtok_to_picos("0.4"))
SECOND = flat_rates(usd_per_mtok_to_picos("0.2"), usd_per_mtok_to_picos("0.5"))


@pytest.mark.parametrize("model", ["tiny", "gpt-5-mini"])
def test_overrides_win_from_their_date_on(model: str) -> None:
    start, change = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 6, 1, 9, 30, tzinfo=UTC)
    # Written in any order.
    book = PriceBook([PriceOverride(model, SECOND, _us(change)), PriceOverride(model, FIRST, _us(start))])
    moment = timedelta(microseconds=1)
    listed = BOOK.rates_for("openai", None, model, _us(start - moment))
    for _ in range(2):
        assert book.rates_for("openai", None, model, _us(start - moment)) == listed
        for at, rates in [(start, FIRST), (change - moment, FIRST), (change, SECOND), (NOW, SECOND)]:
            found = _rates("openai", model, at=at, book=book)
            assert found.standard == rates.standard
            assert found.source == "override"


def test_an_override_holds_for_its_own_model_at_every_provider() -> None:
    book = PriceBook([PriceOverride("tiny", FIRST)])
    assert _rates("simulated", "tiny", book=book).standard == FIRST.standard
    assert _rates("openai_compatible", "tiny", base_url="http://127.0.0.1:1/v1", book=book).standard == FIRST.standard
    assert book.rates_for("simulated", None, "tiny2", _us(NOW)) is None


def test_an_override_to_zero_is_a_price() -> None:
    book = PriceBook([PriceOverride("gpt-5-mini", flat_rates(0, 0))])
    assert cost(Usage(10**6, 0, 0, 10**6, 0), _rates("openai", "gpt-5-mini", book=book)).total_usd_micros == 0


def test_what_is_kept_is_bounded_and_what_was_dropped_is_found_again() -> None:
    book = PriceBook(entries_max=3)
    models = [model for kind, model, _ in LISTED if kind == "openai"]
    first = [_rates("openai", model, book=book) for model in models]
    assert [_rates("openai", model, book=book) for model in models] == first
    kept = _rates("openai", models[-1], book=book)
    assert kept is first[-1] or kept == first[-1]
