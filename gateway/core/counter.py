"""One live counter of one limit: what is posted, what is held, what is left. Pure state; the limiter owns the objects.

Rules: `limit - posted - held` is the room, and a hold is only taken if it fits; a counter belongs to one window (a call
that crosses its edge is charged here, where it was held); a rolling window is 60 buckets, each counted until it lies
wholly outside (rule 26); requests per minute or hour are GCRA.
"""

from collections.abc import Mapping

from gateway.core.limit import Limit, Unit
from gateway.core.rate_limit import Rate, admits, default_burst, replay, verdict
from gateway.core.window import WindowKind

NEVER_US = 1 << 62
"""The end of a window that does not end (session, total)."""

RATED_PERIODS_US: Mapping[WindowKind, int] = {WindowKind.MINUTE: 60_000_000, WindowKind.HOUR: 3_600_000_000}


class Counter:
    """A running sum with holds. Amounts are in the limit's unit; `granted` is the part of `amount` that grants add.
    `told` = the highest mark of the limit's `alert_at` that was told about."""

    __slots__ = (
        *("amount", "end_us", "granted", "held", "holds", "limit", "posted", "scope", "start_us", "told", "used_us"),
    )

    def __init__(self, limit: Limit, scope: str, start_us: int, end_us: int, posted: int = 0) -> None:
        self.limit = limit
        self.scope = scope
        self.start_us = start_us
        self.end_us = end_us
        self.posted = posted
        self.held = 0
        self.holds = 0
        self.used_us = start_us
        self.amount = limit.amount
        self.granted = 0
        self.told = 0

    def grant(self, granted: int) -> None:
        """Grants add so much from now on."""
        self.amount += granted - self.granted
        self.granted = granted

    def spent(self, now_us: int) -> int:
        """Posted and still counted at `now_us`."""
        return self.posted

    def left(self, amount: int, now_us: int) -> int:
        """What a limit of this amount leaves; negative after an overrun."""
        return amount - self.posted - self.held

    def fits(self, asked: int, amount: int, now_us: int) -> bool:
        """Whether this much more can be held on a limit of this amount."""
        return self.posted + self.held + asked <= amount

    def hold(self, amount: int, now_us: int) -> None:
        self.held += amount
        self.holds += 1
        self.used_us = now_us

    def raise_hold(self, amount: int) -> None:
        self.held += amount

    def release(self, amount: int) -> None:
        self.held -= amount
        self.holds -= 1

    def post(self, amount: int, held_at_us: int) -> None:
        """Books an amount on the window of the hold."""
        self.posted += amount

    def frees_at_us(self, asked: int, amount: int, now_us: int) -> int | None:
        """When `asked` would fit beside what is posted, if nothing more is spent; None = not by itself."""
        return None if self.end_us >= NEVER_US or asked > amount else self.end_us


class RollingCounter(Counter):
    """A sum over the last N, in buckets of N/60."""

    __slots__ = ("_buckets", "_length_us", "_width_us")

    def __init__(self, limit: Limit, scope: str, buckets: dict[int, int] | None = None) -> None:
        super().__init__(limit, scope, 0, NEVER_US)
        self._length_us = limit.window.length_us
        self._width_us = limit.window.bucket_us
        self._buckets = dict(sorted((buckets or {}).items()))
        self.posted = sum(self._buckets.values())

    def spent(self, now_us: int) -> int:
        gone_before = now_us - self._length_us
        while self._buckets:
            start = next(iter(self._buckets))
            if start + self._width_us > gone_before:
                break
            self.posted -= self._buckets.pop(start)
        return self.posted

    def left(self, amount: int, now_us: int) -> int:
        return amount - self.spent(now_us) - self.held

    def fits(self, asked: int, amount: int, now_us: int) -> bool:
        return self.spent(now_us) + self.held + asked <= amount

    def post(self, amount: int, held_at_us: int) -> None:
        start = held_at_us - held_at_us % self._width_us
        out_of_order = start not in self._buckets and bool(self._buckets) and start < next(reversed(self._buckets))
        self._buckets[start] = self._buckets.get(start, 0) + amount
        self.posted += amount
        if out_of_order:
            self._buckets = dict(sorted(self._buckets.items()))

    def frees_at_us(self, asked: int, amount: int, now_us: int) -> int | None:
        if asked > amount:
            return None
        left = self.spent(now_us)
        for start, posted in self._buckets.items():
            if left + asked <= amount:
                return now_us
            left -= posted
            if left + asked <= amount:
                return start + self._width_us + self._length_us
        return now_us


class RateCounter(Counter):
    """GCRA over requests. A hold takes its place in the rate at once, and nothing gives it back (rule 25)."""

    __slots__ = ("_left", "_left_at_us", "_rate", "_tat_us")

    def __init__(self, limit: Limit, scope: str, amount: int, seen_us: list[int] | None = None) -> None:
        super().__init__(limit, scope, 0, NEVER_US)
        self._left = 0
        self._left_at_us = -1
        self._rate = rate_of(limit, amount)
        self._tat_us = replay(seen_us or [], self._rate)

    def retry_after_us(self, now_us: int, amount: int) -> int:
        """0 if a request is admitted now, else the exact wait."""
        self._bind(amount)
        return verdict(self._tat_us, now_us, self._rate).retry_after_us or 0

    def remaining(self, now_us: int) -> int:
        """How many more would be admitted; what the last hold left is kept for those who ask about its moment."""
        if now_us == self._left_at_us:
            return self._left
        return verdict(self._tat_us, now_us, self._rate, 0).remaining

    def spent(self, now_us: int) -> int:
        """The used share of the burst, as that share of the limit: all of it just when the next request must wait."""
        rate = self._rate
        return rate.limit - -(-self.remaining(now_us) * rate.limit // rate.burst)

    def grant(self, granted: int) -> None:
        super().grant(granted)
        self._bind(self.amount)

    def left(self, amount: int, now_us: int) -> int:
        return amount - self.spent(now_us) - self.held

    def fits(self, asked: int, amount: int, now_us: int) -> bool:
        self._bind(amount)
        return admits(self._tat_us, now_us, self._rate)

    def hold(self, amount: int, now_us: int) -> None:
        super().hold(0, now_us)
        taken = verdict(self._tat_us, now_us, self._rate, amount)
        self._tat_us, self._left, self._left_at_us = taken.tat_us, taken.remaining, now_us

    def raise_hold(self, amount: int) -> None:
        return

    def release(self, amount: int) -> None:
        super().release(0)

    def post(self, amount: int, held_at_us: int) -> None:
        return

    def _bind(self, amount: int) -> None:
        """The amount that binds this call may have changed with the configuration; the place in time is kept."""
        if amount != self._rate.limit:
            self._rate = rate_of(self.limit, amount)


def rated(limit: Limit) -> bool:
    """Whether the limit is a request rate rather than a sum (rule 26)."""
    return limit.unit is Unit.REQUESTS and limit.window.kind in RATED_PERIODS_US


def rate_of(limit: Limit, amount: int) -> Rate:
    """Burst = a tenth of the limit, at least 1, unless the operator sets it (rule 26)."""
    burst = limit.burst if limit.burst is not None else default_burst(amount)
    return Rate(amount, RATED_PERIODS_US[limit.window.kind], burst)
