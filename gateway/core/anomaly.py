"""Spending out of the ordinary: this hour of an agent or a team against its own past hours, robustly.

The usual hour is the median of those in which something was spent, its spread the median absolute deviation; neither is
moved by a few wild hours. The running hour counts as far as it has come, so a burst shows before the hour is over.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

HOUR_US = 3_600_000_000
HOURS_BACK = 168
ACTIVE_HOURS_MIN = 8
_TO_SIGMA = 1.4826
_SPREAD_MIN = 0.1
"""Share of the median: somebody who spends the same every hour is not remarkable for a cent more."""


@dataclass(frozen=True, slots=True)
class AnomalyRules:
    """All three must be reached: so much in the hour, so many times the usual hour, so many robust deviations."""

    min_usd_micros: int = 1_000_000
    ratio: float = 4.0
    score: float = 6.0


@dataclass(frozen=True, slots=True)
class Spending:
    """`kind` and `name` say whose. `past` holds the hours before this one in which it spent something."""

    kind: str
    name: str
    this_hour_usd_micros: int
    past_usd_micros: Sequence[int]


@dataclass(frozen=True, slots=True)
class Anomaly:
    usual_usd_micros: int
    ratio: float
    score: float


def anomaly(spending: Spending, rules: AnomalyRules) -> Anomaly | None:
    """None: nothing remarkable, or too little past to tell."""
    now, past = spending.this_hour_usd_micros, [hour for hour in spending.past_usd_micros if hour > 0]
    if now < rules.min_usd_micros or len(past) < ACTIVE_HOURS_MIN:
        return None
    usual = median(past)
    spread = max(_TO_SIGMA * median(abs(hour - usual) for hour in past), _SPREAD_MIN * usual)
    found = Anomaly(round(usual), now / usual, (now - usual) / spread)
    return found if found.ratio >= rules.ratio and found.score >= rules.score else None
