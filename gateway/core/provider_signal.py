"""What a provider's reply says about its limits: `retry-after` and the rate headers of OpenAI and of Anthropic.

Rules: whatever is not understood says nothing; no value pauses anybody for longer than it may (see congestion.py).
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

SIGNAL_US_MAX = 3_600_000_000
_AMOUNT_MAX = 10**12
_DIGITS = re.compile(r"[0-9]{1,12}", re.ASCII)
_DECIMAL = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?", re.ASCII)
_SPAN = re.compile(r"(?:([0-9]{1,6}(?:\.[0-9]{1,9})?)(ms|us|h|m|s))", re.ASCII)
_UNITS_US: Final = {"us": 1, "ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000}
_NAMES: Final = {
    "requests": (("x-ratelimit-{}-requests",), ("anthropic-ratelimit-requests-{}",)),
    "tokens": (
        ("x-ratelimit-{}-tokens",),
        (
            "anthropic-ratelimit-tokens-{}",
            "anthropic-ratelimit-input-tokens-{}",
            "anthropic-ratelimit-output-tokens-{}",
        ),
    ),
}


class Remaining(NamedTuple):
    """What a provider still takes of its limit, and the time until it is whole again."""

    left: int
    limit: int
    reset_us: int


class Signal(NamedTuple):
    """None = the reply says nothing about it."""

    requests: Remaining | None
    tokens: Remaining | None
    retry_after_us: int | None


NOTHING_SAID = Signal(None, None, None)


def signal_of(headers: Mapping[str, str], now_us: int) -> Signal:
    """`headers` in lower case; `now_us` = wall clock, for dates."""
    if not any("ratelimit" in name or name.startswith("retry-after") for name in headers):
        return NOTHING_SAID
    return Signal(
        _remaining(headers, "requests", now_us), _remaining(headers, "tokens", now_us), retry_after_us(headers, now_us)
    )


def retry_after_us(headers: Mapping[str, str], now_us: int) -> int | None:
    """`retry-after-ms`, or `retry-after` as seconds or as a date."""
    in_ms = headers.get("retry-after-ms", "").strip()
    if _DECIMAL.fullmatch(in_ms):
        return min(SIGNAL_US_MAX, round(float(in_ms) * 1000))
    text = headers.get("retry-after", "").strip()
    if _DECIMAL.fullmatch(text):
        return min(SIGNAL_US_MAX, round(float(text) * 1_000_000))
    return _until(text, now_us) if text else None


def _remaining(headers: Mapping[str, str], what: str, now_us: int) -> Remaining | None:
    """The scarcest of those that are told."""
    found = []
    for names in _NAMES[what]:
        for name in names:
            left = headers.get(name.format("remaining"), "").strip()
            if not _DIGITS.fullmatch(left):
                continue
            limit = headers.get(name.format("limit"), "").strip()
            reset_us = _reset_us(headers.get(name.format("reset"), "").strip(), now_us)
            if reset_us is not None:
                amount = min(_AMOUNT_MAX, int(left))
                whole = int(limit) if _DIGITS.fullmatch(limit) else 0
                found.append(Remaining(amount, max(amount, min(_AMOUNT_MAX, whole)), reset_us))
    return min(found, default=None)


def _reset_us(text: str, now_us: int) -> int | None:
    """`1s`, `6m0s`, `20ms`, plain seconds, or an instant."""
    if _DECIMAL.fullmatch(text):
        return min(SIGNAL_US_MAX, round(float(text) * 1_000_000))
    parts = _SPAN.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return min(SIGNAL_US_MAX, round(sum(float(number) * _UNITS_US[unit] for number, unit in parts)))
    return _until(text, now_us) if text else None


def _until(text: str, now_us: int) -> int | None:
    """The time until an instant in ISO 8601 or in HTTP's own form."""
    try:
        at = datetime.fromisoformat(text) if text[:1].isdigit() else parsedate_to_datetime(text)
        at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        return min(SIGNAL_US_MAX, max(0, round(at.timestamp() * 1_000_000) - now_us))
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
