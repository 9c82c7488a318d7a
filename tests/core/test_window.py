"""Windows: where they begin and end on real calendars, and that they tile time."""

from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.window import (
    END_OF_TIME_US,
    WindowInvalid,
    WindowKind,
    bounds,
    bucket,
    bucket_leaves_us,
    counted_buckets,
    parse,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
HOUR_US = 3_600_000_000

# Clocks that are set by an hour, by half an hour, at midnight, a minute past it, and once by a whole day.
ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",
    "America/Sao_Paulo",
    "America/Havana",
    "America/Santiago",
    "Africa/Cairo",
    "Asia/Beirut",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Antarctica/Troll",
]
CALENDAR = ["minute", "hour", "day", "week", "month"]


def _us(text: str) -> int:
    return (datetime.fromisoformat(text).astimezone(UTC) - EPOCH) // timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("window", "zone", "now", "start", "end"),
    [
        ("minute", "UTC", "2026-11-24T12:34:56.789+00:00", "2026-11-24T12:34+00:00", "2026-11-24T12:35+00:00"),
        ("hour", "UTC", "2026-11-24T12:00:00+00:00", "2026-11-24T12:00+00:00", "2026-11-24T13:00+00:00"),
        ("hour", "Asia/Kolkata", "2026-11-24T12:10:00+00:00", "2026-11-24T12:00+00:00", "2026-11-24T13:00+00:00"),
        ("day", "UTC", "2026-11-24T23:59:59.999999+00:00", "2026-11-24T00:00+00:00", "2026-11-25T00:00+00:00"),
        ("day", "Asia/Kolkata", "2026-11-24T18:30+00:00", "2026-11-25T00:00+05:30", "2026-11-26T00:00+05:30"),
        # Days of 23 and of 25 hours.
        ("day", "Europe/Berlin", "2026-03-29T12:00+02:00", "2026-03-29T00:00+01:00", "2026-03-30T00:00+02:00"),
        ("day", "Europe/Berlin", "2026-10-25T02:30+01:00", "2026-10-25T00:00+02:00", "2026-10-26T00:00+01:00"),
        # Midnight does not exist: the day begins at one o'clock.
        ("day", "Africa/Cairo", "2026-04-24T05:00+03:00", "2026-04-24T01:00+03:00", "2026-04-25T00:00+03:00"),
        ("day", "Africa/Cairo", "2026-04-23T23:59+02:00", "2026-04-23T00:00+02:00", "2026-04-24T00:00+02:00"),
        # Midnight comes twice: the day begins with the first.
        ("day", "America/Havana", "2026-11-01T00:30-05:00", "2026-11-01T00:00-04:00", "2026-11-02T00:00-05:00"),
        # The clock shows 23:30 of the day before once more, after the new day has begun.
        ("day", "America/St_Johns", "2010-11-06T23:30-03:30", "2010-11-07T00:00-02:30", "2010-11-08T00:00-03:30"),
        # A date that never was.
        ("day", "Pacific/Apia", "2011-12-29T23:00-10:00", "2011-12-29T00:00-10:00", "2011-12-30T00:00-10:00"),
        ("day", "Pacific/Apia", "2011-12-31T01:00+14:00", "2011-12-31T00:00+14:00", "2012-01-01T00:00+14:00"),
        ("day", "UTC", "2028-02-29T10:00+00:00", "2028-02-29T00:00+00:00", "2028-03-01T00:00+00:00"),
        ("week", "UTC", "2026-11-22T23:59+00:00", "2026-11-16T00:00+00:00", "2026-11-23T00:00+00:00"),
        ("week", "UTC", "2026-11-23T00:00+00:00", "2026-11-23T00:00+00:00", "2026-11-30T00:00+00:00"),
        ("week", "Europe/Berlin", "2026-10-25T23:59+01:00", "2026-10-19T00:00+02:00", "2026-10-26T00:00+01:00"),
        ("week", "UTC", "2026-12-31T12:00+00:00", "2026-12-28T00:00+00:00", "2027-01-04T00:00+00:00"),
        ("month", "UTC", "2027-02-28T23:00+00:00", "2027-02-01T00:00+00:00", "2027-03-01T00:00+00:00"),
        ("month", "UTC", "2028-02-29T23:00+00:00", "2028-02-01T00:00+00:00", "2028-03-01T00:00+00:00"),
        ("month", "UTC", "2026-12-31T23:59+00:00", "2026-12-01T00:00+00:00", "2027-01-01T00:00+00:00"),
        ("month", "Europe/Berlin", "2026-03-31T23:59+02:00", "2026-03-01T00:00+01:00", "2026-04-01T00:00+02:00"),
        ("month", "Europe/Berlin", "2026-03-31T22:00+00:00", "2026-04-01T00:00+02:00", "2026-05-01T00:00+02:00"),
    ],
)
def test_rule_26_bounds(window: str, zone: str, now: str, start: str, end: str) -> None:
    assert bounds(parse(window), ZoneInfo(zone), _us(now)) == (_us(start), _us(end))


@pytest.mark.parametrize("text", ["session", "total"])
def test_a_window_without_an_end(text: str) -> None:
    assert bounds(parse(text), UTC, _us("2026-11-24T00:00+00:00")) == (0, END_OF_TIME_US)


