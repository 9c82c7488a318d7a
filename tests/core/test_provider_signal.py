"""What replies say about a provider's limits, in the spellings of OpenAI and Anthropic, and what says nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.provider_signal import SIGNAL_US_MAX, Remaining, Signal, signal_of

NOW_US = 1_795_521_600_000_000  # 2026-11-24T12:00:00Z


@pytest.mark.parametrize(
    ("value", "after_us"),
    [
        ("2", 2_000_000),
        ("0.25", 250_000),
        ("0", 0),
        ("Tue, 24 Nov 2026 12:00:07 GMT", 7_000_000),
        ("Tue, 24 Nov 2026 11:00:00 GMT", 0),
        ("Wed, 21 Oct 2099 07:28:00 GMT", SIGNAL_US_MAX),
        ("99999999", SIGNAL_US_MAX),
        ("-3", None),
        ("soon", None),
        ("NaN", None),
        ("1e3", None),
        ("", None),
    ],
)
def test_retry_after(value: str, after_us: int | None) -> None:
    assert signal_of({"retry-after": value}, NOW_US).retry_after_us == after_us


def test_milliseconds_are_more_exact() -> None:
    assert signal_of({"retry-after": "1", "retry-after-ms": "120"}, NOW_US).retry_after_us == 120_000


@pytest.mark.parametrize(
    ("reset", "reset_us"),
    [("1s", 1_000_000), ("6m0s", 360_000_000), ("20ms", 20_000), ("1m2.5s", 62_500_000), ("17", 17_000_000)],
)
def test_the_headers_of_openai(reset: str, reset_us: int) -> None:
    headers = {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": reset,
        "x-ratelimit-limit-tokens": "150000",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": reset,
    }
    said = Signal(Remaining(59, 60, reset_us), Remaining(0, 150_000, reset_us), None)
    assert signal_of(headers, NOW_US) == said


def test_the_headers_of_anthropic_and_the_scarcest_of_its_token_limits() -> None:
    headers = {
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "49",
        "anthropic-ratelimit-requests-reset": "2026-11-24T12:00:01Z",
        "anthropic-ratelimit-input-tokens-limit": "40000",
        "anthropic-ratelimit-input-tokens-remaining": "30000",
        "anthropic-ratelimit-input-tokens-reset": "2026-11-24T12:00:10Z",
        "anthropic-ratelimit-output-tokens-limit": "8000",
        "anthropic-ratelimit-output-tokens-remaining": "7000",
        "anthropic-ratelimit-output-tokens-reset": "2026-11-24T12:00:05+00:00",
    }
    said = Signal(Remaining(49, 50, 1_000_000), Remaining(7_000, 8_000, 5_000_000), None)
    assert signal_of(headers, NOW_US) == said


@pytest.mark.parametrize(
    "headers",
    [
        {"x-ratelimit-remaining-requests": "99"},
        {"x-ratelimit-remaining-requests": "many", "x-ratelimit-reset-requests": "1s"},
        {"x-ratelimit-remaining-requests": "-1", "x-ratelimit-reset-requests": "1s"},
        {"x-ratelimit-remaining-tokens": "5", "x-ratelimit-reset-tokens": "1 fortnight"},
        {"content-type": "application/json"},
    ],
)
def test_what_is_not_understood_says_nothing(headers: dict[str, str]) -> None:
    assert signal_of(headers, NOW_US) == Signal(None, None, None)


names = st.sampled_from(["retry-after", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens", "retry-after-ms"])


@given(st.dictionaries(names, st.text(max_size=30) | st.from_regex(r"[0-9]{1,3}(ms|s|m)", fullmatch=True)))
def test_nothing_that_a_provider_writes_breaks_it_or_stops_the_clock(headers: dict[str, str]) -> None:
    said = signal_of(headers, NOW_US)
    assert said.retry_after_us is None or 0 <= said.retry_after_us <= SIGNAL_US_MAX
    assert said.tokens is None or 0 <= said.tokens.reset_us <= SIGNAL_US_MAX
