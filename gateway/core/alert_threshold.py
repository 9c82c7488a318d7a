"""Which of a limit's `alert_at` marks are reached (rule 28): posted/limit, once per mark, counter and window.

What was told is kept beside the counter, and an alert's id is made of what it tells, so that the outbox takes the same
one once only: a counter that a restart loads anew tells nothing twice, and nothing that a crash swallowed is lost.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.core.alert import Alert, AlertKind, Severity
from gateway.core.attribution import Attribution
from gateway.core.denial import amount_shown, time_shown
from gateway.core.limit import Limit
from gateway.core.window import Window, WindowKind

FULL = 100


@dataclass(frozen=True, slots=True)
class Reached:
    """A counter came to `mark` per cent of its amount or more. `start_us` = of the window; 0 for those without end."""

    limit: Limit
    scope: str
    mark: int
    spent: int
    amount: int
    start_us: int


def mark_reached(percents: Sequence[int], limit: int, spent: int) -> int:
    """The highest mark (per cent of `limit`, grants included) that is reached; 0 = none, as for a limit of nothing."""
    if limit <= 0:
        return 0
    return max([percent for percent in percents if spent * 100 >= percent * limit], default=0)


def period_start(window: Window, at_us: int) -> int:
    """Where a rolling window is told about once: its length, counted from the epoch. 0 for windows without end."""
    return at_us - at_us % window.length_us if window.kind is WindowKind.ROLLING else 0


def threshold_alert(reached: Reached, attribution: Attribution, key: bytes, at_us: int) -> Alert:
    """`key` keeps names from being guessed from the alert's id."""
    limit, unit = reached.limit, reached.limit.unit.value
    percent = reached.spent * 100 // reached.amount
    told = f"{limit.name}\x00{reached.scope}\x00{reached.mark}\x00{reached.start_us}\x00{limit.window.text}"
    money = "_usd_micros" if unit == "usd" else ""
    figures = f"{amount_shown(unit, reached.spent):g} of {amount_shown(unit, reached.amount):g} {unit}"
    since = f" since {time_shown(reached.start_us)}" if reached.start_us else ""
    return Alert(
        AlertKind.LIMIT_THRESHOLD,
        Severity.CRITICAL if reached.mark >= FULL else Severity.WARNING,
        f"limit:{limit.name}",
        f"Limit '{limit.name}' for {reached.scope} is {percent} % used: {figures}{since}.",
        at_us,
        {
            "limit": limit.name,
            "scope": reached.scope,
            "unit": unit,
            "window": limit.window.text,
            "alert_at": reached.mark,
            "percent": percent,
            f"spent{money}": reached.spent,
            f"amount{money}": reached.amount,
        },
        dedupe=f"{AlertKind.LIMIT_THRESHOLD}:{limit.name}:{reached.scope}:{reached.mark}:{reached.start_us}",
        attribution=attribution,
        once=hashlib.blake2b(told.encode(), key=key[:64], digest_size=12).hexdigest(),
    )
