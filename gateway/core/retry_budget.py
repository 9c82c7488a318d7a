"""How much more a provider may be asked because it fails: retries are a share of the calls that it was sent lately.

A provider in trouble that gets each call twice or three times does not recover. Calls and retries are counted over the
running and the last window of ten seconds; a few are always free, as a share of little is nothing.
"""

WINDOW_US = 10_000_000
FREE = 3


class RetryBudget:
    """One provider's. `taken` and `refused` are sums since the start."""

    __slots__ = ("_calls", "_calls_before", "_retries", "_retries_before", "_window", "refused", "taken")

    def __init__(self) -> None:
        self._calls = self._calls_before = self._retries = self._retries_before = self._window = 0
        self.taken = self.refused = 0

    def called(self, now_us: int) -> None:
        """A first attempt."""
        if now_us // WINDOW_US != self._window:
            self._turn(now_us // WINDOW_US)
        self._calls += 1

    def take(self, percent: int, now_us: int) -> bool:
        """Whether one more attempt may be made; if so, it is counted. `percent` = retries for a hundred calls, beyond
        those that are free."""
        if now_us // WINDOW_US != self._window:
            self._turn(now_us // WINDOW_US)
        calls, retries = self._calls + self._calls_before, self._retries + self._retries_before
        if percent == 0 or (retries >= FREE and (retries + 1) * 100 > calls * percent):
            self.refused += 1
            return False
        self._retries += 1
        self.taken += 1
        return True

    def _turn(self, window: int) -> None:
        """A window that nobody looked at was empty."""
        follows = window == self._window + 1
        self._calls_before = self._calls if follows else 0
        self._retries_before = self._retries if follows else 0
        self._calls = self._retries = 0
        self._window = window
