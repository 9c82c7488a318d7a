"""When a deployment that fails again and again is left alone, and when it is tried again. Times are microseconds of one
clock that does not run backward.

Rules: only failures of the provider count (no connection, no answer in time, 5xx, an answer that breaks off), in a row;
an open breaker lets one call through when its pause is over, and nobody else until that call has told or as much time
has passed again; each failed try doubles the pause; a longer pause that the provider asks for is kept.
"""

from enum import StrEnum
from typing import NamedTuple

REST_US_MAX = 60_000_000
"""A pause that a provider asks for ends with a try after this time: it will say so again if it must."""


class BreakerState(StrEnum):
    """`half_open` = one call is on its way to find out."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class BreakerRules(NamedTuple):
    """`failures` in a row open it, 0 = never; `pause_us` is the first pause, `pause_us_max` the longest."""

    failures: int = 5
    pause_us: int = 5_000_000
    pause_us_max: int = 60_000_000


class Breaker:
    """One deployment's. `resting_until_us` = the pause that it asked for, whether or not it is open."""

    __slots__ = ("_pause_us", "failures", "open_until_us", "opened", "probing", "resting_until_us")

    def __init__(self) -> None:
        self.failures = self.opened = self._pause_us = 0
        self.open_until_us: int | None = None
        self.resting_until_us = 0
        self.probing = False

    def shut(self, now_us: int) -> bool:
        """Whether it certainly lets nobody through now."""
        return self.open_until_us is not None and now_us < self.open_until_us

    def admit(self, rules: BreakerRules, now_us: int) -> bool:
        """Whether a call may be sent; of an open one's callers, the first after the pause is its probe."""
        until_us = self.open_until_us
        if until_us is None:
            return True
        if not rules.failures:
            self.open_until_us, self.probing = None, False
            return True
        if now_us < until_us:
            return False
        self.probing, self.open_until_us = True, now_us + self._pause_us
        return True

    def answered(self, rules: BreakerRules) -> None:
        """An answer began. One that breaks off afterwards opens what was open before at once."""
        if self.open_until_us is not None:
            self.open_until_us, self.probing = None, False
            self.failures = max(0, rules.failures - 1)

    def succeeded(self) -> None:
        """An answer came whole."""
        self.failures = self._pause_us = 0
        self.open_until_us, self.probing = None, False

    def failed(self, rules: BreakerRules, now_us: int, retry_after_us: int | None = None) -> None:
        self.failures += 1
        if retry_after_us is not None:
            self.rest(retry_after_us, now_us)
        if not rules.failures or self.failures < rules.failures:
            return
        if self.open_until_us is not None and not self.probing:
            return
        doubled = min(2 * self._pause_us, rules.pause_us_max)
        self._pause_us = max(doubled, rules.pause_us)
        self.open_until_us = max(now_us + self._pause_us, self.resting_until_us)
        self.probing = False
        self.opened += 1

    def rest(self, retry_after_us: int, now_us: int) -> None:
        """The provider asked for a pause; others are asked before it meanwhile."""
        self.resting_until_us = max(self.resting_until_us, now_us + min(retry_after_us, REST_US_MAX))

    @property
    def state(self) -> BreakerState:
        if self.open_until_us is None:
            return BreakerState.CLOSED
        return BreakerState.HALF_OPEN if self.probing else BreakerState.OPEN
