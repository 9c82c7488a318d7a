"""Money: exact in, exact out."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.money import (
    USD_MAX,
    MoneyInvalid,
    format_usd,
    picos_to_micros,
    picos_to_micros_up,
    usd_per_mtok_to_picos,
    usd_to_micros,
)


@pytest.mark.parametrize(
    ("amount", "micros"),
    [
        ("5", 5_000_000),
        ("0.000001", 1),
        (" 0.10 ", 100_000),
        ("1e-6", 1),
        ("1E2", 100_000_000),
        ("-3.5", -3_500_000),
        ("0.1000000000", 100_000),
        (0.1, 100_000),
        (0.3, 300_000),
        (1e-06, 1),
        (20, 20_000_000),
        (0, 0),
        (Decimal("19.999999"), 19_999_999),
        (USD_MAX, USD_MAX * 1_000_000),
    ],
)
def test_amounts_become_exact_micros(amount: str | int | float | Decimal, micros: int) -> None:
    assert usd_to_micros(amount) == micros


@pytest.mark.parametrize(
    "amount",
    [
        "0.0000001",
        0.1 + 0.2,
        Decimal(1) / 3,
        "",
        "five",
        "5 USD",
        "1_000",
        "\u0665",
        "nan",
        "Infinity",
        float("inf"),
        float("nan"),
        True,
        "1e-999999",
        "1e999999",
        USD_MAX + 1,
        "1" * 100,
        "0x10",
    ],
)
def test_what_is_no_exact_amount_is_refused(amount: str | int | float | Decimal) -> None:
    with pytest.raises(MoneyInvalid):
        usd_to_micros(amount)


@pytest.mark.parametrize(
    ("rate", "picos"),
    [("1", 1_000_000), ("0.10", 100_000), (0.075, 75_000), ("0.000001", 1), (0, 0), ("120", 120_000_000)],
)
def test_rates_become_exact_picos_a_token(rate: str | float, picos: int) -> None:
    assert usd_per_mtok_to_picos(rate) == picos


def test_a_rate_is_neither_negative_nor_finer_than_a_pico_dollar() -> None:
    for rate in ("-1", "0.0000001"):
        with pytest.raises(MoneyInvalid):
            usd_per_mtok_to_picos(rate)


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (0, "0.00"),
        (1, "0.000001"),
        (12_300, "0.0123"),
        (1_500_000, "1.50"),
        (20_000_000, "20.00"),
        (1_234_567, "1.234567"),
        (-500_000, "-0.50"),
        (10**18, "1000000000000.00"),
    ],
)
def test_format(micros: int, text: str) -> None:
    assert format_usd(micros) == text


@given(st.integers(min_value=-(10**18), max_value=10**18))
def test_what_is_printed_reads_back(micros: int) -> None:
    assert usd_to_micros(format_usd(micros)) == micros


@pytest.mark.parametrize(
    ("picos", "half_up", "up"),
    [(0, 0, 0), (1, 0, 1), (499_999, 0, 1), (500_000, 1, 1), (1_000_000, 1, 1), (1_500_000, 2, 2), (1_000_001, 1, 2)],
)
def test_rule_06_picos_round_half_up_to_a_micro(picos: int, half_up: int, up: int) -> None:
    assert picos_to_micros(picos) == half_up
    assert picos_to_micros_up(picos) == up
