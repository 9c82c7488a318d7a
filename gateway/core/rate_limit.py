"""A request rate as GCRA: the whole state is one time, at which the arrivals so far would all be due.

Rules: integers only. A rate admits at most `burst` at once and one more each `interval_us`, in any stretch of time. The
state of a fresh counter is 0. One case table holds for this and for any script that repeats its arithmetic elsewhere.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

FRESH_TAT_US = 0


@dataclass(frozen=True, slots=True)
class Rate:
    """`limit` requests each `period_us`, `burst` of them at once."""

    limit: int
    period_us: int
    burst: int
    interval_us: int = field(init=False, compare=False)
    """Rounded up, so that the rate is never passed; the error is under a microsecond a request."""

    def __post_init__(self) -> None:
        if min(self.limit, self.period_us, self.burst) < 1:
            raise ValueError("limit, period and burst must be at least 1")
        object.__setattr__(self, "interval_us", -(-self.period_us // self.limit))


class Verdict(NamedTuple):
    """`tat_us` is the state to keep, unchanged by a refusal. `remaining`: how many more would be admitted right now.

    `retry_after_us`: 0 if admitted; None if no wait helps, because more is asked for than the burst.
    """

    allowed: bool
    tat_us: int
    retry_after_us: int | None
    remaining: int


def default_burst(limit: int) -> int:
    """A tenth of the limit, at least 1 (SEMANTICS.md rule 26)."""
    return max(1, limit // 10)


def verdict(tat_us: int, now_us: int, rate: Rate, cost: int = 1) -> Verdict:
    interval_us = rate.interval_us
    latest_us = now_us + rate.burst * interval_us
    # With a clock that only runs forward the state is never later than this; one set back must not lock anybody out.
    due_us = min(max(tat_us, now_us), latest_us)
    after_us = due_us + cost * interval_us
    if after_us <= latest_us:
        return Verdict(True, after_us, 0, (latest_us - after_us) // interval_us)
    retry_after_us = after_us - latest_us if cost <= rate.burst else None
    return Verdict(False, due_us, retry_after_us, (latest_us - due_us) // interval_us)


def admits(tat_us: int, now_us: int, rate: Rate) -> bool:
    """Whether `verdict` lets one more in. The state may at most be one place short of the burst."""
    return max(tat_us, now_us) <= now_us + (rate.burst - 1) * rate.interval_us


def give_back(tat_us: int, rate: Rate, *, admitted_us: int, now_us: int, cost: int = 1) -> int:
    """The state after an admission is undone, as when another limit refuses the call.

    All of it comes back at once; later only what time cannot have given back already, or the rate would be passed.
    """
    passed_us = max(0, now_us - admitted_us)
    return tat_us - max(0, cost * rate.interval_us - passed_us)


def replay(admitted_us: Iterable[int], rate: Rate) -> int:
    """The state after these admissions, in any order, as a start from the ledger finds it."""
    tat_us = FRESH_TAT_US
    for at_us in sorted(admitted_us):
        tat_us = max(tat_us, at_us) + rate.interval_us
    return tat_us
