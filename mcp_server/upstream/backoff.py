"""When a server that failed may be tried again. Between tries its calls fail at once."""

from collections.abc import Callable

from gateway.core.upstream import UpstreamFailed


class Backoff:
    """Doubles from `first_s` to `max_s`; a success forgets everything. `clock` is monotonic, in seconds."""

    def __init__(self, name: str, first_s: float, max_s: float, clock: Callable[[], float]) -> None:
        self._name = name
        self._first_s = first_s
        self._max_s = max_s
        self._clock = clock
        self._failures = 0
        self._retry_at = 0.0

    @property
    def failing(self) -> bool:
        """Whether the last try failed."""
        return self._failures > 0

    @property
    def wait_s(self) -> float:
        """Seconds until the next try is allowed; 0 when it is now."""
        return max(0.0, self._retry_at - self._clock()) if self._failures else 0.0

    def check(self) -> None:
        """Raises UpstreamFailed while waiting."""
        if (wait_s := self.wait_s) > 0:
            text = f"the tool server `{self._name}` is not available; it is tried again in {wait_s:.1f} s"
            raise UpstreamFailed(text, sent=False)

    def failed(self) -> None:
        self._retry_at = self._clock() + min(self._max_s, self._first_s * 2 ** min(self._failures, 16))
        self._failures += 1

    def succeeded(self) -> None:
        self._failures = 0
