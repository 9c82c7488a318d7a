"""Limits of one key as people write them: `usd=5/day`, `tokens=200000/5h`, `requests=60/minute`, `concurrent=4`."""

from collections.abc import Sequence

from gateway.core.identity import KeyLimit
from gateway.core.limit import Unit
from gateway.core.money import MoneyInvalid, format_usd, usd_to_micros
from gateway.core.window import WindowInvalid, parse
from gateway.management.refused import ManagementRefused

AMOUNT_MAX = 10**15
LIMITS_MAX = 16
NO_WINDOW = "total"
_AT_LEAST_ONE = frozenset({Unit.REQUESTS, Unit.CONCURRENT, Unit.SESSIONS})


def key_limits(texts: Sequence[str]) -> tuple[KeyLimit, ...]:
    """Raises ManagementRefused. One limit a unit and window: the second would count under the name of the first."""
    if len(texts) > LIMITS_MAX:
        raise ManagementRefused(f"a key has at most {LIMITS_MAX} limits of its own")
    limits = tuple(key_limit(text) for text in texts)
    seen = [(limit.unit, limit.window) for limit in limits]
    doubled = next((pair for pair in seen if seen.count(pair) > 1), None)
    if doubled is not None:
        raise ManagementRefused(f"there are two limits on {doubled[0]} a {doubled[1]}; keep the smaller one")
    return limits


def key_limit(text: str) -> KeyLimit:
    """Raises ManagementRefused."""
    name, separator, rest = text.partition("=")
    amount_text, _, window_text = rest.partition("/")
    if not separator or name not in tuple(Unit):
        raise ManagementRefused(f"'{text[:80]}' is no limit: write it like usd=5/day; units are {', '.join(Unit)}")
    unit = Unit(name)
    if unit is Unit.CONCURRENT:
        if window_text:
            raise ManagementRefused(f"'{text[:80]}': calls in flight have no window; write {name}={amount_text}")
        window_text = NO_WINDOW
    try:
        amount, window = _amount(unit, amount_text), parse(window_text).text
    except (MoneyInvalid, WindowInvalid) as error:
        raise ManagementRefused(f"'{text[:80]}': {error}") from error
    if unit is Unit.SESSIONS and window == "session":
        raise ManagementRefused(f"'{text[:80]}': a session does not begin sessions")
    return KeyLimit(unit.value, amount, window)


def limit_text(limit: KeyLimit) -> str:
    """What `key_limit` reads as this limit."""
    amount = format_usd(limit.amount) if limit.unit == Unit.USD else str(limit.amount)
    return f"{limit.unit}={amount}" + ("" if limit.unit == Unit.CONCURRENT else f"/{limit.window}")


def _amount(unit: Unit, text: str) -> int:
    """In the unit's integer."""
    if unit is Unit.USD:
        amount = usd_to_micros(text)
    else:
        plain = text.replace("_", "")
        if not (plain.isascii() and plain.isdigit()) or len(plain) > 16:
            raise ManagementRefused(f"'{text[:40]}' is not a whole number")
        amount = int(plain)
    if not 0 <= amount <= AMOUNT_MAX:
        raise ManagementRefused(f"'{text[:40]}' is not an amount from 0 to {AMOUNT_MAX:,}")
    if amount < 1 and unit in _AT_LEAST_ONE:
        raise ManagementRefused(f"a limit on {unit.value} is at least 1; to stop a key, disable it")
    return amount
