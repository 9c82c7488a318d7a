"""Money as integers: amounts in micro-USD, rates in pico-USD a token.

Rule: no float is ever added, multiplied or rounded. What comes from outside becomes an exact integer, or an error.
1 USD per million tokens is exactly 1,000,000 pico-USD a token, so every published price is a whole number.
"""

from decimal import Decimal, InvalidOperation

MICROS_PER_USD = 1_000_000
PICOS_PER_MICRO = 1_000_000
PICOS_PER_TOKEN_PER_USD_PER_MTOK = 1_000_000

# A trillion dollars. Anything above is a slip of the pen, and its micros still fit a signed 64-bit column.
USD_MAX = 10**12
# No sane literal is longer; it bounds the work on a hostile one.
_TEXT_CHARACTERS_MAX = 64


class MoneyInvalid(ValueError):
    """A text or number that is no exact, finite amount of money."""


def usd_to_micros(amount: str | int | float | Decimal) -> int:
    """Exact micro-USD. A float counts as the shortest decimal that reads back as it, which is what a YAML file said."""
    return _scaled(amount, MICROS_PER_USD, "a micro-dollar (6 decimals)")


def usd_per_mtok_to_picos(rate: str | int | float | Decimal) -> int:
    """Exact pico-USD a token for a price in USD per million tokens; at most 6 decimals, not negative."""
    picos = _scaled(rate, PICOS_PER_TOKEN_PER_USD_PER_MTOK, "a pico-dollar a token (6 decimals)")
    if picos < 0:
        raise MoneyInvalid("a price cannot be negative")
    return picos


def picos_to_micros(picos: int) -> int:
    """Rounded half up, for amounts that are not negative."""
    return (picos + PICOS_PER_MICRO // 2) // PICOS_PER_MICRO


def picos_to_micros_up(picos: int) -> int:
    """Rounded up, for bounds."""
    return -(-picos // PICOS_PER_MICRO)


def format_usd(micros: int) -> str:
    """`0.0123` style: as many decimals as the amount needs, at least two, never an exponent, no currency sign."""
    whole, fraction = divmod(abs(micros), MICROS_PER_USD)
    decimals = f"{fraction:06d}".rstrip("0").ljust(2, "0")
    return f"{'-' if micros < 0 else ''}{whole}.{decimals}"


def _scaled(amount: str | int | float | Decimal, factor: int, finest: str) -> int:
    value = _decimal(amount)
    if abs(value) > USD_MAX:
        raise MoneyInvalid("amount is out of range")
    numerator, denominator = value.as_integer_ratio()
    scaled, rest = divmod(numerator * factor, denominator)
    if rest:
        raise MoneyInvalid(f"amount is finer than {finest}")
    return scaled


def _decimal(amount: str | int | float | Decimal) -> Decimal:
    if isinstance(amount, bool):
        raise MoneyInvalid("amount is a truth value, not a number")
    text = str(amount).strip()
    if len(text) > _TEXT_CHARACTERS_MAX:
        raise MoneyInvalid("amount is too long")
    # Decimal reads digits of every script and underscores; a money amount in a config file is plain ASCII.
    if not text.isascii() or "_" in text:
        raise MoneyInvalid("amount is not a plain decimal number")
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise MoneyInvalid("amount is not a plain decimal number") from None
    if not value.is_finite():
        raise MoneyInvalid("amount is not finite")
    if value and value.adjusted() < -_TEXT_CHARACTERS_MAX:
        # A tiny exponent such as 1e-999999 would make as_integer_ratio build a huge integer.
        raise MoneyInvalid("amount is finer than money can be")
    return value
