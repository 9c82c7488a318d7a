"""How long calls take lately: the honest guess behind a retry-after for room that calls in flight hold (rule 30)."""

from collections import deque

KEPT = 64
LEAST_S = 1.0
MOST_S = 10.0


class Pace:
    """The durations of the last calls, in seconds."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=KEPT)

    def took(self, seconds: float) -> None:
        self._recent.append(seconds)

    def remaining_s(self) -> float:
        """The median remaining time of a call in flight, half its median length, between 1 and 10 s."""
        if not self._recent:
            return LEAST_S
        median = sorted(self._recent)[len(self._recent) // 2]
        return min(MOST_S, max(LEAST_S, median / 2))
