"""Durations, sizes, counts, money and dates as people write them, and back.

Rules: exact, never through a float; a unit must be written where there is a choice; everything has an upper bound.
"""

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final

from gateway.core.money import USD_MAX, MoneyInvalid, format_usd, usd_per_mtok_to_picos, usd_to_micros
from gateway.settings.findings import Fault

COUNT_MAX = 10**15
DURATION_S_MAX = 10 * 365 * 86_400
SIZE_MAX = 2**40

_MILLISECONDS: Final = {
    "ms": 1,
    "s": 1000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 604_800_000,
}
_BYTES: Final = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_DURATION = re.compile(r"([0-9]{1,12})\s?(ms|s|m|h|d|w)", re.ASCII)
_SIZE = re.compile(r"([0-9]{1,15})\s?(B|KiB|MiB|GiB|kB|KB|MB|GB)", re.ASCII)
_COUNT = re.compile(r"[0-9]+(_[0-9]+)*", re.ASCII)
_DECIMAL = re.compile(r"[0-9]+(_[0-9]+)*(\.[0-9]+)?", re.ASCII)
_NEGATIVE = re.compile(r"-[0-9._]+", re.ASCII)
_PERCENT = re.compile(r"([0-9]{1,3})(?:\.([0-9]{1,2}))?\s?%", re.ASCII)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

DURATION_PATTERN = r"^[0-9]+ ?(ms|s|m|h|d|w)$"
SIZE_PATTERN = r"^[0-9]+ ?(B|KiB|MiB|GiB|kB|KB|MB|GB)$"
PERCENT_PATTERN = r"^[0-9]+(\.[0-9]{1,2})? ?%$"
DATE_PATTERN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
INSTANT_PATTERN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ][0-9:.]+([Zz]|[+-][0-9]{2}:[0-9]{2}))?$"


def parse_duration_s(text: str) -> float:
    """Seconds. `30m`, `5s`, `500ms`; above zero."""
    match = _DURATION.fullmatch(text)
    if match is None:
        hint = f"write `{text}s`" if _COUNT.fullmatch(text) else "a number and one of ms, s, m, h, d, w: `30m`"
        raise Fault("a duration needs a number and a unit", hint)
    milliseconds = int(match[1]) * _MILLISECONDS[match[2]]
    if not 0 < milliseconds <= DURATION_S_MAX * 1000:
        raise Fault("a duration is above zero and at most 3650d")
    return milliseconds / 1000


def format_duration_s(seconds: float) -> str:
    """The largest unit that says it in a whole number; whole milliseconds only."""
    milliseconds = round(seconds * 1000)
    for unit in ("d", "h", "m", "s"):
        if milliseconds % _MILLISECONDS[unit] == 0:
            return f"{milliseconds // _MILLISECONDS[unit]}{unit}"
    return f"{milliseconds}ms"


def parse_size_bytes(text: str) -> int:
    """Bytes. `32MiB` (1,048,576 each) or `32MB` (1,000,000 each)."""
    match = _SIZE.fullmatch(text)
    if match is None:
        hint = (
            f"write `{text}B`"
            if _COUNT.fullmatch(text)
            else "a number and one of B, KiB, MiB, GiB, kB, MB, GB: `32MiB`"
        )
        raise Fault("a size needs a number and a unit", hint)
    size = int(match[1]) * _BYTES[match[2]]
    if not 0 < size <= SIZE_MAX:
        raise Fault("a size is above zero and at most 1024GiB")
    return size


def format_size_bytes(size: int) -> str:
    for unit in ("GiB", "MiB", "KiB"):
        if size % _BYTES[unit] == 0:
            return f"{size // _BYTES[unit]}{unit}"
    return f"{size}B"


def parse_percent(text: str) -> int:
    """Hundredths of a per cent. `30%`, `12.5%`; above zero and at most 100."""
    match = _PERCENT.fullmatch(text)
    if match is None:
        raise Fault("is no share", f"write `{text}%`" if _DECIMAL.fullmatch(text) else "write it like `30%`")
    share = int(match[1]) * 100 + int((match[2] or "").ljust(2, "0"))
    if not 0 < share <= 10_000:
        raise Fault("a share is above 0% and at most 100%")
    return share


