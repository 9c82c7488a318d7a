"""A rate, divided: each share fills its own bucket, and what a full bucket leaves over flows into a spare one for all.

So a share that comes back finds its bucket full, however much the others borrowed, and whoever borrows gets all that
the idle ones do not use. Amounts are integers scaled by a minute's microseconds times the sum of all weights, so that
every microsecond adds a whole number. A call larger than its bucket is let in at a full one and leaves a debt there.
"""

from collections.abc import Mapping

MINUTE_US = 60_000_000
_BURST_PART = 10
"""The burst is a tenth of a minute's amount, as for rate limits (rule 26): half of it in the shares' own buckets."""


class RateShares:
    """`weights` by share. `now_us` must not run backward; a fresh rate starts with full buckets at its first use."""

    __slots__ = ("_at_us", "_caps", "_levels", "_scale", "_spare", "_spare_cap", "_weights", "per_minute")

    def __init__(self, per_minute: int, weights: Mapping[str, int]) -> None:
        total = sum(weights.values())
        burst = max(1, per_minute // _BURST_PART)
        self.per_minute = per_minute
        self._scale = MINUTE_US * total
        self._weights = dict(weights)
        self._caps = {name: max(self._scale, burst * MINUTE_US * weight // 2) for name, weight in weights.items()}
        self._levels = dict(self._caps)
        self._spare_cap = max(self._scale, burst * self._scale // 2)
        self._spare = self._spare_cap
        self._at_us: int | None = None

    def advance(self, now_us: int) -> None:
        """Fills the buckets up to now."""
        if self._at_us is None or now_us <= self._at_us:
            self._at_us = now_us if self._at_us is None else self._at_us
            return
        passed = (now_us - self._at_us) * self.per_minute
        self._at_us = now_us
        for name, weight in self._weights.items():
            self._fill(name, passed * weight)

    def covers(self, share: str, amount: int) -> bool:
        """Whether so much may be taken now."""
        return self._missing(share, amount) <= 0

    def own_covers(self, share: str, amount: int) -> bool:
        """Whether the share's own bucket pays it: then nothing is borrowed."""
        return self._levels[share] >= min(amount * self._scale, self._caps[share])

    def take(self, share: str, amount: int) -> None:
        """The share's own first, then the spare, and what is still missing as a debt of the share."""
        asked = amount * self._scale
        own = min(asked, max(0, self._levels[share]))
        borrowed = min(asked - own, self._spare)
        self._spare -= borrowed
        self._levels[share] -= asked - borrowed

    def correct(self, share: str, amount: int) -> None:
        """What was taken in advance turned out to be so much more (or less, if negative)."""
        if amount < 0:
            self._fill(share, -amount * self._scale)
        else:
            self.take(share, amount)

    def earliest_us(self, share: str, amount: int) -> int:
        """Time until so much might be there, were all of the rate to flow to this share. 0 = now."""
        return max(0, -(-self._missing(share, amount) // (self.per_minute * sum(self._weights.values()))))

    def wait_us(self, share: str, ahead: int, amount: int, *, of_weight: int) -> int:
        """Time until `amount` may be taken after `ahead`, while shares of `of_weight` altogether draw on the rate."""
        missing = ahead * self._scale + self._missing(share, amount)
        total = sum(self._weights.values())
        pace = max(1, self.per_minute * self._weights[share] * total // max(1, of_weight))
        return max(0, -(-missing // pace))

    @property
    def room(self) -> int:
        """What may be taken now by all shares together."""
        return max(0, (sum(max(0, level) for level in self._levels.values()) + self._spare) // self._scale)

    def room_of(self, share: str) -> int:
        """What this share may take now."""
        return max(0, self._levels[share] + self._spare) // self._scale

    def _missing(self, share: str, amount: int) -> int:
        needed = min(amount * self._scale, self._caps[share] + self._spare_cap)
        return needed - self._levels[share] - self._spare

    def _fill(self, share: str, amount: int) -> None:
        over = self._levels[share] + amount - self._caps[share]
        if over <= 0:
            self._levels[share] += amount
            return
        self._levels[share] = self._caps[share]
        self._spare = min(self._spare_cap, self._spare + over)
