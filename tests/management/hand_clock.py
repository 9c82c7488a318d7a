"""A clock that tests move by hand, put in place of a node's own."""

from dataclasses import dataclass

from tests.management.opening import Opened

SECOND_US = 1_000_000
HOUR_US = 3_600 * SECOND_US
NOON_US = 1_795_521_600_000_000


@dataclass
class HandClock:
    """See `gateway.ports.Clock`."""

    at_us: int = NOON_US

    def now_us(self) -> int:
        return self.at_us

    def monotonic_ns(self) -> int:
        return self.at_us * 1000


def by_hand(node: Opened, at_us: int = NOON_US) -> HandClock:
    clock = node.plane.clock = HandClock(at_us)
    return clock
