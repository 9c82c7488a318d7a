"""Cuts a span of time into parts that rollups answer and edges that only the calls themselves answer."""

from dataclasses import dataclass
from enum import StrEnum

QUARTER_US = 900 * 1_000_000
DAY_US = 86_400 * 1_000_000
FOREVER_US = 2**63 - 1


class Source(StrEnum):
    DAYS = "days"
    QUARTERS = "quarters"
    CALLS = "calls"


@dataclass(frozen=True, slots=True)
class Span:
    """[start, end) in microseconds, and the table that answers it exactly."""

    source: Source
    start_us: int
    end_us: int


def spans(start_us: int | None, end_us: int | None, bucket_us: int | None = None) -> list[Span]:
    """Parts without gap or overlap. With `bucket_us` every part can be split into buckets of that length."""
    first = 0 if start_us is None else start_us
    last = FOREVER_US if end_us is None else end_us
    if bucket_us is not None and bucket_us % QUARTER_US:
        return _present([Span(Source.CALLS, first, last)])
    quarters = _inner(first, last, QUARTER_US)
    if quarters is None:
        return _present([Span(Source.CALLS, first, last)])
    days = _inner(*quarters, DAY_US) if bucket_us is None or bucket_us % DAY_US == 0 else None
    middle = [Span(Source.QUARTERS, *quarters)]
    if days is not None:
        middle = [
            Span(Source.QUARTERS, quarters[0], days[0]),
            Span(Source.DAYS, *days),
            Span(Source.QUARTERS, days[1], quarters[1]),
        ]
    return _present([Span(Source.CALLS, first, quarters[0]), *middle, Span(Source.CALLS, quarters[1], last)])


def _inner(start_us: int, end_us: int, grain_us: int) -> tuple[int, int] | None:
    """The longest span of whole grains inside, None where there is none."""
    first = -(-start_us // grain_us) * grain_us
    last = end_us if end_us == FOREVER_US else end_us // grain_us * grain_us
    return (first, last) if first < last else None


def _present(parts: list[Span]) -> list[Span]:
    return [part for part in parts if part.start_us < part.end_us]