def format_percent(share: int) -> str:
    return f"{Decimal(share) / 100:f}%"


def parse_count(text: str) -> int:
    """A whole number, not negative; `2_000_000` reads as `2000000`."""
    if not _COUNT.fullmatch(text):
        if _NEGATIVE.fullmatch(text):
            raise Fault("must not be negative")
        raise Fault("must be a whole number", _count_hint(text))
    _refuse_leading_zero(text)
    if len(text) > 40 or int(text) > COUNT_MAX:
        raise Fault(f"must be at most {COUNT_MAX:,}".replace(",", "_"))
    return int(text)


def _count_hint(text: str) -> str:
    match = re.fullmatch(r"([0-9]{1,6})\s?([kKmM])", text, re.ASCII)
    if match is not None:
        return f"write `{int(match[1]) * (1000 if match[2] in 'kK' else 1_000_000):_}`"
    if re.fullmatch(r"[0-9]{1,3}(,[0-9]{3})+", text, re.ASCII):
        return f"write `{text.replace(',', '_')}`"
    match = re.fullmatch(r"([0-9]{1,6})[eE]\+?([0-9]{1,2})", text, re.ASCII)
    if match is not None:
        return f"write `{int(match[1]) * 10 ** int(match[2]):_}`"
    return "digits, with `_` between them if you like: `2_000_000`"


def parse_decimal(text: str) -> Decimal:
    """A number that is not negative, kept exactly as written."""
    if not _DECIMAL.fullmatch(text):
        if _NEGATIVE.fullmatch(text):
            raise Fault("must not be negative")
        raise Fault("must be a number", "plain digits and a decimal point: `0.25`")
    _refuse_leading_zero(text.partition(".")[0])
    if len(text) > 40:
        raise Fault("has too many digits")
    return Decimal(text.replace("_", ""))


def _refuse_leading_zero(text: str) -> None:
    if len(text) > 1 and text.startswith("0"):
        raise Fault("starts with a zero, which some readers of YAML take for base 8", "write it without the zero")


def parse_usd_micros(text: str) -> int:
    """Micro-USD, exact; at most 6 decimals."""
    amount = parse_decimal(text)
    try:
        return usd_to_micros(amount)
    except MoneyInvalid:
        raise _money_fault(amount) from None


def parse_usd_per_mtok_picos(text: str) -> int:
    """Pico-USD a token for a price in USD per million tokens, exact; at most 6 decimals."""
    rate = parse_decimal(text)
    try:
        return usd_per_mtok_to_picos(rate)
    except MoneyInvalid:
        raise _money_fault(rate) from None


def _money_fault(amount: Decimal) -> Fault:
    if amount > USD_MAX:
        return Fault("is more money than there is a limit for")
    return Fault("has more than 6 decimals", "a micro-dollar is the smallest amount of money here")


def format_usd_per_mtok(picos: int) -> str:
    """The digits of pico-USD a token are those of micro-USD per million tokens."""
    return format_usd(picos)


def parse_date(text: str) -> date:
    """`2027-01-01`"""
    if not _DATE.fullmatch(text):
        raise Fault("must be a date", "write it like `2027-01-31`")
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Fault("there is no such day") from None


def parse_instant_us(text: str) -> int:
    """Microseconds since the epoch. A date is its first moment in UTC; a time of day must name its zone."""
    if _DATE.fullmatch(text):
        day = parse_date(text)
        moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
    else:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise Fault("must be a date or a time", "write it like `2027-01-31` or `2027-01-31T12:00:00Z`") from None
        if moment.tzinfo is None:
            raise Fault("a time of day needs its zone", f"write `{text}Z` for UTC")
    return (moment - _EPOCH) // timedelta(microseconds=1)


def format_instant_us(moment_us: int) -> str:
    """RFC 3339 in UTC."""
    return (_EPOCH + timedelta(microseconds=moment_us)).isoformat().replace("+00:00", "Z")