@pytest.mark.parametrize(
    ("text", "kind", "length_us"),
    [
        ("day", WindowKind.DAY, 0),
        ("total", WindowKind.TOTAL, 0),
        ("1m", WindowKind.ROLLING, HOUR_US // 60),
        ("5h", WindowKind.ROLLING, 5 * HOUR_US),
        ("366d", WindowKind.ROLLING, 366 * 24 * HOUR_US),
    ],
)
def test_parse(text: str, kind: WindowKind, length_us: int) -> None:
    window = parse(text)
    assert (window.kind, window.text, window.length_us) == (kind, text, length_us)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rolling",
        "Day",
        "0h",
        "05h",
        "-1h",
        "1.5h",
        "5",
        "h",
        "5 h",
        "5s",
        "5w",
        "367d",
        "9999999m",
        "\u0665h",
        "5h\n",
    ],
)
def test_what_names_no_window_is_refused(text: str) -> None:
    with pytest.raises(WindowInvalid):
        parse(text)


moments = st.integers(_us("2000-01-01T00:00+00:00"), _us("2037-12-01T00:00+00:00"))


@given(st.sampled_from(CALENDAR), st.sampled_from(ZONES), moments)
@example("day", "America/St_Johns", _us("2010-11-06T23:30-03:30"))
@example("day", "Pacific/Apia", _us("2011-12-30T10:00+00:00"))
def test_rule_26_now_is_inside_and_windows_adjoin(text: str, zone: str, now_us: int) -> None:
    window, timezone = parse(text), ZoneInfo(zone)
    start_us, end_us = bounds(window, timezone, now_us)
    assert start_us <= now_us < end_us
    assert bounds(window, timezone, start_us) == (start_us, end_us)
    assert bounds(window, timezone, end_us - 1) == (start_us, end_us)
    assert bounds(window, timezone, end_us)[0] == end_us
    assert bounds(window, timezone, start_us - 1)[1] == start_us


@cache
def _clock_changes(zone: str, year: int) -> list[int]:
    """The hours of a year in which the zone's offset changes."""
    timezone = ZoneInfo(zone)
    hours = [datetime(year, 1, 1, tzinfo=UTC) + timedelta(hours=hour) for hour in range(366 * 24)]
    offsets = [(hour, hour.astimezone(timezone).utcoffset()) for hour in hours]
    return [(later - EPOCH) // timedelta(microseconds=1) for (_, a), (later, b) in pairwise(offsets) if a != b]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("text", ["day", "week", "month"])
def test_rule_26_windows_tile_the_days_round_a_clock_change(zone: str, text: str) -> None:
    window, timezone = parse(text), ZoneInfo(zone)
    changes = [change for year in (2010, 2011, 2026) for change in _clock_changes(zone, year)] or [
        _us("2026-03-01T00:00Z")
    ]
    for change_us in changes:
        spans = {bounds(window, timezone, change_us + minutes * 60_000_000) for minutes in range(-3000, 3000, 10)}
        for (_, end_us), (start_us, _) in pairwise(sorted(spans)):
            assert end_us == start_us


@given(st.sampled_from(ZONES), moments)
def test_a_window_begins_on_the_first_of_a_month_and_on_a_monday(zone: str, now_us: int) -> None:
    timezone = ZoneInfo(zone)
    starts = {
        text: EPOCH + timedelta(microseconds=bounds(parse(text), timezone, now_us)[0]) for text in ("week", "month")
    }
    days = {text: start.astimezone(timezone).date() for text, start in starts.items()}
    assert days["week"].weekday() == 0
    assert days["month"].day == 1


rolling = st.builds(lambda n, unit: parse(f"{n}{unit}"), st.integers(1, 300), st.sampled_from("mhd"))


@given(rolling, moments, st.integers(0, 400 * 24 * HOUR_US))
def test_rule_26_a_rolling_bucket_counts_until_it_is_wholly_outside(window, held_us: int, later_us: int) -> None:
    now_us = held_us + later_us
    number = bucket(window, held_us)
    first, last = counted_buckets(window, now_us)
    assert last - first == 60
    counts = first <= number <= last
    assert counts == (now_us < bucket_leaves_us(window, number))
    # What was held within the window always counts; what left it counts for at most one bucket longer.
    if later_us <= window.length_us:
        assert counts
    if later_us >= window.length_us + window.bucket_us:
        assert not counts
    start_us, end_us = bounds(window, UTC, now_us)
    assert start_us <= now_us - window.length_us
    assert now_us < end_us


def test_rule_26_a_rolling_window_has_sixty_buckets() -> None:
    window = parse("5h")
    assert window.bucket_us * 60 == window.length_us == 5 * HOUR_US
    assert window.bucket_us == 5 * 60_000_000
    at_us = _us("2026-11-24T12:03+00:00")
    assert bucket_leaves_us(window, bucket(window, at_us)) == _us("2026-11-24T17:05+00:00")
    assert bounds(window, BERLIN, at_us) == (_us("2026-11-24T07:00+00:00"), _us("2026-11-24T12:05+00:00"))
