"""Which of a provider's credentials a call is sent with. Times are microseconds of one clock that never runs backward.

Rules: credentials take turns; one that was refused rests, as long as the provider asks after too many requests (a
minute at most), longer where it is not valid; a call tries each credential once; if all rest, the one whose rest ends
first is used, so that the provider's own refusal is what the caller hears.
"""

TOO_MANY_US = 10_000_000
TOO_MANY_US_MAX = 60_000_000
INVALID_US = 300_000_000


class CredentialPool:
    """Credentials by number; what they are is nobody's business here."""

    __slots__ = ("_next", "_rest_until_us")

    def __init__(self, count: int) -> None:
        self._rest_until_us = [0] * count
        self._next = 0

    def pick(self, now_us: int, tried: int) -> int | None:
        """The next one that does not rest; `tried` = a bit for each that this call was sent with. None: there is no
        other one to try; a call that was not sent yet always gets one."""
        rest, count = self._rest_until_us, len(self._rest_until_us)
        for step in range(count):
            at = (self._next + step) % count
            if rest[at] <= now_us and not tried >> at & 1:
                self._next = (at + 1) % count
                return at
        return None if tried else min(range(count), key=rest.__getitem__)

    def too_many(self, at: int, retry_after_us: int | None, now_us: int) -> None:
        rest_us = TOO_MANY_US if retry_after_us is None else min(retry_after_us, TOO_MANY_US_MAX)
        self._rest_until_us[at] = max(self._rest_until_us[at], now_us + rest_us)

    def invalid(self, at: int, now_us: int) -> None:
        self._rest_until_us[at] = max(self._rest_until_us[at], now_us + INVALID_US)

    def resting(self, now_us: int) -> int:
        """How many rest."""
        return sum(until_us > now_us for until_us in self._rest_until_us)
