"""A small rate for what costs nothing but must not be flooded: GCRA, one value a key."""

from collections.abc import Callable

KEYS_KEPT = 10_000


class KeyRate:
    """`rate_per_s` calls a second, `burst` of them at once. `clock` is monotonic, in seconds."""

    def __init__(self, rate_per_s: float, burst: int, clock: Callable[[], float]) -> None:
        self._interval_s = 1.0 / rate_per_s
        self._tolerance_s = self._interval_s * (burst - 1)
        self._clock = clock
        self._due: dict[str, float] = {}

    def retry_after_s(self, key: str) -> float | None:
        """None if the call may go ahead, which counts it; else the seconds after which it may."""
        now = self._clock()
        due = max(now, self._due.get(key, now))
        if (wait_s := due - now - self._tolerance_s) > 0:
            return wait_s
        if len(self._due) >= KEYS_KEPT:
            self._due = {known: at for known, at in self._due.items() if at > now}
        self._due[key] = due + self._interval_s
        return None
