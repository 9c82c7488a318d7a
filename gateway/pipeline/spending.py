"""What each agent spends in a quarter of an hour, and used to: kept as it is booked, recalled from the books once."""

from collections import OrderedDict

from gateway.core.attribution import OPENER, Attribution
from gateway.core.hold import Binding
from gateway.core.loop_velocity import QUARTER_US, QUARTERS_KEPT, SpendPast
from gateway.core.report import TotalsAsk
from gateway.ports import Books, BooksUnavailable

AGENTS_KEPT = 2_000
RECALLED_DAYS = 14
_DAY_US = 86_400_000_000


class Spending:
    """By agent, or by key where a key names none."""

    def __init__(self) -> None:
        self._pasts: OrderedDict[str, SpendPast] = OrderedDict()

    def past(self, attribution: Attribution) -> tuple[SpendPast, bool]:
        """An agent's past, and whether it is new here, so that the books must be asked for it."""
        opener = attribution.value(OPENER)
        found = self._pasts.get(opener)
        if found is not None:
            return found, False
        found = self._pasts[opener] = SpendPast()
        if len(self._pasts) > AGENTS_KEPT:
            self._pasts.popitem(last=False)
        return found, True

    def booked(self, attribution: Attribution, usd_micros: int, now_us: int) -> None:
        if usd_micros:
            self.past(attribution)[0].add(usd_micros, now_us)


async def recall(books: Books, past: SpendPast, bindings: tuple[Binding, ...], now_us: int) -> None:
    """Asks the books for the agent's earlier quarters of an hour. Without an answer its past begins today."""
    terms = next((binding.terms for binding in bindings if binding.limit.each == OPENER), None)
    if terms is None:
        return
    this_quarter_us = now_us // QUARTER_US * QUARTER_US
    ask = TotalsAsk(terms, None, this_quarter_us - RECALLED_DAYS * _DAY_US, None, QUARTER_US)
    try:
        (totals,) = await books.totals([ask])
    except BooksUnavailable:
        return
    sums = sorted((start_us, amounts.usd_micros) for start_us, amounts in totals.buckets.items())
    past.recall([spent for start_us, spent in sums if start_us < this_quarter_us][-QUARTERS_KEPT:])
    past.spent_so_far(dict(sums).get(this_quarter_us, 0), now_us)
