"""How far a limit slows down those who go on past it (rule 28, `action: throttle`). Pure state; the limiter owns it.

Rules: it books past the limit and paces: the further past it, the longer between two calls of a counter, each of which
waits at least so long, inside as long as that takes five seconds at most, else with a 429 that says how long. A request
rate has a pace of its own: whoever is too fast waits until its place in the rate.
"""

from gateway.core.budget import Shortfall

DELAY_MAX_US = 5_000_000
PACE_US = 20_000_000
"""Between two calls when the counter stands at twice its limit; in proportion to what is over the limit."""

PACE_MAX_US = 30_000_000
PACES_KEPT = 20_000


def waits(short: Shortfall, *, slowed: bool) -> bool:
    """Whether this limit slows the call down now: once, or by its rate until there is a place."""
    return short.limit.slows and (not slowed or short.wait_us is not None)


def pace_us(short: Shortfall) -> int:
    """How long from one call to the next, at a counter that is over its limit."""
    over = short.spent + short.held + short.asked - short.amount
    return min(PACE_MAX_US, PACE_US * over // max(1, short.amount))


class Paces:
    """When the last call past each limit went ahead."""

    def __init__(self) -> None:
        self._last_us: dict[tuple[str, str], int] = {}

    def wait_us(self, slowing: tuple[Shortfall, ...], now_us: int) -> int:
        """How long this call waits before it goes ahead; if that is at most DELAY_MAX_US, its places are taken."""
        wait_us = max(self._wait_us(short, now_us) for short in slowing)
        if wait_us <= DELAY_MAX_US:
            if len(self._last_us) >= PACES_KEPT:
                self._last_us = {at: last for at, last in self._last_us.items() if last + PACE_MAX_US > now_us}
            for short in slowing:
                self._last_us[short.limit.name, short.scope] = now_us + wait_us
        return wait_us

    def _wait_us(self, short: Shortfall, now_us: int) -> int:
        if short.wait_us is not None:
            return short.wait_us
        pace = pace_us(short)
        due_us = self._last_us.get((short.limit.name, short.scope), now_us - PACE_MAX_US) + pace
        return max(due_us - now_us, min(pace, DELAY_MAX_US))
