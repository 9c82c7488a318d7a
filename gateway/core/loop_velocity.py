"""Detector: an agent that spends many times what it usually spends. Pure; one `SpendPast` per agent.

Its own past is the measure: the sums of the quarters of an hour in which it spent anything. The median says what is
usual; what nine in ten quarters stayed below says how far it usually swings, so an agent with bursts is not taken for a
runaway at each of them. Too little past is no measure.
"""

from bisect import insort
from collections import deque
from collections.abc import Iterable

from gateway.core.loop import Detector, Finding

QUARTER_US = 900 * 1_000_000
QUARTERS_KEPT = 384
QUARTERS_NEEDED = 8
SWING = 2
_NOT_MEASURED = 1 << 62


class SpendPast:
    __slots__ = ("_now_quarter", "_past", "_sorted", "_unit_usd_micros", "spent_usd_micros", "usual_usd_micros")

    def __init__(self) -> None:
        self._past: deque[int] = deque()
        self._sorted: list[int] = []
        self._now_quarter = 0
        self._unit_usd_micros = _NOT_MEASURED
        """What counts as once the usual spend."""
        self.spent_usd_micros = 0
        self.usual_usd_micros = 0

    def recall(self, quarters: Iterable[int]) -> None:
        """Sums of earlier quarters that had any spend, oldest first, in micro-USD."""
        for spent in quarters:
            self._remember(spent)
        self._measure()

    def spent_so_far(self, usd_micros: int, now_us: int) -> None:
        """What the books have of this quarter, which what was added here is part of."""
        self._turn_to(now_us)
        self.spent_usd_micros = max(self.spent_usd_micros, usd_micros)

    def add(self, usd_micros: int, now_us: int) -> None:
        """A call was booked."""
        self._turn_to(now_us)
        self.spent_usd_micros += usd_micros

    def finding(self, now_us: int, times: int, from_usd_micros: int) -> Finding | None:
        """How many times its usual spend of a quarter of an hour the agent has spent in this one."""
        self._turn_to(now_us)
        spent = self.spent_usd_micros
        if spent < from_usd_micros or self._unit_usd_micros == _NOT_MEASURED:
            return None
        # The agent's own swings raise the bar: reaching `times` always means twice its usual high, too.
        unit = max(self._unit_usd_micros, -(-self._high() * SWING // times))
        figures = {
            "spent_usd": spent / 1_000_000,
            "usual_usd": self.usual_usd_micros / 1_000_000,
            "high_usd": self._high() / 1_000_000,
            "quarters": len(self._past),
        }
        return Finding(Detector.SPEND_VELOCITY, spent // unit, figures=figures)

    def quarter(self, now_us: int) -> int:
        return now_us // QUARTER_US

    def _turn_to(self, now_us: int) -> None:
        quarter = now_us // QUARTER_US
        if quarter != self._now_quarter:
            if self.spent_usd_micros:
                self._remember(self.spent_usd_micros)
                self._measure()
            self._now_quarter, self.spent_usd_micros = quarter, 0

    def _remember(self, spent: int) -> None:
        if spent <= 0:
            return
        if len(self._past) >= QUARTERS_KEPT:
            self._sorted.remove(self._past.popleft())
        self._past.append(spent)
        insort(self._sorted, spent)

    def _measure(self) -> None:
        if len(self._sorted) >= QUARTERS_NEEDED:
            self.usual_usd_micros = self._sorted[len(self._sorted) // 2]
            self._unit_usd_micros = max(1, self.usual_usd_micros)

    def _high(self) -> int:
        return self._sorted[len(self._sorted) * 9 // 10]
