import contextlib
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.money import format_usd
from gateway.settings.findings import Fault
from gateway.settings.quantities import (
    COUNT_MAX,
    DURATION_S_MAX,
    SIZE_MAX,
    format_duration_s,
    format_instant_us,
    format_size_bytes,
    format_usd_per_mtok,
    parse_count,
    parse_decimal,
    parse_duration_s,
    parse_instant_us,
    parse_size_bytes,
    parse_usd_micros,
    parse_usd_per_mtok_picos,
)


@given(st.integers(1, DURATION_S_MAX * 1000))
def test_every_duration_reads_back_as_what_was_written(milliseconds: int) -> None:
    assert parse_duration_s(format_duration_s(milliseconds / 1000)) == milliseconds / 1000


@given(st.integers(1, SIZE_MAX))
def test_every_size_reads_back_as_what_was_written(size: int) -> None:
    assert parse_size_bytes(format_size_bytes(size)) == size


@given(st.integers(0, 10**15))
def test_every_amount_of_money_reads_back_as_what_was_written(micros: int) -> None:
    assert parse_usd_micros(format_usd(micros)) == micros
    assert parse_usd_per_mtok_picos(format_usd_per_mtok(micros)) == micros


@given(st.integers(0, COUNT_MAX))
def test_underscores_between_digits_change_no_count(count: int) -> None:
    assert parse_count(f"{count:_}") == parse_count(str(count)) == count


@given(st.datetimes(datetime(1970, 1, 1), datetime(2999, 12, 31), timezones=st.just(UTC)))  # noqa: DTZ001 # hypothesis adds the zone
def test_every_moment_reads_back_as_what_was_written(moment: datetime) -> None:
    moment_us = parse_instant_us(moment.isoformat())
    assert parse_instant_us(format_instant_us(moment_us)) == moment_us


@given(st.text(max_size=12))
def test_any_text_is_a_value_or_a_fault_and_never_another_error(text: str) -> None:
    readers = (parse_duration_s, parse_size_bytes, parse_count, parse_decimal, parse_usd_micros, parse_instant_us)
    for reader in readers:
        with contextlib.suppress(Fault):
            reader(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30m", 1800), ("5s", 5), ("500ms", 0.5), ("8h", 28_800), ("400d", 34_560_000), ("2w", 1_209_600), ("1 h", 3600)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize(("text", "size"), [("32MiB", 33_554_432), ("32KiB", 32_768), ("32kB", 32_000), ("7B", 7)])
def test_sizes(text: str, size: int) -> None:
    assert parse_size_bytes(text) == size


@pytest.mark.parametrize(
    ("text", "micros"),
    [("0.1", 100_000), ("0.000001", 1), ("5", 5_000_000), ("1_000.50", 1_000_500_000), ("0.30", 300_000), ("0", 0)],
)
def test_money_is_exact(text: str, micros: int) -> None:
    assert parse_usd_micros(text) == micros


@pytest.mark.parametrize(
    ("text", "moment_us"),
    [
        ("2027-01-01", 1_798_761_600_000_000),
        ("2027-01-01T00:00:00Z", 1_798_761_600_000_000),
        ("2027-01-01T01:00:00+01:00", 1_798_761_600_000_000),
        ("2027-01-01T00:00:00.000001Z", 1_798_761_600_000_001),
    ],
)
def test_a_day_is_its_first_moment_in_utc(text: str, moment_us: int) -> None:
    assert parse_instant_us(text) == moment_us


@pytest.mark.parametrize(
    ("reader", "text", "hint"),
    [
        (parse_duration_s, "30", "write `30s`"),
        (parse_duration_s, "0s", ""),
        (parse_duration_s, "3651d", ""),
        (parse_duration_s, "-5s", "a number and one of ms, s, m, h, d, w: `30m`"),
        (parse_size_bytes, "32", "write `32B`"),
        (parse_size_bytes, "2048GiB", ""),
        (parse_count, "2M", "write `2_000_000`"),
        (parse_count, "200k", "write `200_000`"),
        (parse_count, "1,000", "write `1_000`"),
        (parse_count, "1e6", "write `1_000_000`"),
        (parse_count, "010", "write it without the zero"),
        (parse_count, "1.5", "digits, with `_` between them if you like: `2_000_000`"),
        (parse_count, "-1", ""),
        (parse_count, "٣", "digits, with `_` between them if you like: `2_000_000`"),
        (parse_count, "9" * 5000, ""),
        (parse_usd_micros, "0.0000001", "a micro-dollar is the smallest amount of money here"),
        (parse_usd_micros, "9999999999999", ""),
        (parse_usd_micros, "1e3", "plain digits and a decimal point: `0.25`"),
        (parse_usd_micros, ".inf", "plain digits and a decimal point: `0.25`"),
        (parse_instant_us, "2027-02-30", ""),
        (parse_instant_us, "2027-01-01T12:00", "write `2027-01-01T12:00Z` for UTC"),
        (parse_instant_us, "tomorrow", "write it like `2027-01-31` or `2027-01-31T12:00:00Z`"),
    ],
)
def test_what_cannot_be_read_says_what_to_write(reader, text: str, hint: str) -> None:
    with pytest.raises(Fault) as caught:
        reader(text)
    assert caught.value.flaws[0].hint == hint


def test_numbers_keep_their_digits() -> None:
    assert parse_decimal("0.1") == Decimal("0.1")
