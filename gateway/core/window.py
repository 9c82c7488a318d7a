"""The periods that limits and budgets span, as half-open spans [start, end) in microseconds UTC.

Rules: calendar windows follow each other without gap or overlap, also where a clock is set forward or back, where
midnight does not exist or comes twice, and where a date is left out. Minutes and hours are those of UTC in every zone.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum

ROLLING_BUCKETS = 60
ROLLING_DAYS_MAX = 366
END_OF_TIME_US = 2**63 - 1

_SECOND_US = 1_000_000
_UNITS_US: Mapping[str, int] = {"m": 60 * _SECOND_US, "h": 3_600 * _SECOND_US, "d": 86_400 * _SECOND_US}
_ROLLING = re.compile(r"([1-9][0-9]{0,5})([mhd])", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class WindowKind(StrEnum):
    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    ROLLING = "rolling"
    SESSION = "session"
    TOTAL = "total"


_NAMED = frozenset(kind.value for kind in WindowKind if kind is not WindowKind.ROLLING)
_ELAPSED_US: Mapping[WindowKind, int] = {WindowKind.MINUTE: _UNITS_US["m"], WindowKind.HOUR: _UNITS_US["h"]}


class WindowInvalid(ValueError):
    """A text that names no window."""


@dataclass(frozen=True, slots=True)
class Window:
    """`text` is how it is written; `length_us` is set for rolling windows only."""

    kind: WindowKind
    text: str
    length_us: int = 0

    @property
    def bucket_us(self) -> int:
        """A whole number, as every rolling window is a whole number of minutes."""
        return self.length_us // ROLLING_BUCKETS


def parse(text: str) -> Window:
    """The name of a kind but `rolling`, which is written as its length: `30m`, `5h`, `7d`. Raises WindowInvalid."""
    if text in _NAMED:
        return Window(WindowKind(text), text)
    match = _ROLLING.fullmatch(text)
    if match is None:
        raise WindowInvalid(
            "a window is minute, hour, day, week, month, session, total, or rolling such as 30m, 5h, 7d"
        )
    length_us = int(match[1]) * _UNITS_US[match[2]]
    if length_us > ROLLING_DAYS_MAX * _UNITS_US["d"]:
        raise WindowInvalid(f"a rolling window spans at most {ROLLING_DAYS_MAX} days")
    return Window(WindowKind.ROLLING, text, length_us)


def bounds(window: Window, timezone: tzinfo, now_us: int) -> tuple[int, int]:
    """The span that `now_us` is in. Of a rolling window: all buckets that count now, the current one to its end."""
    if window.kind is WindowKind.ROLLING:
        first, last = counted_buckets(window, now_us)
        return first * window.bucket_us, (last + 1) * window.bucket_us
    if window.kind in {WindowKind.SESSION, WindowKind.TOTAL}:
        return 0, END_OF_TIME_US
    if window.kind in _ELAPSED_US:
        start_us = now_us - now_us % _ELAPSED_US[window.kind]
        return start_us, start_us + _ELAPSED_US[window.kind]
    return _calendar(window.kind, timezone, now_us)


def bucket(window: Window, at_us: int) -> int:
    """The number of the bucket of a rolling window that a hold at this time goes into."""
    return at_us // window.bucket_us


def counted_buckets(window: Window, now_us: int) -> tuple[int, int]:
    """The first and the last bucket that count now. A bucket counts until all of it is outside, so there are 61."""
    return (now_us - window.length_us) // window.bucket_us, now_us // window.bucket_us


def bucket_leaves_us(window: Window, number: int) -> int:
    """When what was held in this bucket stops counting."""
    return (number + 1) * window.bucket_us + window.length_us


def _calendar(kind: WindowKind, timezone: tzinfo, now_us: int) -> tuple[int, int]:
    now = _EPOCH + timedelta(microseconds=now_us)
    first = _first_day(kind, now.astimezone(timezone).date())
    start_us = _midnight_us(first, timezone)
    # A clock set forward or back round midnight can show a date before it has begun here, or after it has ended.
    while now_us < start_us:
        first = _first_day(kind, first - timedelta(days=1))
        start_us = _midnight_us(first, timezone)
    following = _following(kind, first)
    end_us = _midnight_us(following, timezone)
    while end_us <= now_us:
        start_us = end_us
        following = _following(kind, following)
        end_us = _midnight_us(following, timezone)
    return start_us, end_us


def _first_day(kind: WindowKind, day: date) -> date:
    if kind is WindowKind.WEEK:
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if kind is WindowKind.MONTH else day


def _following(kind: WindowKind, first: date) -> date:
    if kind is WindowKind.MONTH:
        return (first + timedelta(days=31)).replace(day=1)
    return first + timedelta(days=7 if kind is WindowKind.WEEK else 1)


def _midnight_us(day: date, timezone: tzinfo) -> int:
    """The first midnight of this date; where the clocks skip it, the moment in which they do (PEP 495, fold=0)."""
    return (datetime.combine(day, time(), timezone) - _EPOCH) // _MICROSECOND
