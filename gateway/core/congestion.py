"""What a provider's own answers allow for one of its models: its limits hold per model, whatever we expect.

A refusal (429, 529) pauses the model for as long as the provider asks and halves what may be in flight, once for all
calls that were under way; calls that succeed raise it again step by step until it is as before. What the provider says
is left of its own limits is never passed, and is taken to fill up evenly until the time it names.
"""

from gateway.core.provider_signal import Remaining, Signal

PAUSE_US_MAX = 60_000_000
"""A pause ends with a try: a provider that asks for more says so again."""

_PAUSE_US_MIN = 100_000
_PAUSE_US_UNSAID = 500_000
_DOUBLINGS_MAX = 5
_FORGOTTEN_AFTER_US = 60_000_000
_STEPS = 16


class Allowance:
    """What the provider has left of one of its limits, as it said last, less what was sent since."""

    __slots__ = ("_at_us", "_left", "_limit", "_reset_us")

    def __init__(self) -> None:
        self._left = self._limit = self._reset_us = self._at_us = 0

    def heard(self, said: Remaining, now_us: int) -> None:
        self._left, self._limit, self._reset_us, self._at_us = said.left, said.limit, said.reset_us, now_us

    def took(self, amount: int) -> None:
        if self._reset_us:
            self._left -= amount

    def opens_at_us(self, amount: int, now_us: int) -> int:
        """When so much may be sent; not after `now_us` = now."""
        full_at_us = self._at_us + self._reset_us
        if now_us >= full_at_us or self._left >= amount:
            return now_us
        gained = self._limit - self._left
        if gained <= 0 or amount > self._limit:
            return full_at_us
        return min(full_at_us, self._at_us + self._reset_us * (amount - self._left) // gained)


class Gate:
    """One model of one provider. Times are of one clock that does not run backward."""

    __slots__ = (
        "_credit",
        "_cut_at_us",
        "_refusals",
        "_requests",
        "_tokens",
        "_whole",
        "in_flight",
        "in_flight_max",
        "model",
        "paused_until_us",
    )

    def __init__(self, model: str) -> None:
        self.model = model
        self.in_flight = 0
        self.in_flight_max: int | None = None
        self.paused_until_us = 0
        self._requests, self._tokens = Allowance(), Allowance()
        self._cut_at_us = -1
        self._whole = self._credit = self._refusals = 0

    def full(self, now_us: int) -> bool:
        """Whether it has as many calls in flight as it bears; time alone does not open it before long."""
        if self.in_flight_max is not None and now_us - self._cut_at_us > _FORGOTTEN_AFTER_US:
            self.in_flight_max = None
        return self.in_flight_max is not None and self.in_flight >= self.in_flight_max

    def opens_at_us(self, tokens: int, now_us: int) -> int:
        """When time alone lets a call of so many tokens pass; not after `now_us` = now."""
        asked = self._requests.opens_at_us(1, now_us), self._tokens.opens_at_us(tokens, now_us)
        return max(self.paused_until_us, *asked)

    def took(self, tokens: int) -> None:
        self.in_flight += 1
        self._requests.took(1)
        self._tokens.took(tokens)

    def left(self) -> None:
        self.in_flight -= 1

    def heard(self, signal: Signal, now_us: int) -> None:
        """What the headers of any reply say."""
        if signal.requests is not None:
            self._requests.heard(signal.requests, now_us)
        if signal.tokens is not None:
            self._tokens.heard(signal.tokens, now_us)

    def succeeded(self) -> None:
        """A call was served: what may be in flight grows by a sixteenth of the whole for each full round of calls."""
        self._refusals = 0
        if self.in_flight_max is None:
            return
        self._credit += max(1, self._whole // _STEPS)
        if self._credit >= self.in_flight_max:
            self._credit -= self.in_flight_max
            self.in_flight_max += max(1, self._whole // _STEPS)
        if self.in_flight_max >= self._whole:
            self.in_flight_max = None

    def refused(self, admitted_us: int, retry_after_us: int | None, whole: int | None, now_us: int) -> None:
        """The provider said no to a call let in at `admitted_us`; `whole` = what may be in flight in good times."""
        pause_us = retry_after_us
        if pause_us is None:
            pause_us = _PAUSE_US_UNSAID << min(self._refusals, _DOUBLINGS_MAX)
        self.paused_until_us = max(self.paused_until_us, now_us + max(_PAUSE_US_MIN, min(pause_us, PAUSE_US_MAX)))
        if admitted_us <= self._cut_at_us:
            return
        self._refusals += 1
        self._cut_at_us = now_us
        self._credit = 0
        before = self.in_flight if self.in_flight_max is None else min(self.in_flight, self.in_flight_max)
        self._whole = whole if whole is not None else max(2, 2 * before, self._whole)
        self.in_flight_max = max(1, before // 2)
